"""Quaternions x, y, z, w, against SciPy."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from stdformer_ros.training.people.quaternions import (
    quaternion_from_vector,
    quaternion_power,
    quaternion_product,
    quaternion_to_matrix,
)


def test_quaternions_of_vectors_are_those_of_scipy() -> None:
    vectors = np.random.default_rng(0).normal(size=(100, 3))
    vectors[0] = 0.0
    ours = quaternion_from_vector(torch.from_numpy(vectors)).numpy()
    theirs = Rotation.from_rotvec(vectors).as_quat()
    np.testing.assert_allclose(ours * np.sign(ours[:, 3:] * theirs[:, 3:]), theirs, atol=1e-12)


def test_the_right_factor_of_a_product_turns_first() -> None:
    a, b = Rotation.random(100, random_state=0), Rotation.random(100, random_state=1)
    ours = quaternion_product(*(torch.from_numpy(r.as_quat()) for r in (a, b)))
    both = Rotation.from_quat(ours.numpy())
    np.testing.assert_allclose(both.as_matrix(), (a * b).as_matrix(), atol=1e-12)


def test_quaternions_become_the_matrices_that_scipy_makes_of_them() -> None:
    rotations = Rotation.random(100, random_state=0)
    ours = quaternion_to_matrix(torch.from_numpy(rotations.as_quat()))
    np.testing.assert_allclose(ours, rotations.as_matrix(), atol=1e-12)


def test_a_power_multiplies_the_angle_the_short_way_round() -> None:
    rotations = Rotation.random(100, random_state=2)
    exponents = np.random.default_rng(3).uniform(0.0, 1.6, (100, 1))
    expected = Rotation.from_rotvec(exponents * rotations.as_rotvec()).as_matrix()
    for sign in (1.0, -1.0):  # both mean the same rotation
        quaternions = torch.from_numpy(sign * rotations.as_quat())
        ours = quaternion_power(quaternions, torch.from_numpy(exponents))
        np.testing.assert_allclose(quaternion_to_matrix(ours), expected, atol=1e-12)


def test_no_rotation_has_every_power() -> None:
    nothing = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    assert torch.equal(quaternion_power(nothing, torch.tensor([[1.5]])), nothing)
