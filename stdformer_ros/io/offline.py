"""A video through the pipeline, without ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stdformer_ros.io.humans_file import HumansFile
from stdformer_ros.io.overlay import Figure
from stdformer_ros.io.pictures import write_overlay_video
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Frame, Human


@dataclass
class Summary:
    """What came of a run.

    Attributes:
        frames: that were processed.
        people: different track ids.
        interrupted: whether Ctrl-C ended it before the video did.
        files: that were written.
    """

    frames: int = 0
    people: int = 0
    interrupted: bool = False
    files: tuple[Path, ...] = ()


def run_offline(
    frames: Iterator[Frame],
    pipeline: Pipeline,
    folder: Path,
    *,
    vertices: bool = False,
    overlay: bool = False,
    total: int | None = None,
) -> Summary:
    """Follow everybody through a video; write `humans.npz`, see `HumansFile`.

    Ctrl-C ends the video early; what is known by then is written. An estimator that answers late
    is asked for the last frames when the video has ended, with its newest frame repeated.

    Args:
        frames: in their order.
        pipeline: see there.
        folder: made if it is missing; files of these names in it are replaced.
        vertices: whether to keep the meshes.
        overlay: whether to write `overlay.mp4` too.
        total: frames to expect, for the progress bar, if that is known.

    Raises:
        ValueError: if vertices are wanted of a model that has none.
        OSError: if a file cannot be written.
    """
    estimator = pipeline.estimator
    folder.mkdir(parents=True, exist_ok=True)
    summary = Summary(files=(folder / "humans.npz",))
    with (
        HumansFile(summary.files[0], estimator, vertices) as humans_file,
        tqdm(total=total, unit=" frames", dynamic_ncols=True) as bar,
    ):
        frames, fps = _with_rate(frames)

        def follow() -> Iterator[tuple[Frame, list[Figure]]]:
            for humans in chain(map(pipeline, frames), pipeline.finish()):
                frame = pipeline.answered
                if frame is None:
                    continue  # the first frames of a delay
                humans_file.add(summary.frames, frame.stamp, humans)
                summary.frames += 1
                bar.set_postfix(people=len(humans), refresh=False)
                bar.update()
                yield frame, [_figure(human) for human in humans]

        try:
            if overlay:
                path = folder / "overlay.mp4"
                summary.files += (path,)
                write_overlay_video(path, fps, follow(), estimator.faces, estimator.skeleton)
            else:
                deque(follow(), maxlen=0)
        except KeyboardInterrupt:
            summary.interrupted = True
        humans_file.save(fps)
        summary.people = humans_file.people
    return summary


def _figure(human: Human) -> Figure:
    return Figure(human.person.track_id, human.body.joints, human.body.vertices)


def _with_rate(frames: Iterator[Frame]) -> tuple[Iterator[Frame], float]:
    """The same frames, and how many there are a second by the first ones' stamps."""
    first = list(islice(frames, 8))
    steps = np.diff([frame.stamp for frame in first])
    period = float(np.median(steps)) if len(steps) else 0.0
    return chain(first, frames), 1.0 / period if period > 0 else 30.0
