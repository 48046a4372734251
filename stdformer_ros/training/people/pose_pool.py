"""Posed motion that is filmed several times before it is thrown away."""

from __future__ import annotations

from collections.abc import Callable

import torch

from stdformer_ros.training.people.posed_motion import PosedMotion

REUSE = 6
"""How often a sequence is filmed on average. Posing costs ten times as much as filming it with
another camera and other mistakes, which is most of what a network has to learn."""
BATCHES = 8
"""Size of the pool in batches, so that a sequence hardly meets the same ones again."""


class PosePool:
    """Keeps `BATCHES` batches of sequences and replaces the oldest.

    Args:
        pose: makes a batch of new sequences.
        count: sequences per drawn batch.
    """

    def __init__(self, pose: Callable[[int], PosedMotion], count: int) -> None:
        self._pose = pose
        self._count = count
        self._fresh = max(count // REUSE, 1)
        size = BATCHES * count
        parts = [pose(min(count, size - begin)) for begin in range(0, size, count)]
        self._kept = PosedMotion(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        self._oldest = 0

    def draw(self) -> PosedMotion:
        """A batch of different sequences, after some were replaced."""
        size = BATCHES * self._count
        fresh = self._pose(self._fresh)
        device = fresh.betas.device
        rows = (self._oldest + torch.arange(self._fresh, device=device)) % size
        self._oldest = (self._oldest + self._fresh) % size
        for kept, new in zip(self._kept, fresh, strict=True):
            kept[rows] = new
        drawn = torch.randperm(size, device=device)[: self._count]
        return PosedMotion(*(kept[drawn] for kept in self._kept))
