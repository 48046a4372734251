"""Training of STDFormer and FastMETRO: the losses, and that the networks learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.crops import rendered_crops
from helpers.tiny_networks import TinyBackbone
from stdformer_ros.body.body_model import h36m_joint_regressor, level_index, load_body_arrays
from stdformer_ros.body.mesh_levels import (
    MeshSampling,
    embedded_mesh_sampling,
    load_mesh_sampling,
    upsampling_matrix,
)
from stdformer_ros.body.mesh_levels import write_mesh_sampling as write_embedded
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.training.data.crop_windows import (
    MeshBatch,
)
from stdformer_ros.training.loop import Precision, Schedule
from stdformer_ros.training.train_mesh import MeshLosses, project, train_mesh_network, velocity_loss


@pytest.fixture(scope="module")
def mesh() -> MeshSampling:
    return embedded_mesh_sampling()


@pytest.fixture(scope="module")
def mesh_losses(mesh: MeshSampling) -> MeshLosses:
    return MeshLosses(mesh, torch.from_numpy(h36m_joint_regressor()))


# --- the embedded body's mesh levels


def test_mesh_levels_keep_the_vertices_of_the_embedded_body(mesh: MeshSampling) -> None:
    data = load_body_arrays()
    assert (mesh.kept(1) == level_index(data, 1723)).all()
    assert (mesh.kept(2) == level_index(data, 431)).all()


def test_upsampling_matrices_are_those_of_the_embedded_body(mesh: MeshSampling) -> None:
    for matrix, (coarse, fine) in zip(mesh.upsampling, ((1723, 6890), (431, 1723)), strict=True):
        np.testing.assert_allclose(matrix.toarray(), upsampling_matrix(coarse, fine), atol=1e-6)


def test_adjacent_vertices_are_the_ends_of_edges(mesh: MeshSampling) -> None:
    for adjacency, faces in zip(mesh.adjacency, mesh.faces, strict=True):
        assert (adjacency != adjacency.T).nnz == 0
        assert adjacency.diagonal().sum() == 0
        assert adjacency[faces[:, 0], faces[:, 1]].min() == 1
        edges = {
            frozenset(e) for f in faces for e in (f[:2].tolist(), f[1:].tolist(), f[::2].tolist())
        }
        assert adjacency.nnz == 2 * len(edges)


def test_mesh_levels_can_be_written_and_read_in_the_published_format(
    mesh: MeshSampling, tmp_path: Path
) -> None:
    write_embedded(tmp_path / "mesh_downsampling.npz", mesh)
    loaded = load_mesh_sampling(tmp_path / "mesh_downsampling.npz")
    for ours, theirs in zip(
        (*mesh.adjacency, *mesh.upsampling), (*loaded.adjacency, *loaded.upsampling), strict=True
    ):
        assert (ours != theirs).nnz == 0
    for ours, theirs in zip(mesh.faces, loaded.faces, strict=True):
        assert (ours == theirs).all()


# --- losses


def exact(mesh: MeshSampling, frames: int, seed: int = 0) -> tuple[dict[str, Tensor], MeshBatch]:
    """An exact answer for a random body, and the body as a batch."""
    generator = torch.Generator().manual_seed(seed)
    vertices = 0.3 * torch.randn(1, frames, 6890, 3, generator=generator)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ vertices
    vertices = vertices - regressed[..., :1, :]
    joints = (regressed - regressed[..., :1, :])[..., list(EVALUATION_ORDER), :]
    # In the published losses the pelvis of the tokens is the middle of the hips.
    hips = joints[..., 2:4, :].mean(dim=-2, keepdim=True)
    camera = torch.tensor([0.9, 0.1, -0.2]).expand(1, frames, 3)
    answer = {
        "pred_cam": camera,
        "pred_3d_joints": joints,
        "pred_3d_vertices_fine": vertices,
        "pred_3d_vertices_intermediate": vertices[..., mesh.kept(1), :],
        "pred_3d_vertices_coarse": vertices[..., mesh.kept(2), :],
    }
    shown = project(joints, camera[..., None, :])
    assert hips.abs().max() < 0.5
    return answer, MeshBatch(torch.empty(1, frames, 0), joints, shown, vertices)


def centred(joints: Tensor) -> Tensor:
    return joints - joints[..., 2:4, :].mean(dim=-2, keepdim=True)


def test_an_exact_answer_costs_only_the_difference_of_both_pelvises(
    mesh: MeshSampling, mesh_losses: MeshLosses
) -> None:
    answer, batch = exact(mesh, 3)
    # Tokens are relative to the middle of the hips, the mesh to the regressed pelvis.
    shift = batch.joints[..., 2:4, :].mean(dim=-2, keepdim=True)
    ours = mesh_losses.aligned(answer)
    torch.testing.assert_close(ours["joints"], batch.joints - shift)
    torch.testing.assert_close(ours["regressed"], batch.joints)
    losses = mesh_losses.losses(answer, batch)
    assert losses["vertices"].item() == pytest.approx(0.0, abs=1e-4)
    steps = torch.linalg.vector_norm(shift.diff(dim=1), dim=-1).mean()
    expected = 1000 * (shift.abs().mean() + steps)
    torch.testing.assert_close(losses["joints"], expected)
    assert "shape" not in losses


def test_losses_have_the_published_weights(mesh: MeshSampling, mesh_losses: MeshLosses) -> None:
    answer, batch = exact(mesh, 2)
    base = mesh_losses.losses(answer, batch)
    levels = {"fine": 0.25, "intermediate": 0.5, "coarse": 0.25}
    free = np.flatnonzero(h36m_joint_regressor().sum(axis=0)[mesh.kept(2)] == 0)
    for level, weight in levels.items():
        key = f"pred_3d_vertices_{level}"
        moved = dict(answer)
        moved[key] = answer[key].clone()
        vertex = {"fine": mesh.kept(2)[free[0]], "intermediate": 7, "coarse": 7}[level]
        moved[key][..., vertex, 1] += 0.03
        count = answer[key].shape[-2]
        difference = mesh_losses.losses(moved, batch)["vertices"] - base["vertices"]
        assert difference.item() == pytest.approx(100 * weight * 0.03 / (3 * count), rel=0.02)


def test_a_wrong_camera_costs_only_in_the_image(
    mesh: MeshSampling, mesh_losses: MeshLosses
) -> None:
    answer, batch = exact(mesh, 2)
    base = mesh_losses.losses(answer, batch)
    moved = answer | {"pred_cam": answer["pred_cam"] + torch.tensor([0.0, 0.5, 0.0])}
    losses = mesh_losses.losses(moved, batch)
    assert losses["joints"] == base["joints"]
    assert losses["vertices"] == base["vertices"]
    # the joints of the mesh are exact: 0.5 m in x is 0.45 in the image, over two coordinates
    regressed = 100 * 0.45 / 2
    assert losses["projected"].item() > regressed * 0.99
    assert losses["projected"].item() < 2 * regressed + base["projected"].item() + 1e-3


def test_the_velocity_loss_depends_on_steps_and_not_on_places() -> None:
    true = torch.randn(2, 8, 14, 3)
    assert velocity_loss(true + 1, true).item() == pytest.approx(0.0, abs=1e-6)
    late = true.clone()
    late[:, 4:] += torch.tensor([0.03, 0.0, 0.04])  # one of seven steps is 50 mm off
    assert velocity_loss(late, true).item() == pytest.approx(0.05 / 7, rel=1e-4)


def test_single_frames_have_losses_on_edges_and_normals(
    mesh: MeshSampling, mesh_losses: MeshLosses
) -> None:
    answer, batch = exact(mesh, 1)
    faces = mesh.faces[1]
    edges = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1),
        axis=0,
    )
    middle = answer["pred_3d_vertices_intermediate"]
    length = (middle[..., edges[:, 0], :] - middle[..., edges[:, 1], :]).norm(dim=-1).mean()
    # An exact mesh costs only the small weight on all lengths: its edges are orthogonal to normals.
    expected = 100 * 1e-4 * length
    torch.testing.assert_close(
        mesh_losses.losses(answer, batch)["shape"], expected, atol=1e-3, rtol=0
    )
    larger = answer | {"pred_3d_vertices_intermediate": 1.1 * middle}
    grown = mesh_losses.losses(larger, batch)["shape"] - expected
    torch.testing.assert_close(grown, 100 * 5 * 0.1 * length, atol=1e-2, rtol=1e-2)


# --- learning


class SameBatch:
    """Gives the same windows at every call."""

    def __init__(self, batch: MeshBatch) -> None:
        self.batch = batch

    def sample(self, count: int) -> MeshBatch:
        return self.batch

    def sample_fixed(self, count: int) -> MeshBatch:
        return self.batch


def small(mesh: MeshSampling, window: int) -> STDFormer:
    torch.manual_seed(0)
    attention = SpatioTemporalDisentangling(TinyBackbone.map_channels, frames=window)
    return STDFormer(TinyBackbone(), 1, mesh, attention if window > 1 else None, False)


@pytest.mark.parametrize("window", [2, 1])
def test_stdformer_and_fastmetro_overfit_a_window(
    tmp_path: Path, mesh: MeshSampling, mesh_losses: MeshLosses, window: int
) -> None:
    model = small(mesh, window)
    people = SameBatch(rendered_crops(1, window))
    with torch.no_grad():
        start = mesh_losses.losses(model(people.batch.images), people.batch)
    before = sum(value.item() for value in start.values())
    schedule = Schedule(
        steps=12, sequences=1, learning_rate=1e-3, warmup=3, ema_decay=0.0, report_every=12
    )
    full = Precision("cpu", torch.float32)
    trained = train_mesh_network(
        model, mesh_losses, people, people, tmp_path, schedule, full, lambda line: None
    )
    with torch.no_grad():
        end = mesh_losses.losses(trained(people.batch.images), people.batch)
    assert sum(value.item() for value in end.values()) < 0.5 * before


def test_the_backbones_learning_rate_is_a_tenth(
    tmp_path: Path, mesh: MeshSampling, mesh_losses: MeshLosses
) -> None:
    model = small(mesh, 1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    people = SameBatch(rendered_crops(1, 1))
    schedule = Schedule(
        steps=1, sequences=1, learning_rate=1e-3, warmup=0, weight_decay=0.0, report_every=1
    )
    full = Precision("cpu", torch.float32)
    train_mesh_network(
        model, mesh_losses, people, people, tmp_path, schedule, full, lambda line: None
    )
    # Adam's first step is the learning rate for every parameter that has a gradient
    moves = {n: (p - before[n]).abs().max().item() for n, p in model.named_parameters()}
    assert moves["backbone.top.bias"] == pytest.approx(1e-4, rel=1e-2)
    assert moves["xyz_regressor.weight"] == pytest.approx(1e-3, rel=1e-2)
