"""Synthetic people before synthetic cameras: landmarks in, bodies wanted out."""

from __future__ import annotations

from math import log, pi, radians
from typing import NamedTuple

import torch
from torch import Tensor

from stdformer_ros.training.people.landmark_noise import disturb
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.pose_pool import PosePool
from stdformer_ros.training.people.posed_motion import MotionPoser, PosedMotion

DISTANCE = (1.6, 10.0)
PITCH = radians(30.0)
ROLL, TILTED_ROLL = radians(4.0), radians(30.0)
"""Standard deviation of the cameras that were meant to be level, and limit of the others, a third
of all: people lean, and cameras are held by hand."""
JUST_FOUND = 0.1
"""Part of the people whose windows are not yet full."""
OFF_AXIS = 0.5
"""Metres by which the person's path misses the camera's axis, per metre of distance."""


class SyntheticBatch(NamedTuple):
    """Sequences of F frames; the targets are those of the last K frames.

    Attributes:
        rays: (B, F, 21, 2) disturbed landmarks as x/z, y/z.
        visibility: (B, F, 21).
        rotations: (B, K, 24, 3, 3), the pelvis' in camera coordinates.
        betas: (B, 10).
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
        motion: where the poses come from; its windows are the sequences.
        answers: K, the number of last frames to give targets for.
        device: where to generate.
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
        """A batch of `count` sequences, some of which were filmed before by other cameras."""
        if self._pool is None or count != self._count:
            self._pool, self._count = PosePool(self._poser.pose, count), count
        return self.film(self._pool.draw())

    @torch.no_grad()
    def film(self, motion: PosedMotion) -> SyntheticBatch:
        """Each sequence before a camera of its own, through a landmark detector."""
        count = len(motion.betas)
        camera, place = self._cameras(count)
        points = torch.einsum("bij,bflj->bfli", camera, motion.landmarks) + place[:, None, None]
        pelvis = torch.einsum("bij,bkj->bki", camera, motion.pelvis) + place[:, None]
        rotations = motion.rotations.clone()
        rotations[:, :, 0] = camera[:, None] @ motion.rotations[:, :, 0]
        # a person who walks into the camera stops being a person that it can see
        points = torch.cat([points[..., :2], points[..., 2:].clamp(min=0.2)], dim=-1)
        rays, visibility = disturb(points[..., :2] / points[..., 2:], points)
        return SyntheticBatch(*self._just_found(rays, visibility), rotations, motion.betas, pelvis)

    def _just_found(self, rays: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Some of the people were found only now: their windows are padded by the first frame.

        They were there in all frames that are answered for.
        """
        count, frames = visibility.shape[:2]
        first = torch.randint(frames - self._answers + 1, (count,), device=self._device)
        found = torch.rand(count, device=self._device) < JUST_FOUND
        first = torch.where(found, first, 0)
        frame = torch.arange(frames, device=self._device).maximum(first[:, None])
        person = torch.arange(count, device=self._device)[:, None]
        return rays[person, frame], visibility[person, frame]

    def sample_fixed(self, count: int, seed: int = 1234) -> SyntheticBatch:
        """The same batch at every call, without disturbing the random numbers of others."""
        with torch.random.fork_rng(enabled=True):
            torch.manual_seed(seed)
            return self.film(self._poser.pose(count))

    def _cameras(self, count: int) -> tuple[Tensor, Tensor]:
        """Rotations (count, 3, 3) from the world, y up, to camera axes; pelvis (count, 3)."""
        heading = 2 * pi * torch.rand(count, device=self._device)
        pitch = PITCH * (2 * torch.rand(count, device=self._device) - 1)
        level = ROLL * torch.randn(count, device=self._device)
        tilted = TILTED_ROLL * (2 * torch.rand(count, device=self._device) - 1)
        roll = torch.where(torch.rand(count, device=self._device) < 2 / 3, level, tilted)
        flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], device=self._device))
        camera = _about(2, roll) @ _about(0, pitch) @ flip @ _about(1, heading)
        low, high = DISTANCE
        distance = torch.exp(
            log(low) + (log(high) - log(low)) * torch.rand(count, device=self._device)
        )
        aside = OFF_AXIS * (2 * torch.rand(count, 2, device=self._device) - 1)
        place = torch.cat([aside, torch.ones_like(aside[:, :1])], dim=-1) * distance[:, None]
        return camera, place


def _about(axis: int, angle: Tensor) -> Tensor:
    """Rotations (B, 3, 3) about a coordinate axis."""
    c, s = angle.cos(), angle.sin()
    result = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    result[:, i, i], result[:, j, j] = c, c
    result[:, i, j], result[:, j, i] = -s, s
    return result
