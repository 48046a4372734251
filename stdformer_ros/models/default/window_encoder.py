"""The fast half of the default estimator: a residual MLP over the window of landmarks.

It answers with the parameters of the body in the newest frame, from which skinning makes the first
mesh, and with one feature vector that the vertex transformer starts from.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.models.default.body_corrector import BETAS, JOINTS, BodyCorrector, RawParameters
from stdformer_ros.models.default.residual_mlp import ResidualBlock

MEMORIES = (1.0, 2.0, 4.0, 8.0)
"""Frames in which what the network remembers of a landmark fades to a third."""
UNSEEN = 0.05
"""Visibility, summed over the window, at which a landmark's mean place is half believed."""
CORRECTIONS = 2
"""How often the network looks at its own answer."""


class BodyParameters(NamedTuple):
    """One body each, in the coordinates of the window's view.

    Attributes:
        rotations: (B, 24, 3, 3), the pelvis' in the view, the others relative to their parents.
        betas: (B, 10).
        camera: (B, 3) weak perspective (s, tx, ty): x = s (X + tx) over the view in [-1, 1].
        confidence: (B, 24) logits of the joints lying within 100 mm of the truth.
        feature: (B, width).
    """

    rotations: Tensor
    betas: Tensor
    camera: Tensor
    confidence: Tensor
    feature: Tensor


class WindowEncoder(nn.Module):
    """Residual MLP from a window's landmarks to `BodyParameters`.

    Args:
        window: frames.
        landmarks: landmarks per frame.
        width: units of the hidden layers.
        blocks: residual blocks of two layers.
    """

    means: Tensor

    def __init__(self, window: int, landmarks: int, width: int = 1024, blocks: int = 3) -> None:
        super().__init__()
        self.input = nn.Linear(len(MEMORIES) * landmarks * 3 + 1, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.rotations = nn.Linear(width, JOINTS * 6)
        self.betas = nn.Linear(width, BETAS)
        self.camera = nn.Linear(width, 3)
        self.confidence = nn.Linear(width, JOINTS)
        self.corrector = BodyCorrector(width, len(MEMORIES))
        self.register_buffer("means", fading_means(window), persistent=False)
        self._start_at_rest()

    def _start_at_rest(self) -> None:
        """Begin with a standing person who faces the camera."""
        for head in (self.rotations, self.betas, self.camera):
            nn.init.normal_(head.weight, std=1e-3)
            nn.init.zeros_(head.bias)
        upright = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(JOINTS, 1)
        upright[0, 4] = -1.0  # y points down in camera coordinates
        with torch.no_grad():
            self.rotations.bias.copy_(upright.flatten())

    def forward(self, points: Tensor, visibility: Tensor, half_size: Tensor) -> BodyParameters:
        """Answer for the newest frame.

        Args:
            points: (B, window, L, 2) from `view_window`.
            visibility: (B, window, L); see `hold_unseen`.
            half_size: (B,) tangent of the view's half size.
        """
        steady = hold_unseen(points.clamp(-4.0, 4.0), visibility)
        size = half_size.clamp(min=1e-3).log()[:, None] + 2.0
        frames = self.means @ torch.cat([steady.flatten(2), visibility], dim=-1)
        x = self.input(torch.cat([frames.flatten(1), size], dim=-1))
        for block in self.blocks:
            x = block(x)
        feature = self.norm(x)
        raw = RawParameters(
            self.rotations(feature).float().unflatten(-1, (JOINTS, 6)),
            self.betas(feature).float(),
            self.camera(feature).float(),
        )
        seen = (self.means @ steady.flatten(2)).unflatten(-1, steady.shape[2:])
        visible = (self.means[:1] @ visibility)[:, 0]
        for _ in range(CORRECTIONS):
            raw, feature = self.corrector(raw, feature, seen, visible, half_size)
        return BodyParameters(
            raw.rotations,
            raw.betas,
            raw.weak_perspective,
            self.confidence(feature).float(),
            feature.float(),
        )


def hold_unseen(points: Tensor, visibility: Tensor) -> Tensor:
    """Landmarks follow what is seen of them as far as it is visible, and stay where nothing is.

    A landmark that jumps to the view's centre whenever it is lost would drag the pose with it.

    Args:
        points: (B, T, L, 2).
        visibility: (B, T, L) 0..1.

    Returns:
        (B, T, L, 2); a landmark that is never seen lies where the visible ones are on average.
    """
    weight = visibility[..., None]
    everything = (weight * points).flatten(1, 2).sum(1) / weight.flatten(1, 2).sum(1).clamp(1e-6)
    share = weight.sum(1) / (weight.sum(1) + UNSEEN)
    own = (weight * points).sum(1) / weight.sum(1).clamp(1e-6)
    held = torch.lerp(everything[:, None], own, share)
    result = []
    for frame in range(points.shape[1]):
        held = torch.lerp(held, points[:, frame], weight[:, frame])
        result.append(held)
    return torch.stack(result, dim=1)


def fading_means(window: int) -> Tensor:
    """(len(MEMORIES), window): means over the past that fade with `MEMORIES`, rows that sum to one.

    What the network sees of a window is as smooth as the shortest of them, and their differences
    tell where the landmarks are going: a network that reads single frames answers with their noise.
    """
    age = torch.arange(window - 1, -1, -1)
    weights = torch.exp(-age / torch.tensor(MEMORIES)[:, None])
    return weights / weights.sum(1, keepdim=True)
