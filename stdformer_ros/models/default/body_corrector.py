"""Looking at one's own answer: where the body's landmarks are seen, and where they should be seen.

A network finds it hard to invert the projection in one go, but easy to tell from what is left which
way to turn a limb. Iterative error feedback: Carreira et al., "Human pose estimation with iterative
error feedback", CVPR 2016; for meshes Kanazawa et al., "End-to-end recovery of human shape and
pose", CVPR 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.landmarks import LANDMARK_NAMES, BodyLandmarks
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.models.default.residual_mlp import ResidualBlock
from stdformer_ros.models.default.rotation import rotation_from_6d

JOINTS = 24
BETAS = 10
PARAMETERS = JOINTS * 6 + BETAS + 3
GAIN = 10.0
"""Differences in the view are small numbers; the network sees them so many times larger."""


class RawParameters(NamedTuple):
    """What networks add to.

    Attributes:
        six: (B, 24, 6), see `rotation_from_6d`.
        betas: (B, 10).
        camera: (B, 3), logarithm of s, tx, ty.
    """

    six: Tensor
    betas: Tensor
    camera: Tensor

    @property
    def rotations(self) -> Tensor:
        """(B, 24, 3, 3)."""
        return rotation_from_6d(self.six)

    @property
    def weak_perspective(self) -> Tensor:
        """(B, 3): s, tx, ty."""
        return torch.cat([self.camera[:, :1].exp(), self.camera[:, 1:]], dim=-1)


class BodyCorrector(nn.Module):
    """One step of correction.

    Args:
        width: of the feature and of the hidden layers.
        memories: how many differently smoothed places of each landmark there are.
    """

    def __init__(self, width: int, memories: int) -> None:
        super().__init__()
        landmarks = len(LANDMARK_NAMES)
        self.input = nn.Linear(landmarks * (2 * memories + 4) + PARAMETERS, width)
        self.feature = nn.Linear(width, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.change = nn.Linear(width, PARAMETERS)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)
        self.body = BodyModel(level=108)
        self.landmarks = BodyLandmarks()

    def forward(
        self, raw: RawParameters, feature: Tensor, seen: Tensor, visible: Tensor, half_size: Tensor
    ) -> tuple[RawParameters, Tensor]:
        """Correct.

        Args:
            raw: the answer so far.
            feature: (B, width) of the window, or of the step before.
            seen: (B, memories, L, 2), where the landmarks are seen in the view.
            visible: (B, L) 0..1.
            half_size: (B,) tangent of the view's half size.

        Returns:
            The better answer, and the feature (B, width) behind it.
        """
        with torch.autocast(seen.device.type, enabled=False):
            expected, depth = self._project(raw, half_size)
            missed = (seen - expected[:, None]).clamp(-1.0, 1.0) * visible[:, None, :, None]
        x = torch.cat(
            [
                GAIN * missed.flatten(1),
                expected.clamp(-4.0, 4.0).flatten(1),
                depth,
                visible,
                raw.six.flatten(1),
                raw.betas,
                raw.camera,
            ],
            dim=-1,
        )
        x = self.input(x) + self.feature(feature)
        for block in self.blocks:
            x = block(x)
        feature = self.norm(x)
        six, betas, camera = self.change(feature).float().split([JOINTS * 6, BETAS, 3], dim=-1)
        better = RawParameters(
            raw.six + six.unflatten(-1, (JOINTS, 6)), raw.betas + betas, raw.camera + camera
        )
        return better, feature

    def _project(self, raw: RawParameters, half_size: Tensor) -> tuple[Tensor, Tensor]:
        """Where the answer's landmarks would be seen (B, L, 2), and their depths (B, L)."""
        body = self.body.skeleton(raw.rotations, raw.betas)
        points = self.landmarks(body.turns, body.joints, body.rest, raw.betas)
        place = weak_perspective_to_metres(raw.weak_perspective, half_size)
        there = points + place[:, None]
        tangent = there[..., :2] / there[..., 2:].clamp(min=0.2)
        return tangent / half_size[:, None, None], points[..., 2]
