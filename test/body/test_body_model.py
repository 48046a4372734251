"""The embedded body: skinning, shape, forward kinematics, joints regressed from vertices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from helpers.poses import random_betas, random_pose
from stdformer_ros.assets import FOLDER
from stdformer_ros.body.body_model import (
    LEVELS,
    BodyModel,
    forward_kinematics,
    h36m_joint_regressor,
    load_body_arrays,
    smpl_joint_regressor,
    vertices_in,
)
from stdformer_ros.body.skeleton import (
    BONES,
    EVALUATION_ORDER,
    H36M_NAMES,
    JOINT_NAMES,
    MIRROR,
    PARENTS,
)

REST = torch.eye(3).expand(1, 24, 3, 3)
AVERAGE = torch.zeros(1, 10)


def skinned_one_by_one(
    rotations: NDArray[np.float64], betas: NDArray[np.float64], vertices: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear blend skinning as in the textbook, joint by joint and vertex by vertex."""
    data = load_body_arrays()
    rest = data["joints_template"] + data["joints_shapedirs"] @ betas
    turns, joints = [rotations[0]], [np.zeros(3)]
    for joint in range(1, 24):
        parent = PARENTS[joint]
        turns.append(turns[parent] @ rotations[joint])
        joints.append(joints[parent] + turns[parent] @ (rest[joint] - rest[parent]))
    posed = []
    for vertex in vertices:
        place = data["v_template"][vertex] + data["shapedirs"][vertex].astype(float) @ betas
        moved = np.zeros(3)
        for joint, weight in zip(
            data["weights_index"][vertex], data["weights_value"][vertex].astype(float), strict=True
        ):
            moved += weight * (turns[joint] @ (place - rest[joint]) + joints[joint])
        posed.append(moved)
    return np.array(posed), np.array(joints)


def test_the_asset_is_smaller_than_a_megabyte() -> None:
    assert (FOLDER / "body.npz").stat().st_size < 1_000_000


@pytest.mark.parametrize("seed", range(3))
def test_posing_equals_a_double_loop_over_vertices_and_joints(seed: int) -> None:
    rotations, betas = random_pose(seed), random_betas(seed)
    vertices, joints = BodyModel()(rotations, betas)
    some = list(range(0, 6890, 53))
    expected_vertices, expected_joints = skinned_one_by_one(
        rotations[0].double().numpy(), betas[0].double().numpy(), some
    )
    np.testing.assert_allclose(joints[0], expected_joints, atol=2e-6)
    np.testing.assert_allclose(vertices[0, some], expected_vertices, atol=5e-6)


def test_at_rest_the_average_body_is_the_template() -> None:
    data = load_body_arrays()
    vertices, joints = BodyModel()(REST, AVERAGE)
    # skin weights are stored in half precision: their sums are 1 within a thousandth
    np.testing.assert_allclose(vertices[0], data["v_template"], atol=1e-3)
    np.testing.assert_allclose(joints[0], data["joints_template"], atol=1e-6)


def test_skin_weights_of_every_vertex_sum_to_one() -> None:
    sums = BodyModel().weights.sum(1)
    assert (sums - 1).abs().max() < 1e-3


def test_the_rest_body_is_an_adult_who_stands_upright_and_looks_along_z() -> None:
    vertices, joints = BodyModel()(REST, AVERAGE)
    height = float(vertices[0, :, 1].max() - vertices[0, :, 1].min())
    assert 1.5 < height < 1.9
    place = dict(zip(JOINT_NAMES, joints[0], strict=True))
    assert place["head"][1] > place["neck"][1] > place["pelvis"][1] > place["left_ankle"][1]
    assert place["left_foot"][2] > place["left_ankle"][2] + 0.05
    assert place["pelvis"].tolist() == [0, 0, 0]


def test_left_joints_have_positive_x_and_right_joints_are_their_mirror_image() -> None:
    _, joints = BodyModel()(REST, AVERAGE)
    across = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(joints[0, MIRROR, :] * across, joints[0], atol=0.01, rtol=0)
    for name, place in zip(JOINT_NAMES, joints[0], strict=True):
        if name.startswith("left"):
            assert place[0] > 0.02


