"""Targets and losses of the default network for a batch of synthetic people.

Sequences are cut into neighbouring windows, so that velocities and accelerations can be compared.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.models.default.window_encoder import NEAR, BodyParameters
from stdformer_ros.models.default.window_view import WindowView, project
from stdformer_ros.training.people.synthetic import SyntheticBatch

ANSWERS = 3
"""Neighbouring windows in each sequence."""


class Target(NamedTuple):
    """True bodies, one for each window, in the coordinates of the window's view.

    Attributes:
        rotations: (B, 24, 3, 3), the pelvis' in the view, the others relative to their parents.
        vertices: (B, V, 3) metres, relative to the pelvis.
        joints: (B, 24, 3) metres, relative to the pelvis.
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
    """Pose the true body and rotate it from the camera to the view.

    Args:
        body: the embedded body, with V vertices.
        rotations: (B, 24, 3, 3), the pelvis' in the camera frame, the others relative to their
            parents.
        betas: (B, 10).
        pelvis: (B, 3) metres, camera frame.
        view: of the B windows.
    """
    turned = torch.cat([view.turn[:, None] @ rotations[:, :1], rotations[:, 1:]], dim=1)
    vertices, joints = body(turned, betas)
    return Target(turned, vertices, joints, torch.einsum("bij,bj->bi", view.turn, pelvis))


def windows_of(sequences: Tensor, moving: int) -> Tensor:
    """Cut sequences (B, F, ...) into windows.

    Neighbouring windows differ little. Therefore only some sequences give all A = `ANSWERS`
    windows, for the losses on motion; the others give only the newest.

    Args:
        sequences: F = `WINDOW` + A - 1.
        moving: number of sequences that give all windows.

    Returns:
        (A * moving + B - moving, WINDOW, ...): the windows of the first `moving` sequences, sorted
        by time and then by sequence, then the newest windows of the others.
    """
    newest = slice(ANSWERS - 1, ANSWERS - 1 + WINDOW)
    parts = [sequences[:moving, start : start + WINDOW] for start in range(ANSWERS)]
    return torch.cat([*parts, sequences[moving:, newest]])


def targets_of(body: BodyModel, batch: SyntheticBatch, view: WindowView, moving: int) -> Target:
    """The target of each window that `windows_of` cuts from the batch, in the same order."""

    def answers(values: Tensor) -> Tensor:
        return torch.cat([values[:moving].transpose(0, 1).flatten(0, 1), values[moving:, -1]])

    betas = torch.cat([batch.betas[:moving].repeat(ANSWERS, 1), batch.betas[moving:]])
    return target_in_view(body, answers(batch.rotations), betas, answers(batch.pelvis), view)


def parameter_losses(
    parameters: BodyParameters, vertices: Tensor, joints: Tensor, target: Target, view: WindowView
) -> dict[str, Tensor]:
    """Weighted losses of the window encoder: of its parameters and of the body posed by them.

    Args:
        parameters: the window encoder's answer.
        vertices: (B, V, 3) metres of the posed body, relative to the pelvis, in the view.
        joints: (B, 24, 3) metres, likewise.
        target: the true bodies.
        view: the coordinates of all of them.
    """
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
    """Weighted losses of a body and its position.

    They compare joints and vertices in metres, their projections in units of the view, and the
    logarithm of the distance.

    Args:
        joints: (B, 24, 3) metres, relative to the pelvis, in the view.
        vertices: (B, V, 3) metres, likewise.
        place: (B, 3) metres, the pelvis in the view.
        target: the true bodies.
        view: the coordinates of all of them.
    """
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
    """STDFormer's sequence velocity loss, and the same loss on the acceleration.

    Args:
        ours: (W, N, 3) metres, predicted points in the windows of `windows_of`, camera axes.
        true: (W, N, 3) the true points.
        moving: number of sequences that gave neighbouring windows.

    Returns:
        Weighted mean norms of the errors of first and second differences over time.
    """
    error = (ours - true)[: ANSWERS * moving].unflatten(0, (ANSWERS, moving))
    step = error.diff(dim=0)
    return {
        "velocity": 6.0 * torch.linalg.vector_norm(step, dim=-1).mean(),
        "acceleration": 6.0 * torch.linalg.vector_norm(step.diff(dim=0), dim=-1).mean(),
    }


def errors(joints: Tensor, vertices: Tensor, target: Target, view: WindowView) -> dict[str, float]:
    """Mean errors in millimetres of pelvis-aligned bodies over the windows of a batch.

    Args:
        joints: (A * B, 24, 3) metres, of `windows_of` a batch whose sequences all give A windows.
        vertices: (A * B, V, 3) metres.
        target: the true bodies.
        view: the coordinates of all of them.
    """
    error = ((joints - target.joints) @ view.turn).unflatten(0, (ANSWERS, -1))
    return {
        "mpjpe_mm": float(mean_position_error(joints, target.joints).mean()),
        "pa_mpjpe_mm": float(aligned_position_error(joints, target.joints).mean()),
        "mpvpe_mm": float(mean_position_error(vertices, target.vertices).mean()),
        "accel_mm": 1e3 * float(torch.linalg.vector_norm(error.diff(n=2, dim=0), dim=-1).mean()),
    }
