"""The embedded body's landmarks: offsets from joints and skin, mirror, BlazePose's indices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers.poses import landmarks_of, random_betas, random_pose
from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX, LANDMARK_MIRROR, LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel, load_body_arrays
from stdformer_ros.body.skeleton import JOINT_NAMES, PARENTS

REST = torch.eye(3).expand(1, 24, 3, 3)
AVERAGE = torch.zeros(1, 10)


def skin_landmarks(rotations: Tensor, betas: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> landmark, and the vertex of the posed mesh that it moves with."""
    names = (
        "nose", "left_ear", "left_heel", "left_foot_index", "right_ear", "right_heel",
        "right_foot_index",
    )  # fmt: skip
    places = landmarks_of(rotations, betas)[0]
    vertices, _ = BodyModel()(rotations, betas)
    index = load_body_arrays()["landmark_vertices"]
    return {
        name: (places[LANDMARK_NAMES.index(name)], vertices[0, int(vertex)])
        for name, vertex in zip(names, index, strict=True)
    }


def test_ears_and_nose_lie_inside_the_head_heels_and_toes_inside_the_foot() -> None:
    offset = {name: (a - b).tolist() for name, (a, b) in skin_landmarks(REST, AVERAGE).items()}
    assert offset["nose"] == pytest.approx([0, 0, -0.035], abs=1e-5)
    assert offset["left_ear"] == pytest.approx([-0.02, 0, 0], abs=1e-5)
    assert offset["right_ear"] == pytest.approx([0.02, 0, 0], abs=1e-5)
    for side in ("left", "right"):
        assert offset[f"{side}_heel"] == pytest.approx([0, 0.04, 0.009], abs=1e-4)
        assert offset[f"{side}_foot_index"] == pytest.approx([0, 0, -0.03], abs=1e-4)


def test_skin_landmarks_move_with_their_vertices() -> None:
    rest, posed = (skin_landmarks(r, random_betas(8)) for r in (REST, random_pose(8)))
    rotations = global_rotations(random_pose(8))
    for name, (place, vertex) in posed.items():
        before = rest[name][0] - rest[name][1]
        # blend skinning shortens an offset a little
        assert (place - vertex).norm().item() == pytest.approx(before.norm().item(), rel=0.1)
    head = rotations[JOINT_NAMES.index("head")]
    for name in ("nose", "left_ear", "right_ear"):
        expected = head @ (rest[name][0] - rest[name][1])
        torch.testing.assert_close(posed[name][0] - posed[name][1], expected, atol=2e-3, rtol=0)


def global_rotations(rotations: Tensor) -> list[Tensor]:
    """Global rotations of the 24 joints."""
    turns = [rotations[0, 0]]
    for joint in range(1, 24):
        turns.append(turns[PARENTS[joint]] @ rotations[0, joint])
    return turns


def test_heels_and_toes_keep_their_distance_from_the_ankle() -> None:
    at_rest, bent = landmarks_of(REST, AVERAGE)[0], landmarks_of(random_pose(8), AVERAGE)[0]
    for part in ("heel", "foot_index"):
        pair = [LANDMARK_NAMES.index(f"right_{name}") for name in (part, "ankle")]
        lengths = [float((body[pair[0]] - body[pair[1]]).norm()) for body in (at_rest, bent)]
        assert lengths[0] == pytest.approx(lengths[1], abs=0.04)  # the toes bend; blend skinning


def test_landmarks_lie_where_their_names_say() -> None:
    place = dict(zip(LANDMARK_NAMES, landmarks_of(REST, AVERAGE)[0], strict=True))
    _, joints = BodyModel(108)(REST, AVERAGE)
    for name, offset in (
        ("shoulder", (-0.007, 0.028, 0.0)),
        ("elbow", (0.0, 0.0, 0.0)),
        ("wrist", (0.015, 0.0, 0.0)),
        ("hip", (-0.0145, -0.013, 0.0)),
        ("knee", (0.0, 0.0, 0.0)),
        ("ankle", (0.0, 0.024, 0.0)),
    ):
        for side, sign in (("left", 1.0), ("right", -1.0)):
            joint = joints[0, JOINT_NAMES.index(f"{side}_{name}")]
            moved = (place[f"{side}_{name}"] - joint) * torch.tensor([sign, 1.0, 1.0])
            assert moved.tolist() == pytest.approx(offset, abs=1e-6), name
    assert abs(place["nose"][0]) < 0.01
    assert place["nose"][2] > place["left_ear"][2] + 0.05
    assert place["left_ear"][0] > 0.04
    assert place["right_ear"][0] < -0.04
    assert place["left_heel"][2] < place["left_ankle"][2] < place["left_foot_index"][2]
    assert place["left_heel"][1] < place["left_ankle"][1]


def test_the_mirror_index_gives_the_landmark_on_the_other_side() -> None:
    landmarks = landmarks_of(REST, AVERAGE)[0]
    across = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(
        landmarks[list(LANDMARK_MIRROR)] * across, landmarks, atol=0.012, rtol=0
    )
    assert [LANDMARK_MIRROR[i] for i in LANDMARK_MIRROR] == list(range(len(LANDMARK_NAMES)))


def test_the_21_landmarks_have_different_indices_in_blazepose() -> None:
    assert len(set(BLAZEPOSE_INDEX)) == len(LANDMARK_NAMES) == 21
    assert all(0 <= i < 33 for i in BLAZEPOSE_INDEX)
