"""Synthetic people in front of synthetic cameras: landmarks as input, bodies as targets.

`SyntheticPeople` puts a camera in front of posed motion ("films" it) and adds the faults of a
landmark detector. `PosePool` keeps posed motion, so that it can be filmed several times.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi, radians
from typing import NamedTuple

import torch
from torch import Tensor

from stdformer_ros.training.people.landmark_noise import disturb
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.posed_motion import MotionPoser, PosedMotion

REUSE = 6
"""How often a sequence is filmed on average, each time with another camera and other faults of the
detector. Posing takes ten times as long as filming, and a network mostly has to learn about cameras
and faults."""
BATCHES = 8
"""Size of the pool in batches. It is large, so that batches rarely have the same sequences."""

DISTANCE = (1.6, 10.0)
"""Range of metres between camera and person."""
PITCH = radians(30.0)
"""Largest pitch of a camera, up or down."""
ROLL, TILTED_ROLL = radians(4.0), radians(30.0)
"""Standard deviation of the roll of level cameras, and largest roll of the others, a third of all,
because cameras are held by hand and people lean."""
JUST_FOUND = 0.1
"""Fraction of the people whose windows are not yet full."""
OFF_AXIS = 0.5
"""Largest distance of the person from the camera's axis, per metre of depth."""


class PosePool:
    """Keeps `BATCHES` batches of sequences and replaces the oldest ones.

    Args:
        pose: makes a batch of new sequences.
        count: batch size of `draw`.
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
        """Replace some sequences, then draw a batch of different ones."""
        size = BATCHES * self._count
        fresh = self._pose(self._fresh)
        device = fresh.betas.device
        rows = (self._oldest + torch.arange(self._fresh, device=device)) % size
        self._oldest = (self._oldest + self._fresh) % size
        for kept, new in zip(self._kept, fresh, strict=True):
            kept[rows] = new
        drawn = torch.randperm(size, device=device)[: self._count]
        return PosedMotion(*(kept[drawn] for kept in self._kept))


class SyntheticBatch(NamedTuple):
    """Sequences of F frames, with targets for the last K frames.

    Attributes:
        rays: (B, F, 21, 2) disturbed landmarks as x/z, y/z.
        visibility: (B, F, 21) of the landmarks.
        rotations: (B, K, 24, 3, 3), the pelvis' in camera coordinates, the others relative to
            their parents.
        betas: (B, 10) shape parameters.
        pelvis: (B, K, 3) metres, camera coordinates.
    """

    rays: Tensor
    visibility: Tensor
    rotations: Tensor
    betas: Tensor
    pelvis: Tensor


class SyntheticPeople:
    """Endless supply of `SyntheticBatch`.

    Args:
        motion: gives the poses; its windows are the sequences.
        answers: K, the number of last frames that have targets.
        device: to generate on.
    """

    def __init__(
        self, motion: MotionLibrary, answers: int, device: torch.device | str = "cpu"
    ) -> None:
        self._device = torch.device(device)
        self._answers = answers
        self._poser = MotionPoser(motion, answers, self._device)
        self._pool: PosePool | None = None
        self._count = 0

    def sample(self, count: int) -> SyntheticBatch:
        """A batch of `count` sequences; most of them were filmed before by other cameras."""
        if self._pool is None or count != self._count:
            self._pool, self._count = PosePool(self._poser.pose, count), count
        return self.film(self._pool.draw())

    @torch.no_grad()
    def film(self, motion: PosedMotion) -> SyntheticBatch:
        """Put a camera in front of each sequence, and disturb its landmarks as a detector does."""
        count = len(motion.betas)
        camera, place = random_cameras(count, self._device)
        points = torch.einsum("bij,bflj->bfli", camera, motion.landmarks) + place[:, None, None]
        pelvis = torch.einsum("bij,bkj->bki", camera, motion.pelvis) + place[:, None]
        rotations = motion.rotations.clone()
        rotations[:, :, 0] = camera[:, None] @ motion.rotations[:, :, 0]
        # Rays are undefined behind the camera, so points are kept at least 0.2 m in front of it.
        points = torch.cat([points[..., :2], points[..., 2:].clamp(min=0.2)], dim=-1)
        rays, visibility = disturb(points[..., :2] / points[..., 2:], points)
        return SyntheticBatch(*self._just_found(rays, visibility), rotations, motion.betas, pelvis)

    def _just_found(self, rays: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Some people were found only recently: earlier frames repeat the first one.

        All of them are found before the first frame that has a target.
        """
        count, frames = visibility.shape[:2]
        first = torch.randint(frames - self._answers + 1, (count,), device=self._device)
        found = torch.rand(count, device=self._device) < JUST_FOUND
        first = torch.where(found, first, 0)
        frame = torch.arange(frames, device=self._device).maximum(first[:, None])
        person = torch.arange(count, device=self._device)[:, None]
        return rays[person, frame], visibility[person, frame]

    def sample_fixed(self, count: int, seed: int = 1234) -> SyntheticBatch:
        """The same batch at every call; the global random state does not change."""
        with torch.random.fork_rng(enabled=True):
            torch.manual_seed(seed)
            return self.film(self._poser.pose(count))


def random_cameras(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rotations (count, 3, 3) from the world (y up) to the camera; pelvis (count, 3) metres."""
    heading = 2 * pi * torch.rand(count, device=device)
    pitch = PITCH * (2 * torch.rand(count, device=device) - 1)
    level = ROLL * torch.randn(count, device=device)
    tilted = TILTED_ROLL * (2 * torch.rand(count, device=device) - 1)
    roll = torch.where(torch.rand(count, device=device) < 2 / 3, level, tilted)
    camera = camera_rotations(heading, pitch, roll)
    low, high = DISTANCE
    distance = torch.exp(log(low) + (log(high) - log(low)) * torch.rand(count, device=device))
    aside = OFF_AXIS * (2 * torch.rand(count, 2, device=device) - 1)
    place = torch.cat([aside, torch.ones_like(aside[:, :1])], dim=-1) * distance[:, None]
    return camera, place


def camera_rotations(heading: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotations (B, 3, 3) from the world (y up) to the camera, by angles (B,) in radians."""
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], device=heading.device))
    return _about(2, roll) @ _about(0, pitch) @ flip @ _about(1, heading)


def _about(axis: int, angle: Tensor) -> Tensor:
    """Rotations (B, 3, 3) about coordinate axis 0, 1 or 2 by angles (B,)."""
    c, s = angle.cos(), angle.sin()
    result = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    result[:, i, i], result[:, j, j] = c, c
    result[:, i, j], result[:, j, i] = -s, s
    return result
