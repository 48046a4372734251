"""OpenPose's, COCO's and Human3.6M's keypoints from BlazePose's landmarks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX, BodyLandmarks
from stdformer_ros.body.body_model import BodyModel, forward_kinematics, h36m_joint_regressor
from stdformer_ros.body.skeleton import H36M_NAMES, JOINT_NAMES
from stdformer_ros.models.keypoints import (
    H36M_FROM_LANDMARKS,
    MARKED,
    VIEW_SCALE,
    h36m_keypoints,
    marked_joints,
    sight_of_joints,
)
from stdformer_ros.training.people.synthetic import _about

# --- OpenPose's and COCO's


def test_neck_and_pelvis_are_the_middle_of_shoulders_and_hips() -> None:
    landmarks, visibility = np.zeros((33, 2), np.float32), np.zeros(33, np.float32)
    for index, point in {11: (0, 10), 12: (20, 30), 23: (4, 0), 24: (8, 2), 25: (7, 9)}.items():
        landmarks[index], visibility[index] = point, 0.9
    points, scores = marked_joints(landmarks, visibility, ("neck", "pelvis", "left_knee", "spine1"))
    assert points.tolist() == [[10, 20], [6, 1], [7, 9], [0, 0]]
    assert scores.tolist() == pytest.approx([0.9, 0.9, 0.9, 0.0])


def test_left_and_right_are_not_exchanged() -> None:
    """BlazePose gives the left side odd indices, eyes and ears their own."""
    for name, index in MARKED.items():
        if name.startswith("left") and "eye" not in name:
            assert index[0] % 2 == 1
            assert MARKED[name.replace("left", "right")] == (index[0] + 1,)


def test_a_joint_is_in_sight_as_far_as_its_landmarks_are() -> None:
    visibility = np.zeros(33, np.float32)
    visibility[11] = 1.0
    assert sight_of_joints(visibility, ("left_shoulder", "neck", "left_hip")).tolist() == [
        1,
        0.5,
        0,
    ]


# --- Human3.6M's


def posed() -> tuple[Tensor, Tensor]:
    """Landmarks (2, 33, 3) and Human3.6M's joints (2, 17, 3): somebody stands, another walks."""
    rotations = torch.eye(3).repeat(2, 24, 1, 1)
    for joint, axis, angle in (
        ("left_hip", 0, -0.6), ("right_hip", 0, 0.4), ("left_knee", 0, 0.3),
        ("left_shoulder", 2, -1.2), ("right_shoulder", 2, 1.1), ("right_elbow", 1, 0.9),
        ("spine2", 0, 0.2), ("head", 0, 0.3),
    ):  # fmt: skip
        rotations[1:, JOINT_NAMES.index(joint)] = _about(axis, torch.tensor([angle]))
    body, betas = BodyModel(), torch.zeros(2, 10)
    vertices, joints = body(rotations, betas)
    rest = body.joints_template.expand(2, -1, -1)
    turns, _ = forward_kinematics(rotations, rest)
    landmarks = torch.full((2, 33, 3), torch.nan)
    landmarks[:, list(BLAZEPOSE_INDEX)] = BodyLandmarks()(turns, joints, rest, betas)
    return landmarks, torch.from_numpy(h36m_joint_regressor()) @ vertices


def test_a_point_shows_where_a_camera_of_human36m_would_have_it() -> None:
    """Focal length 1145 pixels, 1000 pixels wide: a ray of 0.2 is 229 pixels off the centre."""
    rays = torch.tensor([0.2, -0.1]).expand(33, 2)
    pixel = 500 + 0.2 * 1145
    assert (2 * pixel - 1000) / 1000 == pytest.approx(0.2 * VIEW_SCALE)
    expected = torch.tensor([0.458, -0.229]).expand(17, 2)
    torch.testing.assert_close(h36m_keypoints(rays), expected)


def test_on_a_body_the_keypoints_are_human36ms_joints() -> None:
    """In parallel projection, where a sum of points shows at the sum of their images."""
    landmarks, joints = posed()
    landmarks = landmarks.nan_to_num()  # those that the body does not have must not matter
    errors = (H36M_FROM_LANDMARKS @ landmarks - joints).norm(dim=-1)
    assert errors.mean() < 0.012
    assert errors.max() < 0.05
    names = [n for n in H36M_NAMES if n not in ("pelvis", "torso", "neck", "head", "head_top")]
    rows = [H36M_NAMES.index(name) for name in names]
    same = [BLAZEPOSE_LIMBS[name] for name in names]
    uncorrected = (landmarks[:, same] - joints[:, rows]).norm(dim=-1)
    assert errors[:, rows].mean() < 0.4 * uncorrected.mean()


BLAZEPOSE_LIMBS = {
    f"{side}_{name}": index + k
    for name, index in (
        ("shoulder", 11), ("elbow", 13), ("wrist", 15), ("hip", 23), ("knee", 25), ("ankle", 27),
    )
    for k, side in enumerate(("left", "right"))
}  # fmt: skip


def test_only_landmarks_of_the_embedded_body_are_read() -> None:
    """So that networks can be trained on it."""
    read = H36M_FROM_LANDMARKS.abs().sum(0).nonzero().flatten().tolist()
    assert set(read) <= set(BLAZEPOSE_INDEX)


def test_left_and_right_are_treated_alike() -> None:
    landmarks = torch.randn(33, 2)
    twins = [0, 4, 5, 6, 1, 2, 3, *(i + (1 if i % 2 else -1) for i in range(7, 33))]
    mirror = [
        H36M_NAMES.index(n.replace("left", "#").replace("right", "left").replace("#", "right"))
        for n in H36M_NAMES
    ]
    torch.testing.assert_close(h36m_keypoints(landmarks[twins]), h36m_keypoints(landmarks)[mirror])


def test_moving_all_landmarks_moves_all_keypoints() -> None:
    torch.testing.assert_close(H36M_FROM_LANDMARKS.sum(1), torch.ones(17))
