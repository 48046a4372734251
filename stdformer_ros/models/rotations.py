"""Rotation matrices from outputs of networks: six numbers, any 3x3 matrix, or a direction.

These are differentiable and run on the network's device. Where no network is involved the package
uses `scipy.spatial.transform.Rotation`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def rotation_from_6d(six: Tensor) -> Tensor:
    """Gram-Schmidt on two column vectors: (..., 6) -> (..., 3, 3).

    Zhou et al., "On the continuity of rotation representations in neural networks", CVPR 2019.
    """
    a, b = six[..., :3], six[..., 3:]
    x = F.normalize(a, dim=-1)
    y = F.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def rotation_from_matrix(matrices: Tensor) -> Tensor:
    """(..., 3, 3) to rotations (..., 3, 3): the orthogonal factor, negated if it is a reflection.

    FastMETRO does the same. If the factor is a rotation, it is the one nearest to the matrix; a
    negated reflection is a rotation too, but in general not the nearest one.
    """
    u, _, v = torch.linalg.svd(matrices)
    orthogonal = u @ v
    return orthogonal * torch.linalg.det(orthogonal)[..., None, None]


def rotation_to_z(directions: Tensor) -> Tensor:
    """The smallest rotations (..., 3, 3) that turn directions (..., 3), z > 0, onto the z axis."""
    x, y, z = F.normalize(directions, dim=-1).unbind(-1)
    k = 1.0 / (1.0 + z)
    rows = [1 - k * x * x, -k * x * y, -x, -k * x * y, 1 - k * y * y, -y, x, y, z]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
