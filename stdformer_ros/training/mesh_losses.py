"""The published losses of STDFormer and FastMETRO.

Weights and terms are those of the STDFormer paper; FastMETRO, which sees single frames, has losses
on the edges and normals of the mesh where STDFormer has the sequence velocity. Predictions are
taken relative to their own pelvis: the middle of the hip tokens, or the pelvis regressed from the
mesh.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.mesh_levels import MeshSampling
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.training.data.mesh_windows import MeshBatch
from stdformer_ros.training.loop import Losses

JOINTS_WEIGHT, VERTICES_WEIGHT, PROJECTED_WEIGHT, SHAPE_WEIGHT = 1000.0, 100.0, 100.0, 100.0
LEVEL_WEIGHTS = {"fine": 0.25, "intermediate": 0.5, "coarse": 0.25}
EDGE_WEIGHT, LENGTH_WEIGHT, NORMAL_WEIGHT = 5.0, 1e-4, 0.1
HIPS = (2, 3)
"""Among the 14 joints."""


class MeshAnswer(nn.Module):
    """What of a network's answer is compared, and how far it is from the truth.

    Args:
        mesh: of the network.
        regressor: (17, 6890), Human3.6M's joints from the vertices.
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
        """Pelvis-aligned `joints` and `regressed` (..., 14, 3), and the vertices by level."""
        tokens = answer["pred_3d_joints"].float()
        tokens = tokens - tokens[..., list(HIPS), :].mean(dim=-2, keepdim=True)
        regressed = self.regressor @ answer["pred_3d_vertices_fine"].float()
        pelvis = regressed[..., :1, :]
        vertices = {k: answer[f"pred_3d_vertices_{k}"].float() - pelvis for k in LEVEL_WEIGHTS}
        regressed = regressed[..., list(EVALUATION_ORDER), :] - pelvis
        return {"joints": tokens, "regressed": regressed, **vertices}

    def losses(self, answer: dict[str, Tensor], batch: MeshBatch) -> Losses:
        """Weighted losses of the answer for every frame of windows (B, T, ...)."""
        ours = self.aligned(answer)
        camera = answer["pred_cam"].float()[..., None, :]
        joints = _l1(ours["joints"], batch.joints) + _l1(ours["regressed"], batch.joints)
        shown = [project(ours[name], camera) for name in ("joints", "regressed")]
        projected = _l1(shown[0], batch.joints_2d) + _l1(shown[1], batch.joints_2d)
        vertices = torch.stack(
            [
                weight * _l1(ours[level], self._at(batch.vertices, level))
                for level, weight in LEVEL_WEIGHTS.items()
            ]
        ).sum()
        losses = {"vertices": VERTICES_WEIGHT * vertices}
        if batch.joints.shape[1] > 1:
            joints = joints + velocity_loss(ours["joints"], batch.joints)
            projected = projected + velocity_loss(shown[0], batch.joints_2d)
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
        """FastMETRO's: lengths of edges as they are, none too long, edges along the surface."""
        a, b = self._edges.T
        lengths = torch.linalg.vector_norm(ours[..., a, :] - ours[..., b, :], dim=-1)
        wanted = torch.linalg.vector_norm(true[..., a, :] - true[..., b, :], dim=-1)
        corners = [true[..., self._faces[:, i], :] for i in range(3)]
        normals = torch.linalg.cross(corners[1] - corners[0], corners[2] - corners[0])
        normals = nn.functional.normalize(normals, dim=-1)
        corners = [ours[..., self._faces[:, i], :] for i in range(3)]
        sides = [corners[(i + 1) % 3] - corners[i] for i in range(3)]
        off = [(nn.functional.normalize(s, dim=-1) * normals).sum(-1).abs().mean() for s in sides]
        return (
            EDGE_WEIGHT * (lengths - wanted).abs().mean()
            + LENGTH_WEIGHT * lengths.mean()
            + NORMAL_WEIGHT * torch.stack(off).mean()
        )


def project(points: Tensor, camera: Tensor) -> Tensor:
    """Weak perspective: points (..., N, 3) with s, tx, ty (..., 1, 3) to (..., N, 2) in [-1, 1]."""
    return camera[..., :1] * (points[..., :2] + camera[..., 1:])


def velocity_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """The sequence velocity loss: mean norm of the error of steps, (B, T, N, C) -> ()."""
    return torch.linalg.vector_norm((predicted - true).diff(dim=1), dim=-1).mean()


def _l1(predicted: Tensor, true: Tensor) -> Tensor:
    return (predicted - true).abs().mean()
