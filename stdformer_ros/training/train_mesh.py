"""Training of STDFormer and FastMETRO on windows of crops, with the published losses.

Weights and terms of the losses are those of the STDFormer paper. FastMETRO, whose input is a single
frame, has losses on the edges and normals of the mesh where STDFormer has the sequence velocity
loss. Predictions are compared relative to their own pelvis: the middle of the hip tokens, or the
pelvis that is regressed from the mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.mesh_levels import MeshSampling
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.training.data.crop_windows import MeshBatch, MeshSource
from stdformer_ros.training.loop import (
    RATE_FACTOR,
    Losses,
    Precision,
    RunState,
    Schedule,
    train,
)

JOINTS_WEIGHT, VERTICES_WEIGHT, PROJECTED_WEIGHT, SHAPE_WEIGHT = 1000.0, 100.0, 100.0, 100.0
LEVEL_WEIGHTS = {"fine": 0.25, "intermediate": 0.5, "coarse": 0.25}
EDGE_WEIGHT, LENGTH_WEIGHT, NORMAL_WEIGHT = 5.0, 1e-4, 0.1
HIPS = (2, 3)
"""Right and left hip among the 14 joints."""

BACKBONE_FACTOR = 0.1
"""Learning rate of the backbone relative to the rest: 1e-5 and 1e-4, as published."""
VALIDATION_SIZE = 16
"""Windows of the validation subjects that errors are measured on."""


class MeshLosses(nn.Module):
    """Aligns a network's answer and compares it with the truth.

    Args:
        mesh: the levels of the network's mesh.
        regressor: (17, 6890), gives Human3.6M's joints from the vertices.
    """

    regressor: Tensor

    def __init__(self, mesh: MeshSampling, regressor: Tensor) -> None:
        super().__init__()
        self.register_buffer("regressor", regressor, persistent=False)
        self._kept = {"fine": None, "intermediate": mesh.kept(1), "coarse": mesh.kept(2)}
        faces = mesh.faces[1].astype(np.int64)
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        self._faces = faces
        self._edges = np.unique(np.sort(edges, axis=1), axis=0)

    def aligned(self, answer: dict[str, Tensor]) -> dict[str, Tensor]:
        """The answer of the network, relative to its pelvis.

        Returns:
            `joints` (..., 14, 3) from the joint tokens, `regressed` (..., 14, 3) from the mesh, and
            the vertices `fine`, `intermediate`, `coarse`; metres.
        """
        tokens = answer["pred_3d_joints"].float()
        tokens = tokens - tokens[..., list(HIPS), :].mean(dim=-2, keepdim=True)
        regressed = self.regressor @ answer["pred_3d_vertices_fine"].float()
        pelvis = regressed[..., :1, :]
        vertices = {k: answer[f"pred_3d_vertices_{k}"].float() - pelvis for k in LEVEL_WEIGHTS}
        regressed = regressed[..., list(EVALUATION_ORDER), :] - pelvis
        return {"joints": tokens, "regressed": regressed, **vertices}

    def losses(self, answer: dict[str, Tensor], batch: MeshBatch) -> Losses:
        """Weighted losses of an answer over every frame of the windows (B, T, ...) of a batch."""
        ours = self.aligned(answer)
        camera = answer["pred_cam"].float()[..., None, :]
        joints = _l1(ours["joints"], batch.joints) + _l1(ours["regressed"], batch.joints)
        image = [project(ours[name], camera) for name in ("joints", "regressed")]
        projected = _l1(image[0], batch.joints_2d) + _l1(image[1], batch.joints_2d)
        vertices = torch.stack(
            [
                weight * _l1(ours[level], self._at(batch.vertices, level))
                for level, weight in LEVEL_WEIGHTS.items()
            ]
        ).sum()
        losses = {"vertices": VERTICES_WEIGHT * vertices}
        if batch.joints.shape[1] > 1:
            joints = joints + velocity_loss(ours["joints"], batch.joints)
            projected = projected + velocity_loss(image[0], batch.joints_2d)
        else:
            true = self._at(batch.vertices, "intermediate")
            losses["shape"] = SHAPE_WEIGHT * self._shape(ours["intermediate"], true)
        return losses | {
            "joints": JOINTS_WEIGHT * joints,
            "projected": PROJECTED_WEIGHT * projected,
        }

    def _at(self, vertices: Tensor, level: str) -> Tensor:
        kept = self._kept[level]
        return vertices if kept is None else vertices[..., kept, :]

    def _shape(self, ours: Tensor, true: Tensor) -> Tensor:
        """FastMETRO's shape loss on the intermediate mesh.

        The lengths of edges are compared with the true ones, all lengths have a small cost, and
        edges must be orthogonal to the true normals.
        """
        a, b = self._edges.T
        lengths = torch.linalg.vector_norm(ours[..., a, :] - ours[..., b, :], dim=-1)
        wanted = torch.linalg.vector_norm(true[..., a, :] - true[..., b, :], dim=-1)
        corners = [true[..., self._faces[:, i], :] for i in range(3)]
        normals = torch.linalg.cross(corners[1] - corners[0], corners[2] - corners[0])
        normals = nn.functional.normalize(normals, dim=-1)
        corners = [ours[..., self._faces[:, i], :] for i in range(3)]
        sides = [corners[(i + 1) % 3] - corners[i] for i in range(3)]
        cosines = [
            (nn.functional.normalize(s, dim=-1) * normals).sum(-1).abs().mean() for s in sides
        ]
        return (
            EDGE_WEIGHT * (lengths - wanted).abs().mean()
            + LENGTH_WEIGHT * lengths.mean()
            + NORMAL_WEIGHT * torch.stack(cosines).mean()
        )


def project(points: Tensor, camera: Tensor) -> Tensor:
    """Weak perspective projection into the crop.

    Args:
        points: (..., N, 3) metres.
        camera: (..., 1, 3) scale and translation s, tx, ty.

    Returns:
        (..., N, 2) in [-1, 1].
    """
    return camera[..., :1] * (points[..., :2] + camera[..., 1:])


def velocity_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Sequence velocity loss of (B, T, N, C): mean norm of the error of frame-to-frame steps."""
    return torch.linalg.vector_norm((predicted - true).diff(dim=1), dim=-1).mean()


