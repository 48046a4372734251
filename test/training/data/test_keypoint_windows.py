"""Synthetic keypoints and the 17 joints that they belong to."""

from __future__ import annotations

import torch

from helpers.handmade_motion import lively
from helpers.poses import random_betas, random_pose
from helpers.synthetic_batch import synthetic_keypoints
from stdformer_ros.body.body_model import BodyModel, h36m_joint_regressor
from stdformer_ros.body.skeleton import H36M_NAMES
from stdformer_ros.training.data.keypoint_windows import (
    H36MJoints,
    SyntheticKeypoints,
)
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget
from stdformer_ros.training.people.synthetic import SyntheticPeople


def test_the_17_joints_agree_with_the_regressor_on_the_mesh() -> None:
    """The regressor was fitted to the rest pose; in other poses the skin deforms."""
    still, mean = torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10)
    vertices, _ = BodyModel()(still, mean)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ vertices
    assert (H36MJoints()(still, mean) - regressed).norm(dim=-1).max() < 0.01
    posed, betas = random_pose(0, 4), random_betas(0, 4)
    vertices, joints = BodyModel()(posed, betas)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ vertices
    assert (H36MJoints()(posed, betas) - regressed).norm(dim=-1).mean() < 0.012
    hip = H36M_NAMES.index("left_hip")
    torch.testing.assert_close(H36MJoints()(posed, betas)[:, hip], joints[:, 1])


def test_the_17_joints_rotate_with_the_body() -> None:
    posed, betas = random_pose(1, 2), random_betas(1, 2)
    quarter = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    turned = torch.cat([quarter @ posed[:, :1], posed[:, 1:]], dim=1)
    expected = H36MJoints()(posed, betas) @ quarter.T
    torch.testing.assert_close(H36MJoints()(turned, betas), expected, atol=1e-5, rtol=0)


def test_a_batch_has_the_poses_of_the_frames_that_are_answered_for() -> None:
    """Three answers; the last one is two frames before the end of the sequence."""
    library = MotionLibrary([retarget(lively(40))], 9)
    batch = SyntheticKeypoints(library, answers=3, future_frames=2).sample_fixed(5)
    people = SyntheticPeople(library, answers=5).sample_fixed(5)
    assert batch.keypoints.shape == (5, 9, 17, 2)
    assert batch.poses.shape == (5, 3, 17, 3)
    for k in range(3):
        expected = H36MJoints()(people.rotations[:, k], people.betas)
        torch.testing.assert_close(batch.poses[:, k], expected)
    assert batch.poses[..., 0, :].abs().max() < 1e-6


def test_synthetic_keypoints_show_the_person_upright_and_of_plausible_size() -> None:
    batch = synthetic_keypoints(9, 1, 0).sample_fixed(200)
    height = batch.keypoints[..., 1].amax(-1) - batch.keypoints[..., 1].amin(-1)
    assert height.median() > 2.29 * 1.0 / 10
    assert height.median() < 2.29 * 1.9 / 1.6
    up = batch.keypoints[:, -1, H36M_NAMES.index("pelvis"), 1]
    up = up - batch.keypoints[:, -1, H36M_NAMES.index("head_top"), 1]
    assert (up > 0).float().mean() > 0.5, "y points down, as the poses' does"
    true = batch.poses[:, 0, H36M_NAMES.index("head_top"), 1] < 0
    assert ((up > 0) == true).float().mean() > 0.85
