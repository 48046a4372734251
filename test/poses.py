"""Random poses and shapes of the body for the tests, the same at every run."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor


def random_pose(seed: int, count: int = 1, degrees: float = 40.0) -> Tensor:
    """(count, 24, 3, 3), every joint turned by about so many degrees about each axis."""
    vectors = np.radians(degrees) * np.random.default_rng(seed).normal(size=(count * 24, 3))
    matrices = Rotation.from_rotvec(vectors).as_matrix().reshape(count, 24, 3, 3)
    return torch.from_numpy(matrices).float()


def random_betas(seed: int, count: int = 1) -> Tensor:
    """(count, 10)."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 10))).float()
