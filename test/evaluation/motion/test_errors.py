"""Errors of `cli evaluate --motion`: known errors give known numbers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from stdformer_ros.evaluation.motion.errors import (
    FrameErrors,
    lag_frames,
    summary,
    summary_where,
    velocity_correlation,
)


def skeletons(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random joints (count, 14, 3) and pelvis (count, 3), three metres from the camera."""
    rng = np.random.default_rng(seed)
    pelvis = rng.normal(loc=(0.0, 0.0, 3.0), size=(count, 3))
    return pelvis[:, None] + 0.4 * rng.normal(size=(count, 14, 3)), pelvis


compare = partial(FrameErrors.of, true_height=1.7)


def test_the_truth_has_no_error() -> None:
    joints, pelvis = skeletons(20)
    row = summary([compare(joints, pelvis, joints, pelvis, mpvpe=np.zeros(20))])
    assert row["frames"] == 20
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "accel_mm_per_frame2"):
        assert row[key] == pytest.approx(0.0, abs=1e-3)
    assert row["translation_jump_mm"] == row["translation_error_mm"] == 0.0


def test_one_of_14_joints_wrong_by_14_mm_is_a_mean_error_of_1_mm() -> None:
    joints, pelvis = skeletons(10)
    wrong = joints.copy()
    wrong[:, 3, 1] += 0.014
    row = summary([compare(wrong, pelvis, joints, pelvis)])
    assert row["mpjpe_mm"] == pytest.approx(1.0)
    assert row["accel_mm_per_frame2"] == pytest.approx(0.0, abs=1e-6)
    assert row["mpvpe_mm"] is None


def test_a_body_in_the_wrong_place_has_only_a_translation_error() -> None:
    joints, pelvis = skeletons(10)
    away = np.array([0.0, 0.3, 0.4])
    row = summary([compare(joints + away, pelvis + away, joints, pelvis)])
    assert row["mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
    assert row["translation_error_mm"] == pytest.approx(500.0)
    assert row["translation_jump_mm"] == pytest.approx(0.0, abs=1e-6)
    alternating = away * (np.arange(10) % 2)[:, None]
    row = summary([compare(joints + alternating[:, None], pelvis + alternating, joints, pelvis)])
    assert row["translation_jump_mm"] == pytest.approx(500.0)


def test_pa_mpjpe_ignores_rotation_and_scale() -> None:
    joints, pelvis = skeletons(5)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    turn = (turn * torch.linalg.det(turn)).double().numpy()
    row = summary([compare(0.8 * joints @ turn, 0.8 * pelvis @ turn, joints, pelvis)])
    assert row["pa_mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
    assert row["mpjpe_mm"] > 100


def test_accel_is_the_second_difference_of_the_error() -> None:
    """Every joint alternates by +-1 mm around the truth: second differences of 4 mm."""
    joints, pelvis = skeletons(10)
    alternating = joints.copy()
    alternating[..., 0] += 1e-3 * (-1.0) ** np.arange(10)[:, None]
    row = summary([compare(alternating, pelvis, joints, pelvis)])
    assert row["accel_mm_per_frame2"] == pytest.approx(4.0)


def test_means_are_over_frames_not_over_clips() -> None:
    joints, pelvis = skeletons(30)
    wrong = joints.copy()
    wrong[:, :, 1] += 0.010
    long = compare(joints, pelvis, joints, pelvis)
    short = compare(wrong[:10], pelvis[:10], joints[:10], pelvis[:10])
    assert summary([long, short])["mpjpe_mm"] == pytest.approx(2.5)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_clip_too_short_for_accel_has_none(frames: int) -> None:
    joints, pelvis = skeletons(frames)
    row = summary([compare(joints, pelvis, joints, pelvis)])
    assert (row["accel_mm_per_frame2"], row["lag_frames"]) == (None, None)
    assert row["mpjpe_mm"] == 0.0


# --- heights and chosen frames


def errors_of(height: np.ndarray, true_height: float) -> FrameErrors:
    joints = np.random.default_rng(0).normal(size=(len(height), 14, 3))
    pelvis = np.zeros((len(height), 3))
    return FrameErrors.of(joints, pelvis, joints, pelvis, true_height=true_height, height=height)


def test_the_spread_of_heights_is_within_scenes() -> None:
    steady, alternating = np.full(10, 1.8), 1.6 + 0.1 * (-1.0) ** np.arange(10)
    row = summary([errors_of(steady, 1.7), errors_of(alternating, 1.6)])
    assert row["height_m"] == pytest.approx(1.7)
    assert row["height_std_m"] == pytest.approx(0.05)  # of 0 and 0.1
    assert row["height_error_m"] == pytest.approx(0.1)


def test_means_over_chosen_frames_of_several_scenes() -> None:
    joints, pelvis = np.zeros((4, 14, 3)), np.zeros((4, 3))
    wrong = joints + np.array([0.0, 0.01, 0.02, 0.03])[:, None, None] * [1.0, 0.0, 0.0]
    errors = FrameErrors.of(wrong, pelvis, joints, pelvis, true_height=1.7)
    row = summary_where([errors, errors], [np.array([1, 1, 0, 0], bool), np.arange(4) == 3])
    assert row["frames"] == 3
    assert row["mpjpe_mm"] == pytest.approx((0 + 10 + 30) / 3, abs=1e-3)
    nothing = summary_where([errors], [np.zeros(4, bool)])
    assert (nothing["frames"], nothing["mpjpe_mm"]) == (0, None)


# --- lag


def swinging(frames: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    time = np.arange(frames)[:, None, None]
    return np.sin(rng.uniform(0.1, 0.3, (1, 14, 3)) * time + rng.uniform(0, 6, (1, 14, 3)))


@pytest.mark.parametrize("delay", [0, 1, 3, 7])
def test_a_delayed_answer_has_that_lag(delay: int) -> None:
    true = swinging(200)
    delayed = np.concatenate([np.repeat(true[:1], delay, axis=0), true[: 200 - delay]])
    assert lag_frames(velocity_correlation(delayed, true)) == pytest.approx(delay, abs=0.05)


def test_a_lag_of_half_a_frame_is_measured() -> None:
    true = swinging(200)
    between = true.copy()
    between[1:] = 0.5 * (true[1:] + true[:-1])
    assert lag_frames(velocity_correlation(between, true)) == pytest.approx(0.5, abs=0.05)


def test_noise_is_not_measured_as_lag() -> None:
    true = swinging(300)
    noisy = true + 0.05 * np.random.default_rng(1).normal(size=true.shape)
    assert lag_frames(velocity_correlation(noisy, true)) == pytest.approx(0.0, abs=0.15)
