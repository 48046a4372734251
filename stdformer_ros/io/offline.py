"""Runs the pipeline over a recording, without ROS: frames from a source, answers to sinks.

A source is an iterator of frames: a video file, a folder of images (`video.py`), or a bag, which
only `ros/inputs/bags.py` can read, because it needs ROS. A sink writes one file from the answers:
`HumansFile`, `OverlayVideo`, or the bag of results. Every source works with all sinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from tqdm import tqdm

from stdformer_ros.io.files import print_warning
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Answer, Frame


class Sink(Protocol):
    """Writes the answers to the file `path`; a context manager.

    Leaving the context without an error completes the file from the answers added so far. Leaving
    it with an error does not change an earlier file at `path`.
    """

    path: Path

    def __enter__(self) -> object: ...

    def add(self, answer: Answer) -> None:
        """Take the answer for the next frame."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@dataclass
class Summary:
    """The result of a run.

    Attributes:
        frames: number of answered frames.
        people: number of different track ids.
        error: the exception that ended the run early (`KeyboardInterrupt` for Ctrl-C), after which
            the sinks hold the first `frames` answers; or that of a file that could not be
            completed; or None.
    """

    frames: int = 0
    people: int = 0
    error: BaseException | None = None


def run_offline(
    frames: Iterable[Frame], pipeline: Pipeline, sinks: Sequence[Sink], total: int | None = None
) -> Summary:
    """Run the pipeline over a recording, with a progress bar.

    Ctrl-C, or an error of the source, the pipeline or a sink, ends the run early; the answers until
    then are written.

    Args:
        frames: the frames in their order.
        pipeline: answers for each frame.
        sinks: get all answers, including those that a delay holds back until the end.
        total: the expected number of frames, if known.

    Raises:
        BaseException: any error before the first answer; then nothing is written.
    """
    summary = Summary()
    people: set[int] = set()
    opened: list[Sink] = []
    with tqdm(total=total, unit=" frames", dynamic_ncols=True) as bar:
        try:
            for sink in sinks:
                sink.__enter__()
                opened.append(sink)
            for answer in pipeline.follow(frames):
                for sink in sinks:
                    sink.add(answer)
                summary.frames += 1
                people.update(human.person.track_id for human in answer.humans)
                bar.set_postfix(people=len(answer.humans), refresh=False)
                bar.update()
        except BaseException as error:
            summary.error = error
    summary.people = len(people)
    early = None if summary.frames else summary.error
    for sink in opened:
        # A sink that cannot be completed must not keep the others from being completed.
        try:
            if early is None:
                sink.__exit__(None, None, None)
            else:
                sink.__exit__(type(early), early, early.__traceback__)
        except OSError as error:
            if summary.error is None:
                summary.error = error
            else:
                print_warning(str(error))
    if early is not None:
        raise early
    return summary
