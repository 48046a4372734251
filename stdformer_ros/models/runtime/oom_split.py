"""An estimator that outlives a device without room for everybody at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

import torch

from stdformer_ros.models.estimator import Estimator, Features, concatenated
from stdformer_ros.types import Body, Frame, Person

Part = TypeVar("Part")

_log = logging.getLogger(__name__)


class OutOfMemorySplit(Estimator):
    """Runs another estimator over all people at once, or in parts if memory runs out.

    What did not fit is halved until it fits. The smaller size is kept for all later calls, because
    to find the limit anew in every frame would cost more than the larger batch brings.

    Args:
        estimator: whose answers these are.
    """

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self.name = estimator.name
        self.window = estimator.window
        self.delay_frames = estimator.delay_frames
        self.joint_names = estimator.joint_names
        self.skeleton = estimator.skeleton
        self.faces = estimator.faces
        self.reads_images = estimator.reads_images
        self.mesh_levels = estimator.mesh_levels
        self.device = estimator.device

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`.

        Raises:
            torch.OutOfMemoryError: if a single person does not fit.
        """
        return self.encode_frames([(frame, people)])

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """See `Estimator.encode_frames` and `encode`."""
        everybody = [(i, person) for i, (_, people) in enumerate(seen) for person in people]

        def run(rows: slice) -> Features:
            return self._estimator.encode_frames(
                [
                    (seen[i][0], [person for _, person in group])
                    for i, group in groupby(everybody[rows], key=lambda item: item[0])
                ]
            )

        return concatenated(self._in_parts(run, len(everybody)))

    def decode(self, windows: Features) -> list[Body]:
        """See `Estimator.decode` and `encode`."""
        people = len(next(iter(windows.values())))
        parts = self._in_parts(
            lambda rows: self._estimator.decode({k: v[rows] for k, v in windows.items()}), people
        )
        return [body for part in parts for body in part]

    def use_mesh_level(self, level: int) -> None:
        """See `Estimator.use_mesh_level`."""
        self._estimator.use_mesh_level(level)
        self.faces = self._estimator.faces

    def move_to(self, device: torch.device) -> None:
        """See `Estimator.move_to`."""
        self._estimator.move_to(device)
        self.device = device

    def _in_parts(self, run: Callable[[slice], Part], people: int) -> list[Part]:
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
