"""Random poses and shapes of the body for the tests, the same at every run."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from stdformer_ros.body.body_landmarks import BodyLandmarks
from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.body.skeleton import JOINT_NAMES


def random_pose(seed: int, count: int = 1, degrees: float = 40.0) -> Tensor:
    """(count, 24, 3, 3), every joint turned by about so many degrees about each axis."""
    vectors = np.radians(degrees) * np.random.default_rng(seed).normal(size=(count * 24, 3))
    matrices = Rotation.from_rotvec(vectors).as_matrix().reshape(count, 24, 3, 3)
    return torch.from_numpy(matrices).float()


def random_betas(seed: int, count: int = 1) -> Tensor:
    """(count, 10)."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 10))).float()


def landmarks_of(rotations: Tensor, betas: Tensor) -> Tensor:
    """(B, 21, 3) metres around the pelvis, of bodies of rotations (B, 24, 3, 3), betas (B, 10)."""
    body = BodyModel(108)
    rest = body.joints_template + torch.einsum("jck,bk->bjc", body.joints_shapedirs, betas)
    turns, joints = forward_kinematics(rotations, rest)
    return BodyLandmarks()(turns, joints, rest, betas)


def standing(arms: float = 0.0, betas: Tensor | None = None) -> Tensor:
    """(21, 3) of somebody upright who faces a camera, arms raised by so many degrees."""
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        turn = Rotation.from_euler("z", sign * arms, degrees=True).as_matrix()
        rotations[:, JOINT_NAMES.index(f"{side}_shoulder")] = torch.from_numpy(turn).float()
    return landmarks_of(rotations, torch.zeros(1, 10) if betas is None else betas)[0]
