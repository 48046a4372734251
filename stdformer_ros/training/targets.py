"""What the estimator should answer for a synthetic batch, and how far it is from that."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera import weak_perspective_to_metres
from stdformer_ros.models.window_encoder import BodyParameters
from stdformer_ros.models.window_view import WindowView

NEAR = 0.1
"""Metres within which a joint counts as right for its confidence."""


class Target(NamedTuple):
    """One body each, in the coordinates of its window's view.

    Attributes:
        rotations: (B, 24, 3, 3).
        vertices: (B, V, 3) and joints: (B, 24, 3), metres, pelvis at the origin.
        pelvis: (B, 3) metres.
    """

    rotations: Tensor
    vertices: Tensor
    joints: Tensor
    pelvis: Tensor


@torch.no_grad()
def target_in_view(
    body: BodyModel, rotations: Tensor, betas: Tensor, pelvis: Tensor, view: WindowView
) -> Target:
    """Pose the true body and turn it into the view's coordinates."""
    turned = torch.cat([view.turn[:, None] @ rotations[:, :1], rotations[:, 1:]], dim=1)
    vertices, joints = body(turned, betas)
    return Target(turned, vertices, joints, torch.einsum("bij,bj->bi", view.turn, pelvis))


def project(points: Tensor, place: Tensor, half_size: Tensor) -> Tensor:
    """Perspective projection of (B, N, 3) around `place` into the view: (B, N, 2) in [-1, 1]."""
    there = points + place[:, None]
    return there[..., :2] / there[..., 2:].clamp(min=0.2) / half_size[:, None, None]


def parameter_losses(
    parameters: BodyParameters, vertices: Tensor, joints: Tensor, target: Target, view: WindowView
) -> dict[str, Tensor]:
    """Weighted losses of the window encoder; L1 in metres, radians' chords and view units."""
    place = weak_perspective_to_metres(parameters.camera, view.half_size)
    ours = torch.cat([joints, vertices], dim=1)
    true = torch.cat([target.joints, target.vertices], dim=1)
    with torch.no_grad():
        near = (torch.linalg.vector_norm(joints - target.joints, dim=-1) < NEAR).float()
    projected = project(ours, place, view.half_size)
    wanted = project(true, target.pelvis, view.half_size)
    return {
        "rotations": (parameters.rotations - target.rotations).abs().mean()
        + 0.2 * (parameters.rotations[:, 0] - target.rotations[:, 0]).abs().mean(),
        "joints": 10.0 * (joints - target.joints).abs().mean(),
        "vertices": 10.0 * (vertices - target.vertices).abs().mean(),
        "projection": 2.0 * (projected - wanted).clamp(-1, 1).abs().mean(),
        "distance": 0.3 * (place[:, 2].log() - target.pelvis[:, 2].log()).abs().mean(),
        "confidence": 0.05 * F.binary_cross_entropy_with_logits(parameters.confidence, near),
    }


def velocity_loss(
    earlier: Tensor, later: Tensor, true_earlier: Tensor, true_later: Tensor
) -> Tensor:
    """STDFormer's sequence velocity loss over two neighbouring frames.

    Args:
        earlier: (B, N, 3) prediction for a frame, metres.
        later: (B, N, 3) prediction for the next frame in the same coordinates.
        true_earlier: the truth of the first.
        true_later: the truth of the second.

    Returns:
        The mean norm of the error of the step between the frames, metres.
    """
    error = (later - earlier) - (true_later - true_earlier)
    return torch.linalg.vector_norm(error, dim=-1).mean()
