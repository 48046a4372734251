"""SMPL from a user's file, and the estimators that use it. The file here is invented."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.spatial.transform import Rotation

from helpers.image_stream import CAMERA, noise_frame, person, stream
from helpers.tiny_networks import PlainSmpl, smpl_arrays, tiny_mesh, tiny_stdformer, write_smpl
from stdformer_ros.body.smpl import SmplBody, load_smpl_arrays
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models.published.crops import crop, square_around, to_input
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.published.sgre import (
    CROP_SCALE,
    JOINT_NAMES,
    MAX_DISTANCE,
    SGRE,
    SGREEstimator,
    given_joints,
)
from stdformer_ros.models.registry import create_estimator

Body = PlainSmpl | SmplBody


@pytest.fixture(scope="module")
def smpl_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_smpl(tmp_path_factory.mktemp("smpl") / "neutral.pkl")


@pytest.fixture(scope="module")
def smplx_body(smpl_file: Path) -> SmplBody:
    pytest.importorskip("smplx", reason="smplx is optional (its licence is non-commercial)")
    return SmplBody(smpl_file)


@pytest.fixture(scope="module", params=["plain", "smplx"])
def body(request: pytest.FixtureRequest) -> Body:
    """The same body twice: by the formula, which needs no smplx, and by smplx."""
    return PlainSmpl() if request.param == "plain" else request.getfixturevalue("smplx_body")


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    turns = Rotation.from_rotvec(np.random.default_rng(seed).normal(size=(count * 24, 3)) * 0.4)
    return torch.from_numpy(turns.as_matrix()).float().view(count, 24, 3, 3)


def skinned(rotations: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SMPL as its paper defines it, for one body."""
    a = smpl_arrays()
    shaped = a["v_template"] + a["shapedirs"] @ betas
    rest = a["J_regressor"] @ shaped
    correctives = (rotations[1:] - np.eye(3)).ravel()
    shaped = shaped + a["posedirs"] @ correctives
    world: list[np.ndarray] = []
    for j in range(24):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        parent = int(a["kintree_table"][0, j]) if j else -1
        local[:3, 3] = rest[j] - (rest[parent] if j else 0)
        world.append(world[parent] @ local if j else local)
    joints = np.array([w[:3, 3] for w in world])
    moved = np.array([w @ np.r_[np.c_[np.eye(3), -rest[j]], [[0, 0, 0, 1]]]
                      for j, w in enumerate(world)])  # fmt: skip
    blended = np.einsum("vj,jab->vab", a["weights"], moved)
    vertices = np.einsum("vab,vb->va", blended, np.c_[shaped, np.ones(len(shaped))])[:, :3]
    return vertices, joints


def test_the_mesh_equals_the_formula_of_smpls_paper(body: Body) -> None:
    rotations = random_rotations(2)
    betas = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    vertices, joints = body(rotations, betas)
    for i in range(2):
        expected, expected_joints = skinned(rotations[i].numpy(), betas[i].numpy())
        assert vertices[i].numpy() == pytest.approx(expected, abs=1e-4)
        assert joints[i].numpy() == pytest.approx(expected_joints, abs=1e-4)


def test_a_missing_file_says_what_it_is_and_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"basicModel_neutral.*SMPLify.*official_weights"):
        load_smpl_arrays(tmp_path / "SMPL.pkl")


