"""What an estimator does when the device runs out of memory: it splits the batch of people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import torch

from stdformer_ros.models.estimator import Estimator, Features, concatenated
from stdformer_ros.types import Body, Frame, Person

Part = TypeVar("Part")

_log = logging.getLogger(__name__)


class OutOfMemorySplit(Estimator):
    """Runs another estimator over all people at once, or over parts of them if memory runs out.

    A batch that did not fit is halved until it fits. The smaller size is kept for all later calls,
    because finding the limit again in every frame would cost more than a larger batch gains.

    Every public attribute that this class does not define is forwarded to the other estimator, for
    reading, calling and setting. So no attribute of `Estimator` can be forgotten here.

    Args:
        estimator: the other estimator, which runs.
    """

    people_at_once: int | None = None

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator

    def __getattribute__(self, name: str) -> Any:
        own = name.startswith("_") or name in OutOfMemorySplit.__dict__
        return super().__getattribute__(name) if own else getattr(self._estimator, name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = name.startswith("_") or name in OutOfMemorySplit.__dict__
        if own:
            super().__setattr__(name, value)
        else:
            setattr(self._estimator, name, value)

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`.

        Raises:
            torch.OutOfMemoryError: if a single person does not fit.
        """
        return self.encode_frames([(frame, people)])

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """See `Estimator.encode_frames` and `encode`; a part can hold some of a camera's people."""
        everybody = [(i, person) for i, (_, people) in enumerate(seen) for person in people]

        def run(rows: slice) -> Features:
            return self._estimator.encode_frames(
                [
                    (seen[i][0], [person for _, person in group])
                    for i, group in groupby(everybody[rows], key=lambda item: item[0])
                ]
            )

        return concatenated(self._split(run, len(everybody)))

    def decode(self, windows: Features) -> list[Body]:
        """See `Estimator.decode` and `encode`."""
        people = len(next(iter(windows.values())))
        parts = self._split(
            lambda rows: self._estimator.decode({k: v[rows] for k, v in windows.items()}), people
        )
        return [body for part in parts for body in part]

    def _split(self, run: Callable[[slice], Part], people: int) -> list[Part]:
        parts: list[Part] = []
        start = 0
        while start < people:
            size = min(people - start, self.people_at_once or people)
            try:
                parts.append(run(slice(start, start + size)))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self.people_at_once = size // 2
                _log.warning(
                    "%s ran out of memory with %d people: %d at a time from now on",
                    self.name,
                    size,
                    self.people_at_once,
                )
            else:
                start += size
                continue
            # Outside of the handler, since the exception keeps the failed call's tensors alive.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return parts
