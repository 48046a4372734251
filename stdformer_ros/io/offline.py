"""A recording through the pipeline, without ROS: frames from a source, answers into sinks.

A source is an iterator of frames: a video file, a folder of images (`video.py`), or a bag, which is
read where ROS is known (`ros/inputs/bags.py`). A sink writes one file from the answers:
`HumansFile`, `OverlayVideo`, or the bag of results. Any source goes with any sinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from tqdm import tqdm

from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Answer, Frame


class Sink(Protocol):
    """Writes what is answered to `path`; a context manager.

    Leaving it without an error completes what was added so far. Leaving it with an error leaves an
    earlier result at `path` as it was.
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
    """What came of a run.

    Attributes:
        frames: how many were answered.
        people: how many different track ids there were.
        error: what has ended the run before the recording did (`KeyboardInterrupt` for Ctrl-C), or
            None. The sinks hold the `frames` answered until then.
    """

    frames: int = 0
    people: int = 0
    error: BaseException | None = None


def run_offline(
    frames: Iterable[Frame], pipeline: Pipeline, sinks: Sequence[Sink], total: int | None = None
) -> Summary:
    """Follow everybody through a recording, with a progress bar.

    Ctrl-C, or an error of the source, the pipeline or a sink, ends the run early; what was answered
    until then is written.

    Args:
        frames: in their order.
        pipeline: see there.
        sinks: get all answers; those of a delay's last frames too.
        total: how many frames to expect, if that is known.

    Raises:
        BaseException: whatever went wrong before the first answer; then nothing is written.
        OSError: if a file cannot be completed.
    """
    summary = Summary()
    people: set[int] = set()
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=total, unit=" frames", dynamic_ncols=True))
        for sink in sinks:
            stack.enter_context(sink)
        try:
            for answer in pipeline.follow(frames):
                for sink in sinks:
                    sink.add(answer)
                summary.frames += 1
                people.update(human.person.track_id for human in answer.humans)
                bar.set_postfix(people=len(answer.humans), refresh=False)
                bar.update()
        except BaseException as error:
            if not summary.frames:
                raise
            summary.error = error
    summary.people = len(people)
    return summary