def _l1(predicted: Tensor, true: Tensor) -> Tensor:
    return (predicted - true).abs().mean()


def train_mesh_network(
    model: STDFormer,
    mesh_losses: MeshLosses,
    train_data: MeshSource,
    val_data: MeshSource,
    run_folder: Path,
    schedule: Schedule,
    precision: Precision,
    report: Callable[[str], None] = print,
) -> STDFormer:
    """Train, or resume the training in `run_folder`; returns the moving average.

    Args:
        model: on its device; it is trained in place.
        mesh_losses: on the same device.
        train_data: training data.
        val_data: validation data.
        run_folder: for checkpoints and the log.
        schedule: how long and with which learning rates.
        precision: of the network's matrix products.
        report: receives lines about the progress.
    """
    device = mesh_losses.regressor.device
    backbone = list(model.backbone.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    groups: list[dict[str, Any]] = [
        {"params": rest},
        {"params": backbone, RATE_FACTOR: BACKBONE_FACTOR},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
    )
    state = RunState(run_folder, model, optimizer, schedule.ema_decay, precision.scaler())

    def losses(network: STDFormer) -> Losses:
        batch = train_data.sample(schedule.sequences).to(device)
        with precision.autocast():
            predicted = network(batch.images)
        return mesh_losses.losses(predicted, batch)

    return train(state, schedule, losses, lambda m: evaluate(m, mesh_losses, val_data), report)


@torch.no_grad()
def evaluate(model: STDFormer, mesh_losses: MeshLosses, people: MeshSource) -> dict[str, float]:
    """Errors in mm of the newest frame on validation data: 14 regressed joints and the mesh."""
    batch = people.sample_fixed(VALIDATION_SIZE)
    newest = []
    for images in batch.images.split(4):
        ours = mesh_losses.aligned(model(images.to(mesh_losses.regressor.device)))
        newest.append([ours[name][:, -1].cpu() for name in ("regressed", "fine")])
    joints, vertices = (torch.cat(parts) for parts in zip(*newest, strict=True))
    true = batch.joints[:, -1]
    return {
        "mpjpe_mm": float(mean_position_error(joints, true).mean()),
        "pa_mpjpe_mm": float(aligned_position_error(joints, true).mean()),
        "mpvpe_mm": float(mean_position_error(vertices, batch.vertices[:, -1]).mean()),
    }