def test_face_normals_point_outward() -> None:
    """Then a closed mesh encloses a positive volume, that of a person's body in m^3."""
    for level in LEVELS:
        body = BodyModel(level)
        vertices, _ = body(REST, AVERAGE)
        a, b, c = (vertices[0, body.faces[:, i].astype(np.int64)] for i in range(3))
        volume = float((torch.linalg.cross(a, b) * c).sum() / 6)
        assert 0.05 < volume < 0.08, level


def test_rotating_the_pelvis_rotates_the_whole_body() -> None:
    rotations, betas = random_pose(5), random_betas(5)
    body = BodyModel(431)
    vertices, joints = body(rotations, betas)
    turn = random_pose(6)[:, :1]
    turned = torch.cat([turn @ rotations[:, :1], rotations[:, 1:]], dim=1)
    turned_vertices, turned_joints = body(turned, betas)
    torch.testing.assert_close(turned_vertices, vertices @ turn[0, 0].T, atol=1e-3, rtol=0)
    torch.testing.assert_close(turned_joints, joints @ turn[0, 0].T, atol=1e-5, rtol=0)


def test_a_bent_elbow_moves_the_forearm_and_nothing_else() -> None:
    rotations = REST.clone()
    rotations[:, JOINT_NAMES.index("left_elbow")] = random_pose(1)[0, 0]
    _, joints = BodyModel(108)(rotations, AVERAGE)
    _, rest = BodyModel(108)(REST, AVERAGE)
    moved = (joints - rest).norm(dim=-1)[0] > 1e-6
    names = {name for name, m in zip(JOINT_NAMES, moved, strict=True) if m}
    assert names == {"left_wrist", "left_hand"}


def test_bones_keep_their_length_in_every_pose() -> None:
    betas = random_betas(3).expand(8, -1)
    body = BodyModel(108)
    _, rest = body(REST.expand(8, -1, -1, -1), betas)
    _, posed = body(random_pose(3, 8), betas)
    start, end = torch.tensor(BONES).T
    torch.testing.assert_close(
        (posed[:, end] - posed[:, start]).norm(dim=-1),
        (rest[:, end] - rest[:, start]).norm(dim=-1),
        atol=1e-5,
        rtol=0,
    )


def test_a_body_of_a_batch_equals_the_body_alone() -> None:
    rotations, betas = random_pose(4, 3), random_betas(4, 3)
    body = BodyModel(431)
    together = body(rotations, betas)
    for i in range(3):
        alone = body(rotations[i : i + 1], betas[i : i + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i : i + 1], b, atol=2e-6, rtol=0)


def test_betas_change_height_and_girth() -> None:
    body = BodyModel(431)
    betas = torch.cat([2.0 * torch.eye(10), -2.0 * torch.eye(10)])
    vertices, _ = body(REST.expand(20, -1, -1, -1), betas)
    height = np.ptp(vertices[..., 1].numpy(), axis=1)
    assert np.ptp(height) > 0.15
    assert (vertices - vertices[:1]).norm(dim=-1)[1:].amax(1).min() > 0.005


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match=r"6890.*not 500"):
        BodyModel(500)


def test_regressed_joints_are_within_a_centimetre_of_the_true_ones_on_average() -> None:
    regressor = torch.from_numpy(load_body_arrays()["joint_regressor_431"])
    vertices, joints = BodyModel(431)(random_pose(7, 50, degrees=30.0), random_betas(7, 50))
    error = (regressor @ vertices - joints).norm(dim=-1)
    assert error.mean() < 0.01
    assert regressor.sum(1).numpy() == pytest.approx(np.ones(24), abs=1e-5)


