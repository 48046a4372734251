"""The joint regressors give joints, whatever the pose."""

import numpy as np
import torch

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.joint_regressors import (
    EVALUATION_ORDER,
    H36M_NAMES,
    h36m_joint_regressor,
    smpl_joint_regressor,
)
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.training.people.synthetic import _about


def posed_body():
    """A sitting person who raises the left arm."""
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    for joint, axis, angle in (
        ("left_hip", 0, -1.4), ("right_hip", 0, -1.4), ("left_knee", 0, 1.4),
        ("right_knee", 0, 1.4), ("left_shoulder", 2, 1.2), ("right_shoulder", 2, 1.3),
    ):  # fmt: skip
        rotations[:, JOINT_NAMES.index(joint)] = _about(axis, torch.tensor([angle]))
    vertices, joints = BodyModel()(rotations, torch.zeros(1, 10))
    return vertices[0].numpy(), joints[0].numpy()


def test_rows_are_weighted_means():
    for regressor in (smpl_joint_regressor(), h36m_joint_regressor()):
        assert (regressor >= 0).all()
        np.testing.assert_allclose(regressor.sum(1), 1.0, atol=1e-5)


def test_the_24_joints_are_found_within_three_centimetres_on_a_bent_body():
    vertices, joints = posed_body()
    errors = np.linalg.norm(smpl_joint_regressor() @ vertices - joints, axis=1)
    assert errors.mean() < 0.012
    assert errors.max() < 0.03


def test_h36m_joints_lie_where_their_names_say():
    vertices, joints = posed_body()
    found = dict(zip(H36M_NAMES, h36m_joint_regressor() @ vertices, strict=True))
    for name in ("left_knee", "right_wrist", "neck"):
        assert np.linalg.norm(found[name] - joints[JOINT_NAMES.index(name)]) < 0.03
    assert found["head_top"][1] > found["head"][1] > found["neck"][1]
    # Human3.6M's bones from the neck to the head and on to its top are about equally long
    lower, upper = (np.linalg.norm(found["head"] - found[name]) for name in ("neck", "head_top"))
    assert 0.8 < lower / upper < 1.25
    assert found["neck"][1] > found["torso"][1] > found["pelvis"][1]


def test_the_evaluated_joints_are_the_published_ones():
    assert [H36M_NAMES[i] for i in EVALUATION_ORDER] == [
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist", "neck", "head_top",
    ]  # fmt: skip
