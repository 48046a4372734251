"""Training of STDFormer and FastMETRO: crops, losses, that they learn, that it loads back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.handmade_motion import bvh_text, lively
from helpers.tiny_networks import TinyBackbone, write_mesh_sampling
from stdformer_ros.body.body_model import h36m_joint_regressor, level_index, load_body_arrays
from stdformer_ros.body.mesh_levels import (
    MeshSampling,
    embedded_mesh_sampling,
    load_mesh_sampling,
    upsampling_matrix,
)
from stdformer_ros.body.mesh_levels import write_mesh_sampling as write_embedded
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.cli import main
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models import registry
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.published.acceleration import OpenVinoSTDFormer
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.published.stdformer import IMAGE_MEAN, IMAGE_STD, STDFormer
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.training import train_mesh
from stdformer_ros.training.data.mesh_windows import MeshBatch
from stdformer_ros.training.data.recorded_crops import SHAPES, RecordedCrops
from stdformer_ros.training.data.synthetic_crops import SyntheticCrops
from stdformer_ros.training.loop import Schedule
from stdformer_ros.training.mesh_losses import MeshAnswer, project, velocity_loss
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget
from stdformer_ros.training.people.subjects import HELD_OUT
from stdformer_ros.training.precision import Precision
from stdformer_ros.training.train_mesh import train_mesh_network


@pytest.fixture(scope="module")
def mesh() -> MeshSampling:
    return embedded_mesh_sampling()


@pytest.fixture(scope="module")
def compared(mesh: MeshSampling) -> MeshAnswer:
    return MeshAnswer(mesh, torch.from_numpy(h36m_joint_regressor()))


def drawn(count: int, window: int) -> MeshBatch:
    library = MotionLibrary([retarget(lively(40))], window)
    return SyntheticCrops(library).sample_fixed(count)


@pytest.fixture(scope="module")
def batch() -> MeshBatch:
    return drawn(2, 2)


# --- the embedded body's levels


def test_the_levels_keep_the_vertices_that_the_body_says_they_keep(mesh: MeshSampling) -> None:
    data = load_body_arrays()
    assert (mesh.kept(1) == level_index(data, 1723)).all()
    assert (mesh.kept(2) == level_index(data, 431)).all()


def test_its_matrices_upsample_as_the_body_does(mesh: MeshSampling) -> None:
    for matrix, (coarse, fine) in zip(mesh.upsampling, ((1723, 6890), (431, 1723)), strict=True):
        np.testing.assert_allclose(matrix.toarray(), upsampling_matrix(coarse, fine), atol=1e-6)


def test_neighbours_are_the_ends_of_edges(mesh: MeshSampling) -> None:
    for adjacency, faces in zip(mesh.adjacency, mesh.faces, strict=True):
        assert (adjacency != adjacency.T).nnz == 0
        assert adjacency.diagonal().sum() == 0
        assert adjacency[faces[:, 0], faces[:, 1]].min() == 1
        edges = {
            frozenset(e) for f in faces for e in (f[:2].tolist(), f[1:].tolist(), f[::2].tolist())
        }
        assert adjacency.nnz == 2 * len(edges)


def test_they_can_be_written_as_the_published_file_and_read_back(
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


# --- drawn people


def test_a_drawn_batch_is_consistent_with_itself(batch: MeshBatch) -> None:
    assert batch.images.shape == (2, 2, 3, 224, 224)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ batch.vertices
    assert regressed[..., 0, :].abs().max() < 1e-5, "the pelvis is the origin"
    torch.testing.assert_close(regressed[..., list(EVALUATION_ORDER), :], batch.joints)
    assert batch.joints_2d.abs().max() < 1.6
    low, high = batch.joints_2d.amin(dim=2), batch.joints_2d.amax(dim=2)
    longest = (high - low).amax(dim=-1)
    assert ((longest > 2 / (1.2 * 1.2) - 1e-4) & (longest < 2 / (1.2 * 0.9) + 1e-4)).all()


def test_the_person_is_drawn_where_the_joints_are(batch: MeshBatch) -> None:
    """A drawn body is of one hue: at the hips all channels keep the same proportions."""
    images = batch.images * torch.tensor(IMAGE_STD)[:, None, None]
    images = images + torch.tensor(IMAGE_MEAN)[:, None, None]
    for window in range(2):
        hues = []
        for frame in range(2):
            for joint in (2, 3):  # hips, well inside of the body
                x, y = ((batch.joints_2d[window, frame, joint] + 1) * 112 - 0.5).round().int()
                patch = images[window, frame, :, y - 2 : y + 3, x - 2 : x + 3].mean(dim=(1, 2))
                hues.append(patch / patch.norm())
        assert torch.stack(hues).std(dim=0).max() < 0.05


def test_the_same_batch_comes_at_every_call_and_nobodys_random_numbers_change() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = drawn(1, 2), drawn(1, 2)
    assert torch.equal(first.images, second.images)
    assert torch.equal(torch.rand(3), expected)


# --- recorded people


def write_sequence(folder: Path, frames: int, start: float = 0.0) -> None:
    folder.mkdir(parents=True)
    for name, shape in SHAPES.items():
        number = start + np.arange(frames).reshape(-1, *[1] * len(shape))
        kind = np.uint8 if name == "images" else np.float16
        np.save(folder / f"{name}.npy", np.broadcast_to(number, (frames, *shape)).astype(kind))


def test_windows_are_consecutive_frames_of_one_sequence(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a", 5)
    write_sequence(tmp_path / "b", 4, start=100)
    write_sequence(tmp_path / "too_short", 2, start=200)
    source = RecordedCrops(tmp_path, window=3)
    batch = source.sample_fixed(100)
    assert batch.joints[:, :, 0, 0].tolist() == [
        [0, 1, 2], [1, 2, 3], [2, 3, 4], [100, 101, 102], [101, 102, 103],
    ]  # fmt: skip
    assert batch.vertices[:, 0, 6889, 2].tolist() == [0, 1, 2, 100, 101]
    assert batch.vertices.dtype == torch.float32
    red = (batch.images[:, :, 0, 10, 10] * IMAGE_STD[0] + IMAGE_MEAN[0]) * 255
    torch.testing.assert_close(red, batch.joints[:, :, 0, 0], atol=1e-3, rtol=0)
    drawn = source.sample(50).joints[:, :, 0, 0]
    assert set(drawn[:, 0].tolist()) == {0, 1, 2, 100, 101}


def test_what_is_wrong_with_recorded_people_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        RecordedCrops(tmp_path / "nowhere", 2)
    write_sequence(tmp_path / "short" / "a", 2)
    with pytest.raises(ValueError, match=r"no sequence in .*short has the 3 frames"):
        RecordedCrops(tmp_path / "short", 3)
    write_sequence(tmp_path / "lacking" / "a", 3)
    (tmp_path / "lacking" / "a" / "joints.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"a/joints.npy"):
        RecordedCrops(tmp_path / "lacking", 2)
    write_sequence(tmp_path / "misshapen" / "a", 3)
    np.save(tmp_path / "misshapen" / "a" / "joints_2d.npy", np.zeros((3, 17, 2)))
    with pytest.raises(ValueError, match=r"joints_2d.npy .*\(3, 17, 2\).*frames, 14, 2"):
        RecordedCrops(tmp_path / "misshapen", 2)
    write_sequence(tmp_path / "unequal" / "a", 3)
    np.save(tmp_path / "unequal" / "a" / "joints.npy", np.zeros((4, 14, 3)))
    with pytest.raises(ValueError, match="different numbers of frames"):
        RecordedCrops(tmp_path / "unequal", 2)
    write_sequence(tmp_path / "broken" / "a", 3)
    (tmp_path / "broken" / "a" / "images.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"images\.npy"):
        RecordedCrops(tmp_path / "broken", 2)


# --- losses


def exact(mesh: MeshSampling, frames: int, seed: int = 0) -> tuple[dict[str, Tensor], MeshBatch]:
    """A made-up body of the mesh, and the answer that is right about it."""
    generator = torch.Generator().manual_seed(seed)
    vertices = 0.3 * torch.randn(1, frames, 6890, 3, generator=generator)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ vertices
    vertices = vertices - regressed[..., :1, :]
    joints = (regressed - regressed[..., :1, :])[..., list(EVALUATION_ORDER), :]
    # the published losses take the middle of the hips for the pelvis of the tokens
    vertices_of_hips = joints[..., 2:4, :].mean(dim=-2, keepdim=True)
    camera = torch.tensor([0.9, 0.1, -0.2]).expand(1, frames, 3)
    answer = {
        "pred_cam": camera,
        "pred_3d_joints": joints,
        "pred_3d_vertices_fine": vertices,
        "pred_3d_vertices_intermediate": vertices[..., mesh.kept(1), :],
        "pred_3d_vertices_coarse": vertices[..., mesh.kept(2), :],
    }
    shown = project(joints, camera[..., None, :])
    assert vertices_of_hips.abs().max() < 0.5
    return answer, MeshBatch(torch.empty(1, frames, 0), joints, shown, vertices)


def centred(joints: Tensor) -> Tensor:
    return joints - joints[..., 2:4, :].mean(dim=-2, keepdim=True)


def test_the_exact_answer_costs_nothing_but_where_both_pelvises_differ(
    mesh: MeshSampling, compared: MeshAnswer
) -> None:
    answer, batch = exact(mesh, 3)
    # make the middle of the hips the pelvis, so that tokens and mesh agree
    shift = batch.joints[..., 2:4, :].mean(dim=-2, keepdim=True)
    ours = compared.aligned(answer)
    torch.testing.assert_close(ours["joints"], batch.joints - shift)
    torch.testing.assert_close(ours["regressed"], batch.joints)
    losses = compared.losses(answer, batch)
    assert losses["vertices"].item() == pytest.approx(0.0, abs=1e-4)
    steps = torch.linalg.vector_norm(shift.diff(dim=1), dim=-1).mean()
    expected = 1000 * (shift.abs().mean() + steps)
    torch.testing.assert_close(losses["joints"], expected)
    assert "shape" not in losses


def test_losses_have_the_published_weights(mesh: MeshSampling, compared: MeshAnswer) -> None:
    answer, batch = exact(mesh, 2)
    base = compared.losses(answer, batch)
    levels = {"fine": 0.25, "intermediate": 0.5, "coarse": 0.25}
    free = np.flatnonzero(h36m_joint_regressor().sum(axis=0)[mesh.kept(2)] == 0)
    for level, weight in levels.items():
        key = f"pred_3d_vertices_{level}"
        moved = dict(answer)
        moved[key] = answer[key].clone()
        vertex = {"fine": mesh.kept(2)[free[0]], "intermediate": 7, "coarse": 7}[level]
        moved[key][..., vertex, 1] += 0.03
        count = answer[key].shape[-2]
        difference = compared.losses(moved, batch)["vertices"] - base["vertices"]
        assert difference.item() == pytest.approx(100 * weight * 0.03 / (3 * count), rel=0.02)


def test_a_wrong_camera_costs_in_the_image_only(mesh: MeshSampling, compared: MeshAnswer) -> None:
    answer, batch = exact(mesh, 2)
    base = compared.losses(answer, batch)
    moved = answer | {"pred_cam": answer["pred_cam"] + torch.tensor([0.0, 0.5, 0.0])}
    losses = compared.losses(moved, batch)
    assert losses["joints"] == base["joints"]
    assert losses["vertices"] == base["vertices"]
    # the joints of the mesh are exact: 0.5 m in x is 0.45 in the image, over two coordinates
    regressed = 100 * 0.45 / 2
    assert losses["projected"].item() > regressed * 0.99
    assert losses["projected"].item() < 2 * regressed + base["projected"].item() + 1e-3


def test_the_velocity_loss_sees_steps_and_not_places() -> None:
    true = torch.randn(2, 8, 14, 3)
    assert velocity_loss(true + 1, true).item() == pytest.approx(0.0, abs=1e-6)
    late = true.clone()
    late[:, 4:] += torch.tensor([0.03, 0.0, 0.04])  # one of seven steps is 50 mm off
    assert velocity_loss(late, true).item() == pytest.approx(0.05 / 7, rel=1e-4)


def test_single_frames_are_judged_by_their_edges_and_normals(
    mesh: MeshSampling, compared: MeshAnswer
) -> None:
    answer, batch = exact(mesh, 1)
    faces = mesh.faces[1]
    edges = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1),
        axis=0,
    )
    middle = answer["pred_3d_vertices_intermediate"]
    length = (middle[..., edges[:, 0], :] - middle[..., edges[:, 1], :]).norm(dim=-1).mean()
    # of an exact mesh only the small weight on all lengths is left: normals are at right angles
    expected = 100 * 1e-4 * length
    torch.testing.assert_close(compared.losses(answer, batch)["shape"], expected, atol=1e-3, rtol=0)
    larger = answer | {"pred_3d_vertices_intermediate": 1.1 * middle}
    grown = compared.losses(larger, batch)["shape"] - expected
    torch.testing.assert_close(grown, 100 * 5 * 0.1 * length, atol=1e-2, rtol=1e-2)


# --- learning


class ByHeart:
    """The same windows again and again."""

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
def test_stdformer_and_fastmetro_learn_a_window_by_heart(
    tmp_path: Path, mesh: MeshSampling, compared: MeshAnswer, window: int
) -> None:
    model = small(mesh, window)
    people = ByHeart(drawn(1, window))
    with torch.no_grad():
        start = compared.losses(model(people.batch.images), people.batch)
    before = sum(value.item() for value in start.values())
    schedule = Schedule(
        steps=12, sequences=1, learning_rate=1e-3, warmup=3, ema_decay=0.0, report_every=12
    )
    full = Precision("cpu", torch.float32)
    trained = train_mesh_network(
        model, compared, people, people, tmp_path, schedule, full, lambda line: None
    )
    with torch.no_grad():
        end = compared.losses(trained(people.batch.images), people.batch)
    assert sum(value.item() for value in end.values()) < 0.5 * before


def test_the_backbone_learns_at_a_tenth_of_the_rate(
    tmp_path: Path, mesh: MeshSampling, compared: MeshAnswer
) -> None:
    model = small(mesh, 1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    people = ByHeart(drawn(1, 1))
    schedule = Schedule(
        steps=1, sequences=1, learning_rate=1e-3, warmup=0, weight_decay=0.0, report_every=1
    )
    full = Precision("cpu", torch.float32)
    train_mesh_network(model, compared, people, people, tmp_path, schedule, full, lambda line: None)
    # Adam's first step is the learning rate for every parameter that has a gradient
    moves = {n: (p - before[n]).abs().max().item() for n, p in model.named_parameters()}
    assert moves["backbone.top.bias"] == pytest.approx(1e-4, rel=1e-2)
    assert moves["xyz_regressor.weight"] == pytest.approx(1e-3, rel=1e-2)


def test_from_clips_to_an_estimator_with_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.BACKBONES, "tiny", TinyBackbone)
    monkeypatch.setattr(train_mesh, "UNSEEN", 1)
    clips, run = tmp_path / "clips", tmp_path / "run"
    clips.mkdir()
    for name in ("cmu_01_01", f"{HELD_OUT[0]}01"):
        (clips / f"{name}.bvh").write_text(bvh_text(lively(30)))
    options = ["--backbone", "tiny", "--steps", "1", "--batch", "1", "--report-every", "1"]
    command = ["train", "--model", "stdformer_S", "--motion", str(clips), "--out", str(run)]
    assert main([*command, *options]) == 0
    assert str(run / "stdformer_S.safetensors") in capsys.readouterr().out
    assert (run / "log.csv").read_text().startswith("step,")
    estimator = create_estimator(
        EstimatorSettings(
            "stdformer_S",
            checkpoint=str(run / "stdformer_S.safetensors"),
            mesh_sampling=str(run / "mesh_downsampling.npz"),
            joint_regressor=str(run / "joint_regressor.npy"),
            backbone="tiny",
        )
    )
    assert isinstance(estimator, ImageEstimator)
    saved = torch.load(run / "last.pt", weights_only=True)["ema"]
    assert isinstance(estimator.model, OpenVinoSTDFormer)
    for name, value in estimator.model.network.state_dict().items():
        assert torch.equal(value, saved[name].half().float()), name


def test_recorded_people_need_the_mesh_and_the_regressor_of_their_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.BACKBONES, "tiny", TinyBackbone)
    monkeypatch.setattr(train_mesh, "UNSEEN", 1)
    for part in ("train", "val"):
        write_sequence(tmp_path / "crops" / part / "a", 8)
    np.save(tmp_path / "regressor.npy", h36m_joint_regressor())
    write_mesh_sampling(tmp_path / "mesh.npz")
    command = ["train", "--model", "stdformer_S", "--crops", str(tmp_path / "crops")]
    command += [
        "--out",
        str(tmp_path / "run"),
        "--backbone",
        "tiny",
        "--steps",
        "1",
        "--batch",
        "1",
    ]
    assert main(command) == 2
    assert "mesh_sampling" in capsys.readouterr().err
    files = ["--mesh-sampling", str(tmp_path / "mesh.npz")]
    files += ["--joint-regressor", str(tmp_path / "regressor.npy")]
    assert main([*command, *files]) == 0
    assert (tmp_path / "run" / "stdformer_S.safetensors").exists()
    assert not (tmp_path / "run" / "mesh_downsampling.npz").exists(), "that is the user's"