def test_hip_knee_and_ankle_have_the_heights_of_anatomy() -> None:
    """In parts of the stature, after Winter, "Biomechanics and Motor Control"."""
    vertices, joints = BodyModel()(REST, AVERAGE)
    sole, crown = float(vertices[0, :, 1].min()), float(vertices[0, :, 1].max())
    for side in ("left", "right"):
        height = {
            name: (float(joints[0, JOINT_NAMES.index(f"{side}_{name}"), 1]) - sole) / (crown - sole)
            for name in ("hip", "knee", "ankle")
        }
        assert height["knee"] == pytest.approx(0.285, abs=0.003)
        # detectors put the hips lower and the ankles higher
        assert height["hip"] == pytest.approx(0.530, abs=0.016)
        assert height["ankle"] == pytest.approx(0.039, abs=0.016)


def test_forward_kinematics_equals_a_loop_over_the_bones() -> None:
    """It computes a generation of joints at once."""
    rotations, rest = random_pose(3, 5, degrees=90.0), torch.randn(5, 24, 3)
    turns, joints = forward_kinematics(rotations, rest)
    expected_turns, expected = {0: rotations[:, 0]}, {0: torch.zeros(5, 3)}
    for parent, joint in BONES:
        bone = rest[:, joint] - rest[:, parent]
        expected_turns[joint] = expected_turns[parent] @ rotations[:, joint]
        expected[joint] = expected[parent] + torch.einsum(
            "bij,bj->bi", expected_turns[parent], bone
        )
    for joint in range(24):
        torch.testing.assert_close(turns[:, joint], expected_turns[joint], atol=1e-6, rtol=0)
        torch.testing.assert_close(joints[:, joint], expected[joint], atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", LEVELS)
def test_a_coarser_mesh_is_a_subset_of_the_finer_vertices(level: int) -> None:
    rotations, betas = random_pose(4, 2, degrees=40.0), random_betas(4, 2)
    fine, _ = BodyModel(level)(rotations, betas)
    coarse, _ = BodyModel(108)(rotations, betas)
    torch.testing.assert_close(fine[:, vertices_in(level, 108)], coarse, atol=1e-6, rtol=0)


# Joints regressed from vertices.


def posed_body():
    """A sitting person who raises the left arm."""
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    for joint, axis, angle in (
        ("left_hip", 0, -1.4), ("right_hip", 0, -1.4), ("left_knee", 0, 1.4),
        ("right_knee", 0, 1.4), ("left_shoulder", 2, 1.2), ("right_shoulder", 2, 1.3),
    ):  # fmt: skip
        turn = Rotation.from_euler("xyz"[axis], angle).as_matrix()
        rotations[:, JOINT_NAMES.index(joint)] = torch.from_numpy(turn).float()
    vertices, joints = BodyModel()(rotations, torch.zeros(1, 10))
    return vertices[0].numpy(), joints[0].numpy()


def test_regressor_rows_are_weighted_means():
    for regressor in (smpl_joint_regressor(), h36m_joint_regressor()):
        assert (regressor >= 0).all()
        np.testing.assert_allclose(regressor.sum(1), 1.0, atol=1e-5)


def test_the_24_regressed_joints_of_a_bent_body_are_within_three_centimetres():
    vertices, joints = posed_body()
    errors = np.linalg.norm(smpl_joint_regressor() @ vertices - joints, axis=1)
    assert errors.mean() < 0.012
    assert errors.max() < 0.03


def test_human36m_joints_lie_where_their_names_say():
    vertices, joints = posed_body()
    found = dict(zip(H36M_NAMES, h36m_joint_regressor() @ vertices, strict=True))
    for name in ("left_knee", "right_wrist", "neck"):
        assert np.linalg.norm(found[name] - joints[JOINT_NAMES.index(name)]) < 0.03
    assert found["head_top"][1] > found["head"][1] > found["neck"][1]
    # Human3.6M's bones from neck to head and from head to its top are about equally long
    lower, upper = (np.linalg.norm(found["head"] - found[name]) for name in ("neck", "head_top"))
    assert 0.8 < lower / upper < 1.25
    assert found["neck"][1] > found["torso"][1] > found["pelvis"][1]


def test_the_evaluated_joints_are_those_of_published_methods():
    assert [H36M_NAMES[i] for i in EVALUATION_ORDER] == [
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist", "neck", "head_top",
    ]  # fmt: skip
