"""`./run bench`: what a frame of the default pipeline costs, and what streaming saves.

Milliseconds are this machine's at this moment; ratios are between two things timed in alternation
and mean something elsewhere too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from stdformer_ros.models.stdformer_keypoints import WINDOW
from stdformer_ros.pipeline import Pipeline, build_pipeline
from stdformer_ros.sample_clip import sample_clip
from stdformer_ros.types import Frame, Person
from stdformer_ros.video import VideoError, read_video

FRAMES = 200
REPEATS = 50


class Stopwatch:
    """Wraps a function and remembers what its calls took, in milliseconds."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.milliseconds: list[float] = []

    def __call__(self, *arguments: object) -> object:
        """Call it, timed."""
        began = time.perf_counter()
        result = self.function(*arguments)
        self.milliseconds.append(1e3 * (time.perf_counter() - began))
        return result


def bench_video(pipeline: Pipeline, frames: Sequence[Frame]) -> dict[str, float]:
    """Frames a second and milliseconds a stage over frames in memory, means per frame."""
    stages = {"perception": Stopwatch(pipeline.perception)}
    stages |= {n: Stopwatch(getattr(pipeline.estimator, n)) for n in ("encode", "decode")}
    timed = Pipeline(stages["perception"], pipeline.estimator)  # type: ignore[arg-type]
    pipeline.estimator.encode = stages["encode"]  # type: ignore[method-assign, assignment]
    pipeline.estimator.decode = stages["decode"]  # type: ignore[method-assign, assignment]
    began = time.perf_counter()
    people = sum(len(timed(frame)) for frame in frames)
    seconds = time.perf_counter() - began
    for name in ("encode", "decode"):
        delattr(pipeline.estimator, name)
    return {
        "default_fps": len(frames) / seconds,
        "people_per_frame": people / len(frames),
    } | {f"{name}_ms": sum(s.milliseconds) / len(frames) for name, s in stages.items()}


def bench_streaming(pipeline: Pipeline, frame: Frame) -> dict[str, float]:
    """One new frame through the kept window, against the whole window anew."""
    estimator = pipeline.estimator
    generator = np.random.default_rng(0)
    places = generator.uniform(0.3, 0.7, (33, 2)) * frame.image.shape[1::-1]
    person = Person(
        0, 1.0, np.zeros(4, np.float32), places.astype(np.float32), np.ones(33, np.float32)
    )
    with torch.inference_mode():
        kept = [estimator.encode(frame, [person])] * WINDOW

        def streaming() -> np.ndarray:
            newest = estimator.encode(frame, [person])
            return _decode([*kept[1:], newest])

        def recomputing() -> np.ndarray:
            return _decode([estimator.encode(frame, [person]) for _ in range(WINDOW)])

        def _decode(window: list[dict[str, torch.Tensor]]) -> np.ndarray:
            stacked = {k: torch.stack([f[k] for f in window], dim=1) for k in window[0]}
            return estimator.decode(stacked)[0].joints

        fast, slow = Stopwatch(streaming), Stopwatch(recomputing)
        difference = 0.0
        for _ in range(REPEATS):
            difference = max(difference, float(np.abs(fast() - slow()).max()))  # type: ignore[operator]
    return {
        "default_stream_ms": float(np.median(fast.milliseconds)),
        "default_stream_speedup": float(
            np.median(slow.milliseconds) / np.median(fast.milliseconds)
        ),
        "default_stream_max_abs_difference": difference,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--video", type=Path, metavar="FILE", help="default: the demo's clip")
    options = parser.parse_args(arguments)
    cache = Path(os.environ.get("STDFORMER_CACHE", Path.home() / ".cache" / "stdformer_ros"))
    try:
        video = options.video or sample_clip(cache)
        frames = [f for f, _ in zip(read_video(video), range(FRAMES), strict=False)]
    except (VideoError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    pipeline = build_pipeline()
    results = bench_video(pipeline, frames) | bench_streaming(pipeline, frames[0])
    for name, value in results.items():
        print(f"{name:36s} {value:12.3g}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