def test_a_pickle_that_names_code_is_refused_and_nothing_is_called(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    (tmp_path / "SMPL.pkl").write_bytes(pickle.dumps({"v_template": Hostile()}, protocol=2))
    with pytest.raises(ValueError, match="exec"):
        load_smpl_arrays(tmp_path / "SMPL.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["csc_matrix", "csc_array", "coo_matrix", "dense"])
def test_smpl_may_be_an_npz(tmp_path: Path, kind: str) -> None:
    arrays = smpl_arrays()
    content = dict(arrays)
    if kind != "dense":
        cell = np.empty((), object)
        cell[()] = getattr(scipy.sparse, kind)(arrays["J_regressor"])
        content["J_regressor"] = cell
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **content, extra=np.array("model"))
    read = load_smpl_arrays(tmp_path / "SMPL_NEUTRAL.npz")
    for name, array in read.items():
        np.testing.assert_array_equal(array, arrays[name])


def test_an_npz_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", v_template=np.zeros((6890, 3)))
    with pytest.raises(ValueError, match=r"a\.npz.* is not SMPL.*no array 'shapedirs'"):
        load_smpl_arrays(tmp_path / "a.npz")


def test_another_body_model_is_refused_with_the_array_that_does_not_fit(tmp_path: Path) -> None:
    arrays = smpl_arrays()
    arrays["weights"] = arrays["weights"][:, :16]
    (tmp_path / "mano.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    with pytest.raises(ValueError, match=r"weights has the shape \(6890, 16\), not 6890 x 24"):
        load_smpl_arrays(tmp_path / "mano.pkl")
    del arrays["posedirs"]
    (tmp_path / "half.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    with pytest.raises(ValueError, match="lacks posedirs"):
        load_smpl_arrays(tmp_path / "half.pkl")


def test_of_300_shape_parameters_the_first_ten_are_used(
    smplx_body: SmplBody, tmp_path: Path
) -> None:
    arrays = smpl_arrays()
    arrays["shapedirs"] = np.concatenate([arrays["shapedirs"], np.ones((6890, 3, 290))], axis=2)
    (tmp_path / "v110.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    rotations, betas = random_rotations(1), torch.ones(1, 10)
    ten, _ = smplx_body(rotations, betas)
    of_300, _ = SmplBody(tmp_path / "v110.pkl")(rotations, betas)
    assert of_300.numpy() == pytest.approx(ten.numpy(), abs=1e-5)


def test_the_smpl_regressor_of_fastmetro_poses_smpl(body: Body) -> None:
    model = tiny_stdformer(window=2, smpl_regressor=True)
    estimator = ImageEstimator("stdformer_S", model, tiny_mesh(), smpl=body)
    (human,) = stream(estimator, [noise_frame(0)], [person((100, 100, 220, 400))])
    answer = human.body
    rotations, betas = torch.from_numpy(answer.rotations), torch.from_numpy(answer.betas)
    vertices, joints = body(rotations[None], betas[None])
    hips = joints[0, [1, 2]].mean(0)
    expected = (vertices[0] - hips).numpy()
    assert answer.vertices - answer.joints[0] == pytest.approx(expected, abs=1e-4)


def test_smpl_is_refused_for_a_network_that_does_not_regress_its_parameters(body: Body) -> None:
    with pytest.raises(ValueError, match="regresses no SMPL parameters"):
        ImageEstimator("stdformer_S", tiny_stdformer(2), tiny_mesh(), smpl=body)
    regressing = tiny_stdformer(2, smpl_regressor=True)
    with pytest.raises(ValueError, match="6890 vertices, not 431"):
        ImageEstimator("stdformer_S", regressing, tiny_mesh(), mesh_level=431, smpl=body)


def test_sgre_gets_openposes_joints_on_a_map_of_64_cells() -> None:
    someone = person((200, 100, 300, 300))
    someone.landmarks[25] = (250, 200)  # left knee in the middle
    someone.visibility[26] = 0.1  # right knee hidden
    someone.landmarks[15] = (900, 200)  # left wrist far outside the crop
    square = square_around(someone, (480, 640, 3), CROP_SCALE)
    joints, valid = given_joints(someone, square)
    known = dict(zip(JOINT_NAMES, valid, strict=True))
    place = joints[JOINT_NAMES.index("left_knee")]
    expected = ((250 - square.x) / square.size + 0.5) * 64 - 0.125
    assert place[0] == pytest.approx(expected, abs=1e-3)
    assert known["left_knee"] == known["pelvis"] == known["nose"] == known["neck"] == 1
    assert known["right_knee"] == known["left_wrist"] == known["spine1"] == known["left_hand"] == 0


class KnownSGRE(SGRE):
    """A network without layers whose answer is known."""

    def __init__(self, camera: list[float]) -> None:
        torch.nn.Module.__init__(self)
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.camera = torch.tensor([camera])

    def encode(self, images: torch.Tensor, joints: torch.Tensor, valid: torch.Tensor) -> dict:
        assert images.shape[1:] == (3, 256, 256)
        assert 0 <= images.min() < images.max() <= 1
        return {"features": joints.sum((1, 2))}

    def decode(self, windows: dict) -> dict:
        return {
            "rotmat": random_rotations(1),
            "betas": torch.ones(1, 10),
            "cam": self.camera,
        }


def test_sgres_body_projects_to_the_same_place_in_the_image_and_in_the_crop(
    body: Body,
) -> None:
    """The published camera: 5000 pixels of focal length over a crop of 256, far away."""
    estimator = SGREEstimator(KnownSGRE([0.1, -0.2, -1.2]), body)
    someone = person((200, 100, 300, 300))
    (human,) = stream(estimator, [noise_frame(0)], [someone])
    _, joints = body(random_rotations(1), torch.ones(1, 10))
    distance = MAX_DISTANCE / (1 + np.exp(1.2))
    placed = joints[0, :, :2].numpy() + np.array([0.1, -0.2])
    in_crop = 5000 * placed / distance + 128
    square = square_around(someone, (480, 640, 3), CROP_SCALE)
    in_image = (in_crop / 256 - 0.5) * square.size + (square.x, square.y)
    depth = human.body.joints[:, 2].mean()
    z = distance * CAMERA.fx / 5000 * 256 / square.size
    assert depth == pytest.approx(z + joints[0, :, 2].mean().item(), abs=1e-3)
    # weak perspective: compare at the depth of the body's origin
    flat = human.body.joints.copy()
    flat[:, 2] = z
    assert CAMERA.project(flat) == pytest.approx(in_image, abs=0.05)
    assert human.body.rotations.shape == (24, 3, 3)
    assert human.body.vertices.shape == (6890, 3)


def test_sgre_from_files_answers_what_the_network_answers_for_the_crop(
    smpl_file: Path, smplx_body: SmplBody, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = SGRE().eval()
    torch.save({"network": network.state_dict()}, tmp_path / "snapshot.pth.tar")
    estimator = create_estimator(
        EstimatorSettings(
            "sgre_resnet50", checkpoint=str(tmp_path / "snapshot.pth.tar"), smpl=str(smpl_file)
        )
    )
    someone, frame = person((200, 100, 300, 300)), noise_frame(4)
    (human,) = stream(estimator, [noise_frame(3), frame], [someone])
    square = square_around(someone, (480, 640, 3), CROP_SCALE)
    joints, valid = given_joints(someone, square)
    with torch.inference_mode():
        answer = network(
            to_input([crop(frame.image, square, 256)]),
            torch.from_numpy(joints)[None],
            torch.from_numpy(valid)[None],
        )
        vertices, _ = smplx_body(answer["rotmat"], answer["betas"])
    assert human.body.rotations == pytest.approx(answer["rotmat"][0].numpy(), abs=1e-5)
    assert human.body.betas == pytest.approx(answer["betas"][0].numpy(), abs=1e-5)
    moved = human.body.vertices - vertices[0].numpy()
    assert moved == pytest.approx(np.tile(moved[0], (6890, 1)), abs=1e-3), "one shift for all"


def test_sgre_refuses_other_mesh_levels_than_smpls(body: Body) -> None:
    with pytest.raises(ValueError, match="431"):
        SGREEstimator(KnownSGRE([0, 0, 0]), body, mesh_level=431)


def test_without_smplx_the_error_says_why_and_how_to_install_it(
    smpl_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "smplx", None)
    with pytest.raises(ValueError, match=r"non-commercial.*pip install smplx"):
        SmplBody(smpl_file)
