"""The default pipeline on real footage, without ROS: frames a second, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice

from stdformer_ros.bench.footage import crowd
from stdformer_ros.bench.timing import Figures, Stopwatch, timed
from stdformer_ros.perception.detector import PersonDetector
from stdformer_ros.perception.landmarks import LandmarkDetector
from stdformer_ros.pipeline import Pipeline, build_pipeline
from stdformer_ros.types import Frame, ImageArray

FRAMES = 150
PEOPLE = {1: "1_person", 4: "4_people"}


def bench_pipeline(images: Sequence[ImageArray]) -> Figures:
    """Frames a second and milliseconds of each stage with 1 and with 4 people."""
    figures: Figures = {}
    for people, name in PEOPLE.items():
        found = stream_figures(build_pipeline(), list(islice(crowd(images, people), FRAMES)))
        figures[f"default_fps_{name}"] = found.pop("fps")
        figures |= {f"{key}_{name}": value for key, value in found.items()}
    return figures


def stream_figures(pipeline: Pipeline, frames: Sequence[Frame]) -> Figures:
    """Means over the frames: `fps`, `people_per_frame`, and milliseconds a frame of each stage.

    `other_ms` is what no stage accounts for: tracking, windows, velocities.
    """
    people = 0
    with stages(pipeline) as watches:
        began = time.perf_counter()
        for answer in pipeline.follow(frames):
            people += len(answer.humans)
        seconds = time.perf_counter() - began
    shares = {f"{name}_ms": sum(w.milliseconds) / len(frames) for name, w in watches.items()}
    return {
        "fps": len(frames) / seconds,
        "people_per_frame": people / len(frames),
        **shares,
        "other_ms": 1e3 * seconds / len(frames) - sum(shares.values()),
    }


@contextmanager
def stages(pipeline: Pipeline) -> Iterator[dict[str, Stopwatch]]:
    """Stopwatches on the stages that networks do."""
    estimator = type(pipeline.estimator)
    with ExitStack() as stack:
        yield {
            "detector": stack.enter_context(timed(PersonDetector, "__call__")),
            "landmarks": stack.enter_context(timed(LandmarkDetector, "__call__")),
            "encode": stack.enter_context(timed(estimator, "encode_frames")),
            "decode": stack.enter_context(timed(estimator, "decode")),
        }
