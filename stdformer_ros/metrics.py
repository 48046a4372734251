"""Errors of human mesh recovery, in millimetres: MPJPE, PA-MPJPE, MPVPE, Accel."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_position_error(predicted: Tensor, true: Tensor) -> Tensor:
    """The mean distance per body: (B, N, 3) metres -> (B,) millimetres.

    With both pelvises at the origin it is the MPJPE (of joints) or the MPVPE (of vertices).
    """
    return 1e3 * torch.linalg.vector_norm(predicted - true, dim=-1).mean(-1)


def aligned_position_error(predicted: Tensor, true: Tensor) -> Tensor:
    """PA-MPJPE: as `mean_position_error`, after `procrustes`: (B, N, 3) metres -> (B,) mm."""
    return mean_position_error(procrustes(predicted, true), true)


def procrustes(predicted: Tensor, true: Tensor) -> Tensor:
    """`predicted` (B, N, 3), translated, rotated and scaled onto `true` by least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991.
    """
    mean_p, mean_t = predicted.mean(1, keepdim=True), true.mean(1, keepdim=True)
    p, t = predicted - mean_p, true - mean_t
    u, singular, vt = torch.linalg.svd(p.transpose(1, 2) @ t)
    sign = torch.linalg.det(u @ vt).sign()
    flip = torch.ones_like(singular)
    flip[:, -1] = sign
    rotation = (u * flip[:, None]) @ vt
    scale = (singular * flip).sum(-1) / p.square().sum((1, 2)).clamp(min=1e-12)
    return scale[:, None, None] * p @ rotation + mean_t


def acceleration_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Accel: the mean error of second differences, (F frames, N, 3) metres -> () mm/frame^2."""

    def acceleration(x: Tensor) -> Tensor:
        return x[2:] - 2 * x[1:-1] + x[:-2]

    error = acceleration(predicted) - acceleration(true)
    return 1e3 * torch.linalg.vector_norm(error, dim=-1).mean()
