"""Synthetic people before synthetic cameras: landmarks in, bodies wanted out."""

from __future__ import annotations

from math import log, pi, radians
from typing import NamedTuple

import torch
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.body.landmarks import BodyLandmarks
from stdformer_ros.training.landmark_noise import disturb
from stdformer_ros.training.motion_library import MotionLibrary, quaternion_to_matrix

DISTANCE = (1.6, 10.0)
PITCH = radians(30.0)
ROLL = radians(4.0)
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
        self._motion = motion
        self._answers = answers
        self._device = torch.device(device)
        self._body = BodyModel(level=108).to(device)
        self._landmarks = BodyLandmarks().to(device)

    @torch.no_grad()
    def sample(self, count: int) -> SyntheticBatch:
        """A batch of `count` sequences."""
        quaternions, root = self._motion.sample(count)
        frames = quaternions.shape[1]
        rotations = self._varied(quaternion_to_matrix(quaternions))
        camera, place = self._cameras(count)
        rotations = torch.cat(
            [camera[:, None, None] @ rotations[:, :, :1], rotations[:, :, 1:]], dim=2
        )
        pelvis = torch.einsum("bij,bfj->bfi", camera, root) + place[:, None]
        betas = torch.randn(count, 10, device=self._device)

        every = betas[:, None].expand(-1, frames, -1).flatten(0, 1)
        rest = self._body.joints_template + torch.einsum(
            "jck,bk->bjc", self._body.joints_shapedirs, every
        )
        turns, joints = forward_kinematics(rotations.flatten(0, 1), rest)
        points = self._landmarks(turns, joints, rest, every).unflatten(0, (count, frames))
        points = points + pelvis[:, :, None]
        # a person who walks into the camera stops being a person that it can see
        points = torch.cat([points[..., :2], points[..., 2:].clamp(min=0.2)], dim=-1)
        rays, visibility = disturb(points[..., :2] / points[..., 2:], points)
        last = slice(-self._answers, None)
        return SyntheticBatch(rays, visibility, rotations[:, last], betas, pelvis[:, last])

    def sample_fixed(self, count: int, seed: int = 1234) -> SyntheticBatch:
        """The same batch at every call, without disturbing the random numbers of others."""
        with torch.random.fork_rng(enabled=True):
            torch.manual_seed(seed)
            return self.sample(count)

    def _varied(self, rotations: Tensor) -> Tensor:
        """The same motion with every joint but the pelvis bent a little more, as people differ."""
        count, _, joints, _, _ = rotations.shape
        tilt = 0.06 * torch.randn(count, 1, joints, 3, device=self._device)
        tilt[:, :, 0] = 0.0
        zero = torch.zeros_like(tilt[..., 0])
        x, y, z = tilt.unbind(-1)
        skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
        return rotations @ torch.matrix_exp(skew)

    def _cameras(self, count: int) -> tuple[Tensor, Tensor]:
        """Rotations (count, 3, 3) from the world, y up, to camera axes; pelvis (count, 3)."""
        heading = 2 * pi * torch.rand(count, device=self._device)
        pitch = PITCH * (2 * torch.rand(count, device=self._device) - 1)
        roll = ROLL * torch.randn(count, device=self._device)
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
