"""The two programs that the benchmarks over topics start as processes of their own.

`python -m stdformer_ros.bench.ros_programs node LOG SECONDS --ros-args ...` is the node itself with
a stopwatch around its models. It writes a line to LOG for each answered image: the image's stamp
and the time at which it reached this process, both in nanoseconds, and the seconds that the models
took for it. Models that take less than SECONDS are delayed until SECONDS have passed.

`python -m stdformer_ros.bench.ros_programs camera PICTURE HZ SECONDS --ros-args ...` is a camera
that publishes one picture again and again, with a new stamp each time. At the end it prints how
many images it has published, and how many per second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import cv2
import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stdformer_ros.config import NodeSettings
from stdformer_ros.ros import node
from stdformer_ros.ros.camera_stream import CameraStream
from stdformer_ros.ros.inputs.intake import seconds as seconds_of
from stdformer_ros.ros.outputs.messages import rgb_message
from stdformer_ros.types import Answer, Frame

if TYPE_CHECKING:
    from stdformer_ros.multi_camera import MultiCameraPipeline
    from stdformer_ros.pipeline import Seen

Arrivals = dict[float, int]
"""When the middleware received an image for this process, in nanoseconds, by its stamp in
seconds."""


def note_arrivals() -> Arrivals:
    """Record from now on when the images of all cameras of this process arrive."""
    arrivals: Arrivals = {}
    take = CameraStream._on_image

    # rclpy passes the time of arrival to a callback that takes two arguments.
    def note(stream: CameraStream, message: Image, info: dict[str, Any]) -> None:
        arrivals[seconds_of(message.header.stamp)] = info["received_timestamp"]
        take(stream, message)

    CameraStream._on_image = note  # type: ignore[assignment,method-assign]
    return arrivals


def with_stopwatch(
    pipelines: MultiCameraPipeline, log: TextIO, seconds: float, arrivals: Arrivals
) -> MultiCameraPipeline:
    """Make a pipeline write to `log` how long it takes for each image.

    Args:
        pipelines: of one camera, without a delay; they are changed in place.
        log: takes the lines that the top of this file describes.
        seconds: the least time that an image takes.
        arrivals: of the images; each is removed when its image is answered.

    Returns:
        `pipelines`.
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


def run_node(arguments: list[str]) -> int:
    """The node with a stopwatch, until it is told to stop; see the top of the file."""
    own = arguments[: arguments.index("--ros-args")]
    log, seconds = Path(own[0]), float(own[1])
    with log.open("w") as file:

        def timed_build(settings: NodeSettings) -> MultiCameraPipeline:
            return with_stopwatch(node.build(settings), file, seconds, note_arrivals())

        return node.main(arguments, build=timed_build)


def picture_message(path: str) -> Image:
    """A picture file as a message without stamp."""
    bgr = cv2.imread(path)
    if bgr is None:
        raise SystemExit(f"bench: {path} is not a picture")
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return rgb_message(Header(frame_id="bench"), rgb)


def run_camera(arguments: list[str]) -> int:
    """Publish at a steady rate; an image that is late is published at once."""
    path, hertz, seconds = arguments[0], float(arguments[1]), float(arguments[2])
    rclpy.init(args=arguments[3:])
    camera = rclpy.create_node("bench_camera")
    publisher = camera.create_publisher(Image, "image", qos_profile_sensor_data)
    message = picture_message(path)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    began = time.monotonic()
    published = 0
    while (now := time.monotonic()) < began + seconds:
        message.header.stamp = camera.get_clock().now().to_msg()
        publisher.publish(message)
        published += 1
        time.sleep(max(0.0, began + published / hertz - time.monotonic()))
    print(f"{published} {published / (now - began):.1f}", flush=True)
    camera.destroy_node()
    rclpy.shutdown()
    return 0


PROGRAMS = {"node": run_node, "camera": run_camera}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](sys.argv[2:]))
