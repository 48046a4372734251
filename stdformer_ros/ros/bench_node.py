"""The node with a stopwatch around its models, for the benchmarks; otherwise the node itself.

`python -m stdformer_ros.ros.bench_node LOG SECONDS --ros-args ...` writes a line for each answered
image, its stamp in nanoseconds and the seconds that the models took for it. Models that are faster
than SECONDS are held up until so much time has passed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from stdformer_ros.ros.node import build, main
from stdformer_ros.ros.parameters import Parameters
from stdformer_ros.types import Frame, Human

if TYPE_CHECKING:
    from stdformer_ros.pipeline import Seen
    from stdformer_ros.quality import Quality
    from stdformer_ros.rig import Rig


class TimedRig:
    """A rig of one camera that tells how long it takes.

    Args:
        rig: that does the work.
        log: for the lines.
        seconds: that a frame takes at least.
    """

    def __init__(self, rig: Rig, log: TextIO, seconds: float) -> None:
        self.estimator = rig.estimator
        self._rig = rig
        self._log = log
        self._seconds = seconds
        self._began = 0.0
        self._stamp = 0.0

    def see(self, camera: str, frame: Frame) -> Seen:
        """See `Rig.see`."""
        self._began = time.perf_counter()
        self._stamp = frame.stamp
        return self._rig.see(camera, frame)

    def answer(self, seen: Mapping[str, Seen]) -> dict[str, list[Human]]:
        """See `Rig.answer`."""
        humans = self._rig.answer(seen)
        time.sleep(max(0.0, self._began + self._seconds - time.perf_counter()))
        took = time.perf_counter() - self._began
        self._log.write(f"{round(1e9 * self._stamp)} {took:.6f}\n")
        self._log.flush()
        return humans

    def answered(self, camera: str) -> Frame | None:
        """See `Rig.answered`."""
        return self._rig.answered(camera)

    def reset(self, camera: str) -> None:
        """See `Rig.reset`."""
        self._rig.reset(camera)

    def use_quality(self, quality: Quality) -> None:
        """See `Rig.use_quality`."""
        self._rig.use_quality(quality)


def run(arguments: list[str]) -> int:
    """The node until it is told to end; see the top of the file."""
    own = arguments[: arguments.index("--ros-args")]
    log, seconds = Path(own[0]), float(own[1])
    with log.open("w") as file:

        def timed_build(parameters: Parameters) -> TimedRig:
            return TimedRig(build(parameters), file, seconds)

        return main(arguments, build=timed_build)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
