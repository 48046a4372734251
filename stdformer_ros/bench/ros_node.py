"""The node with a stopwatch around its models, for the benchmarks; otherwise the node itself.

`python -m stdformer_ros.bench.ros_node LOG SECONDS --ros-args ...` writes a line for each answered
image: its stamp and when it reached this process, both in nanoseconds, and the seconds that the
models took for it. Models that are faster than SECONDS are held up until so much time has passed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sensor_msgs.msg import Image

from stdformer_ros.config import NodeSettings
from stdformer_ros.ros.camera_stream import CameraStream
from stdformer_ros.ros.inputs.intake import seconds as seconds_of
from stdformer_ros.ros.node import build, main
from stdformer_ros.types import Answer, Frame

if TYPE_CHECKING:
    from stdformer_ros.multi_camera import MultiCameraPipeline
    from stdformer_ros.pipeline import Seen


Arrivals = dict[float, int]
"""When the middleware had an image for this process, in nanoseconds, by its stamp in seconds."""


def note_arrivals() -> Arrivals:
    """From now on, have every camera of this process note when the images arrive."""
    arrivals: Arrivals = {}
    take = CameraStream._on_image

    # rclpy tells a callback of two arguments when the message came.
    def note(stream: CameraStream, message: Image, info: dict[str, Any]) -> None:
        arrivals[seconds_of(message.header.stamp)] = info["received_timestamp"]
        take(stream, message)

    CameraStream._on_image = note  # type: ignore[assignment,method-assign]
    return arrivals


def with_stopwatch(
    pipelines: MultiCameraPipeline, log: TextIO, seconds: float, arrivals: Arrivals
) -> MultiCameraPipeline:
    """The same pipelines, which from now on write down how long they take.

    Args:
        pipelines: of one camera, without a delay; they are changed.
        log: for the lines.
        seconds: that a frame takes at least.
        arrivals: of the images; those that are answered are taken out.
    """
    see, answer = pipelines.see, pipelines.answer
    began, stamp = 0.0, 0.0

    def timed_see(camera: str, frame: Frame) -> Seen:
        nonlocal began, stamp
        began, stamp = time.perf_counter(), frame.stamp
        return see(camera, frame)

    def timed_answer(seen: Mapping[str, Seen]) -> dict[str, Answer]:
        answers = answer(seen)
        time.sleep(max(0.0, began + seconds - time.perf_counter()))
        took = time.perf_counter() - began
        log.write(f"{round(1e9 * stamp)} {arrivals.pop(stamp)} {took:.6f}\n")
        log.flush()
        return answers

    pipelines.see, pipelines.answer = timed_see, timed_answer  # type: ignore[method-assign]
    return pipelines


def run(arguments: list[str]) -> int:
    """The node until it is told to end; see the top of the file."""
    own = arguments[: arguments.index("--ros-args")]
    log, seconds = Path(own[0]), float(own[1])
    with log.open("w") as file:

        def timed_build(parameters: NodeSettings) -> MultiCameraPipeline:
            return with_stopwatch(build(parameters), file, seconds, note_arrivals())

        return main(arguments, build=timed_build)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
