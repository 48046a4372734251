"""The fast half of the default estimator: a residual MLP over the window of landmarks.

It answers with the parameters of the body in the newest frame, from which skinning makes the first
mesh, and with one feature vector that the vertex transformer starts from.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.models.rotation import rotation_from_6d

JOINTS = 24
BETAS = 10


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

    def __init__(self, window: int, landmarks: int, width: int = 1024, blocks: int = 3) -> None:
        super().__init__()
        self.input = nn.Linear(window * landmarks * 3 + 1, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.rotations = nn.Linear(width, JOINTS * 6)
        self.betas = nn.Linear(width, BETAS)
        self.camera = nn.Linear(width, 3)
        self.confidence = nn.Linear(width, JOINTS)
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
            visibility: (B, window, L); points count in proportion, an unseen one not at all.
            half_size: (B,) tangent of the view's half size.
        """
        weighted = points.clamp(-3.0, 3.0) * visibility[..., None]
        size = half_size.clamp(min=1e-3).log()[:, None] + 2.0
        tokens = torch.cat([weighted, visibility[..., None]], dim=-1).flatten(1)
        x = self.input(torch.cat([tokens, size], dim=-1))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        camera = self.camera(x).float()
        return BodyParameters(
            rotation_from_6d(self.rotations(x).float().unflatten(-1, (JOINTS, 6))),
            self.betas(x).float(),
            torch.cat([camera[:, :1].exp(), camera[:, 1:]], dim=-1),
            self.confidence(x).float(),
            x.float(),
        )


class ResidualBlock(nn.Module):
    """Pre-norm: x + W2 gelu(W1 norm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return x + self.layers(self.norm(x))
