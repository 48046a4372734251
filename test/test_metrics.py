"""The error measures of human mesh recovery."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from stdformer_ros.metrics import (
    acceleration_error,
    aligned_position_error,
    mean_position_error,
    procrustes,
)


def random_bodies(seed: int = 0, count: int = 3, points: int = 14) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, points, 3)))


def test_a_shift_of_three_four_and_zero_centimetres_is_fifty_millimetres() -> None:
    true = random_bodies()
    shifted = true + torch.tensor([0.03, 0.04, 0.0])
    assert mean_position_error(shifted, true).tolist() == pytest.approx([50.0] * 3)


def test_the_error_is_the_mean_of_the_distances_and_not_their_root_mean_square() -> None:
    true = torch.zeros(1, 2, 3)
    wrong = torch.tensor([[[0.1, 0, 0], [0, 0, 0.3]]])
    assert mean_position_error(wrong, true).item() == pytest.approx(200.0)


def test_every_body_has_its_own_error() -> None:
    true = random_bodies()
    wrong = true.clone()
    wrong[1, :, 0] += 0.01
    assert mean_position_error(wrong, true).tolist() == pytest.approx([0.0, 10.0, 0.0])


@given(st.integers(0, 10_000), st.floats(0.1, 10.0))
def test_procrustes_undoes_any_similarity(seed: int, scale: float) -> None:
    true = random_bodies(seed)
    rotation = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    moved = scale * true @ rotation + torch.tensor([5.0, -2.0, 1.0])
    assert torch.allclose(procrustes(moved, true), true, atol=1e-9)
    assert aligned_position_error(moved, true).max() < 1e-5


def test_procrustes_does_not_mirror() -> None:
    true = random_bodies()
    mirrored = true * torch.tensor([-1.0, 1.0, 1.0])
    assert aligned_position_error(mirrored, true).min() > 100.0


def test_procrustes_finds_the_best_similarity() -> None:
    """No rotation, scale or translation near it is better."""
    true = random_bodies(1, count=1)
    predicted = true + 0.3 * random_bodies(2, count=1)
    best = procrustes(predicted, true)
    error = (best - true).square().sum()
    centre = best.mean(1, keepdim=True)
    rng = np.random.default_rng(0)
    for _ in range(50):
        turn = torch.from_numpy(Rotation.from_rotvec(0.02 * rng.normal(size=3)).as_matrix())
        scale = 1 + 0.02 * rng.normal()
        shift = torch.from_numpy(0.02 * rng.normal(size=3))
        other = (best - centre) @ turn * scale + centre + shift
        assert (other - true).square().sum() > error


def test_alignment_never_makes_the_squared_error_worse() -> None:
    true, predicted = random_bodies(1, count=20), random_bodies(2, count=20)
    before = (predicted - true).square().sum((1, 2))
    after = (procrustes(predicted, true) - true).square().sum((1, 2))
    assert (after <= before).all()


def test_procrustes_of_a_single_point_is_finite() -> None:
    true = random_bodies()
    assert torch.isfinite(procrustes(torch.zeros_like(true), true)).all()


def test_constant_velocity_has_no_acceleration() -> None:
    still = random_bodies(count=1).expand(10, -1, -1)
    time = torch.arange(10.0)[:, None, None]
    moving = still + time * torch.tensor([0.1, 0.2, -0.3])
    assert acceleration_error(moving, still).item() == pytest.approx(0.0, abs=1e-3)


def test_acceleration_is_in_millimetres_per_squared_frame() -> None:
    still = torch.zeros(10, 5, 3)
    time = torch.arange(10.0)[:, None, None]
    accelerating = still + 0.5 * time.square() * torch.tensor([0.0, 0.003, 0.004])
    assert acceleration_error(accelerating, still).item() == pytest.approx(5.0, rel=1e-3)


def test_only_the_difference_of_accelerations_counts() -> None:
    motion = random_bodies(count=12)
    assert acceleration_error(motion + 0.4, motion).item() == pytest.approx(0.0, abs=1e-9)
