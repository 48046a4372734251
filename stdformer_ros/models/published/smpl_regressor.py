"""FastMETRO's optional regressor from the mesh of 1723 vertices to SMPL's parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VERTICES = 1723
ROTATIONS = 24
BETAS = 10
WIDTH = 1024


def _linear_norm(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)]


class FullyConnectedBlock(nn.Module):
    """Linear layer, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc_block = nn.Sequential(*_linear_norm(inputs, outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return self.fc_block(x)


class FullyConnectedResidualBlock(nn.Module):
    """Two normalised linear layers around which the input is carried."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc_block = nn.Sequential(
            *_linear_norm(width, width), nn.ReLU(inplace=True), *_linear_norm(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return torch.relu(x + self.fc_block(x))


def project_to_rotations(matrices: Tensor) -> Tensor:
    """The orthogonal factor of (..., 3, 3), negated where it is a reflection, as published.

    Where the factor is a rotation it is the nearest one; the negated reflection is a rotation too,
    but in general not the nearest.
    """
    u, _, v = torch.linalg.svd(matrices)
    orthogonal = u @ v
    return orthogonal * torch.linalg.det(orthogonal)[..., None, None]


class SmplParameterRegressor(nn.Module):
    """SMPL's rotations and shape from vertices, trained apart from the network that gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.regressor = nn.Sequential(
            FullyConnectedBlock(VERTICES * 3, WIDTH),
            FullyConnectedResidualBlock(WIDTH),
            FullyConnectedResidualBlock(WIDTH),
            nn.Linear(WIDTH, ROTATIONS * 9 + BETAS),
        )

    def forward(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Regress.

        Args:
            vertices: (B, 1723, 3) metres.

        Returns:
            (B, 24, 3, 3) rotations relative to the parents, and (B, 10) betas.
        """
        out = self.regressor(vertices.flatten(1))
        matrices, betas = out.split([ROTATIONS * 9, BETAS], dim=1)
        return project_to_rotations(matrices.unflatten(1, (ROTATIONS, 3, 3))), betas
