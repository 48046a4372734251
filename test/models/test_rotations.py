"""Rotation matrices from six numbers, from any matrix, and from a direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stdformer_ros.models.rotations import (
    rotation_from_6d,
    rotation_from_matrix,
    rotation_to_z,
)


@given(st.floats(-80, 80), st.floats(-80, 80))
def test_rotation_to_z_turns_the_direction_onto_the_axis_the_short_way(
    pitch: float, yaw: float
) -> None:
    direction = torch.from_numpy(
        Rotation.from_euler("xy", [pitch, yaw], degrees=True).apply([0.0, 0.0, 1.0])
    ).float()
    turn = rotation_to_z(direction[None] * 3)[0]
    torch.testing.assert_close(turn @ direction, torch.tensor([0.0, 0.0, 1.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(turn @ turn.T, torch.eye(3), atol=1e-5, rtol=0)
    angle = np.arccos(np.clip(float(direction[2]), -1, 1))
    assert Rotation.from_matrix(turn.numpy()).magnitude() == pytest.approx(angle, abs=1e-3)


@given(st.integers(0, 1000))
def test_six_numbers_make_a_rotation_whose_first_column_is_the_first_three(seed: int) -> None:
    six = torch.randn(5, 6, generator=torch.Generator().manual_seed(seed))
    rotations = rotation_from_6d(six)
    torch.testing.assert_close(
        rotations @ rotations.transpose(1, 2), torch.eye(3).expand(5, 3, 3), atol=1e-4, rtol=0
    )
    assert (torch.linalg.det(rotations) > 0.99).all()
    first = six[:, :3] / six[:, :3].norm(dim=-1, keepdim=True)
    torch.testing.assert_close(rotations[..., 0], first)


def test_the_columns_of_a_rotation_give_it_back() -> None:
    rotations = torch.from_numpy(Rotation.random(20, random_state=0).as_matrix())
    six = torch.cat([rotations[..., 0], rotations[..., 1]], dim=-1)
    torch.testing.assert_close(rotation_from_6d(six), rotations)


def test_the_rotation_of_a_matrix_is_the_nearest_one() -> None:
    """Scipy gives the nearest rotation of a matrix, too."""
    rotations = Rotation.random(20, random_state=0).as_matrix()
    noise = np.random.default_rng(0).normal(size=rotations.shape, scale=0.2)
    matrices = rotations + noise
    assert (np.linalg.det(matrices) > 0).all()
    found = rotation_from_matrix(torch.from_numpy(matrices)).numpy()
    np.testing.assert_allclose(found, Rotation.from_matrix(matrices).as_matrix(), atol=1e-12)


def test_a_reflection_is_negated_as_published() -> None:
    rotations = Rotation.random(5, random_state=1).as_matrix()
    found = rotation_from_matrix(torch.from_numpy(-rotations)).numpy()
    np.testing.assert_allclose(found, rotations, atol=1e-12)
