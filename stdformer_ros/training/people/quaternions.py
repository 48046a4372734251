"""Rotations as unit quaternions x, y, z, w, many at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def quaternion_from_vector(vectors: Tensor) -> Tensor:
    """Rotation vectors (..., 3) in radians as (..., 4)."""
    half = 0.5 * torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.cat([0.5 * torch.sinc(half / torch.pi) * vectors, half.cos()], dim=-1)


def quaternion_to_matrix(quaternions: Tensor) -> Tensor:
    """(..., 4) -> (..., 3, 3)."""
    x, y, z, w = quaternions.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def quaternion_product(a: Tensor, b: Tensor) -> Tensor:
    """First `b`, then `a`: (..., 4)."""
    ax, ay, az, aw = a.unbind(-1)
    bx, by, bz, bw = b.unbind(-1)
    return torch.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        dim=-1,
    )


def quaternion_power(quaternions: Tensor, exponents: Tensor) -> Tensor:
    """About the same axes by so many times the angle, of at most half a turn: (..., 4).

    Args:
        quaternions: (..., 4).
        exponents: (..., 1).
    """
    quaternions = torch.where(quaternions[..., 3:] < 0, -quaternions, quaternions)
    axis, cosine = quaternions[..., :3], quaternions[..., 3:]
    sine = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    half = exponents * torch.atan2(sine, cosine)
    return torch.cat([axis / sine.clamp(min=1e-8) * half.sin(), half.cos()], dim=-1)
