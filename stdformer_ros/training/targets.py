"""What the estimator should answer for a synthetic batch, and how far it is from that."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.models.default.window_encoder import BodyParameters
from stdformer_ros.models.default.window_view import WindowView
from stdformer_ros.training.people.subjects import ANSWERS
from stdformer_ros.training.people.synthetic import SyntheticBatch

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


def windows_of(sequences: Tensor, moving: int) -> Tensor:
    """Windows of sequences (B, F, ...).

    Neighbouring windows differ little: only some sequences give all of them, for the losses on
    motion, the others the newest.

    Args:
        sequences: what is cut.
        moving: how many sequences give all.

    Returns:
        (A * moving + B - moving, window, ...), those of the first `moving` sequences
        first, earliest windows first.
    """
    newest = slice(ANSWERS - 1, ANSWERS - 1 + WINDOW)
    parts = [sequences[:moving, start : start + WINDOW] for start in range(ANSWERS)]
    return torch.cat([*parts, sequences[moving:, newest]])


def targets_of(body: BodyModel, batch: SyntheticBatch, view: WindowView, moving: int) -> Target:
    """What to answer for each of `windows_of` the batch."""

    def answers(values: Tensor) -> Tensor:
        return torch.cat([values[:moving].transpose(0, 1).flatten(0, 1), values[moving:, -1]])

    betas = torch.cat([batch.betas[:moving].repeat(ANSWERS, 1), batch.betas[moving:]])
    return target_in_view(body, answers(batch.rotations), betas, answers(batch.pelvis), view)


def project(points: Tensor, place: Tensor, half_size: Tensor) -> Tensor:
    """Perspective projection of (B, N, 3) around `place` into the view: (B, N, 2) in [-1, 1]."""
    there = points + place[:, None]
    return there[..., :2] / there[..., 2:].clamp(min=0.2) / half_size[:, None, None]


def parameter_losses(
    parameters: BodyParameters, vertices: Tensor, joints: Tensor, target: Target, view: WindowView
) -> dict[str, Tensor]:
    """Weighted losses of the window encoder, those of its body included."""
    place = weak_perspective_to_metres(parameters.camera, view.half_size)
    with torch.no_grad():
        near = (torch.linalg.vector_norm(joints - target.joints, dim=-1) < NEAR).float()
    return {
        "rotations": (parameters.rotations - target.rotations).abs().mean()
        + 0.2 * (parameters.rotations[:, 0] - target.rotations[:, 0]).abs().mean(),
        **point_losses(joints, vertices, place, target, view),
        "confidence": 0.05 * F.binary_cross_entropy_with_logits(parameters.confidence, near),
    }


def point_losses(
    joints: Tensor, vertices: Tensor, place: Tensor, target: Target, view: WindowView
) -> dict[str, Tensor]:
    """Weighted losses of a body and its place (B, 3): metres, view units, logarithm of distance."""
    ours, true = torch.cat([joints, vertices], 1), torch.cat([target.joints, target.vertices], 1)
    projected = project(ours, place, view.half_size)
    wanted = project(true, target.pelvis, view.half_size)
    return {
        "joints": 6.0 * torch.linalg.vector_norm(joints - target.joints, dim=-1).mean(),
        "vertices": 6.0 * torch.linalg.vector_norm(vertices - target.vertices, dim=-1).mean(),
        "projection": 2.0 * (projected - wanted).clamp(-1, 1).abs().mean(),
        "distance": 0.3 * (place[:, 2].log() - target.pelvis[:, 2].log()).abs().mean(),
    }


def motion_losses(ours: Tensor, true: Tensor, moving: int) -> dict[str, Tensor]:
    """STDFormer's sequence velocity loss, and the same of the acceleration.

    Args:
        ours: (W, N, 3) predictions for `windows_of` a batch, in the coordinates of the camera.
        true: the truth.
        moving: how many sequences gave neighbouring windows.

    Returns:
        Weighted mean norms of the errors of first and second differences between frames.
    """
    off = (ours - true)[: ANSWERS * moving].unflatten(0, (ANSWERS, moving))
    step = off.diff(dim=0)
    return {
        "velocity": 6.0 * torch.linalg.vector_norm(step, dim=-1).mean(),
        "acceleration": 6.0 * torch.linalg.vector_norm(step.diff(dim=0), dim=-1).mean(),
    }


def errors(joints: Tensor, vertices: Tensor, target: Target, view: WindowView) -> dict[str, float]:
    """Mean errors in millimetres of pelvis-aligned bodies for each of `windows_of` a batch.

    Args:
        joints: (A * B, 24, 3) metres.
        vertices: (A * B, V, 3) metres.
        target: the truth.
        view: whose coordinates these are.
    """
    off = ((joints - target.joints) @ view.turn).unflatten(0, (ANSWERS, -1))
    return {
        "mpjpe_mm": float(mean_position_error(joints, target.joints).mean()),
        "pa_mpjpe_mm": float(aligned_position_error(joints, target.joints).mean()),
        "mpvpe_mm": float(mean_position_error(vertices, target.vertices).mean()),
        "accel_mm": 1e3 * float(torch.linalg.vector_norm(off.diff(n=2, dim=0), dim=-1).mean()),
    }
