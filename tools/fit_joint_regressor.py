"""Fits joints as convex combinations of the 431 coarse vertices, over random shapes and poses."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation

SAMPLES = 400
BEND_DEGREES = 35.0
"""Standard deviation of the random joint angles: a regressor fitted on the rest pose alone fails at
bent joints."""


def fit_joint_regressor(
    arrays: dict[str, np.ndarray], names: tuple[str, ...]
) -> tuple[np.ndarray, float]:
    """Non-negative weights (24, 431) whose rows sum to one.

    Args:
        arrays: the body asset so far.
        names: the joints' names.

    Returns:
        The regressor and its mean error in metres on held-out samples.
    """
    rng = np.random.default_rng(0)
    index = arrays["index_431"].astype(np.int64)
    vertices, joints = zip(*(_random_body(arrays, index, rng) for _ in range(SAMPLES)), strict=True)
    vertices_, joints_ = np.stack(vertices), np.stack(joints)
    half = SAMPLES // 2
    regressor = np.zeros((len(names), len(index)))
    for joint in range(len(names)):
        near = _near(arrays, index, joint)
        a = np.concatenate([vertices_[:half, near].transpose(0, 2, 1).reshape(-1, len(near))])
        b = joints_[:half, joint].reshape(-1)
        # the last row, of large weight, asks for a sum of one: translations then move the joint
        weight, _ = nnls(np.vstack([a, np.full(len(near), 1e3)]), np.append(b, 1e3))
        regressor[joint, near] = weight / weight.sum()
    predicted = np.einsum("jv,nvc->njc", regressor, vertices_[half:])
    return regressor, float(np.linalg.norm(predicted - joints_[half:], axis=-1).mean())


def _near(arrays: dict[str, np.ndarray], index: np.ndarray, joint: int) -> np.ndarray:
    """The indices (40,) of the coarse vertices that are nearest to a joint."""
    distance = np.linalg.norm(
        arrays["v_template"][index] - arrays["joints_template"][joint], axis=1
    )
    return np.argsort(distance)[:40]


def _random_body(
    arrays: dict[str, np.ndarray], index: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Coarse vertices (431, 3) and joints (24, 3) of a random shape in a random pose."""
    betas = rng.standard_normal(arrays["shapedirs"].shape[-1])
    rest = arrays["v_template"][index] + arrays["shapedirs"][index].astype(np.float64) @ betas
    joints = arrays["joints_template"] + arrays["joints_shapedirs"] @ betas
    parents = arrays["parents"]
    local = Rotation.from_rotvec(
        np.radians(BEND_DEGREES) * rng.standard_normal((len(parents), 3))
    ).as_matrix()
    rotations, positions = local.copy(), joints.copy()
    for j in range(1, len(parents)):
        p = parents[j]
        rotations[j] = rotations[p] @ local[j]
        positions[j] = positions[p] + rotations[p] @ (joints[j] - joints[p])
    influences = arrays["weights_index"][index]
    values = arrays["weights_value"][index].astype(np.float64)
    offset = rest[:, None] - joints[influences]
    moved = np.einsum("vkij,vkj->vki", rotations[influences], offset) + positions[influences]
    return (values[..., None] * moved).sum(1), positions
