"""Noise of the simulated landmark detector, one kind at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.faultless_detector import FRAMES, HEIGHT, PEOPLE, error_of, faultless, lag, people
from helpers.poses import random_betas, standing
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.evaluation.motion import faulty_detector
from stdformer_ros.evaluation.motion.scenes import standing_height
from stdformer_ros.perception.landmarks import ROI_MARGIN
from stdformer_ros.training.people import landmark_noise
from stdformer_ros.training.people.landmark_noise import disturb

__all__ = ["faultless"]

pytestmark = pytest.mark.usefixtures("faultless")

FACTOR = {
    "nose": 1.2, "ear": 0.8, "shoulder": 1.0, "elbow": 1.2, "wrist": 1.2, "index": 1.4, "hip": 1.0,
    "knee": 1.3, "ankle": 1.6, "heel": 1.8, "foot_index": 1.9,
}  # fmt: skip

FACTORS = torch.tensor([FACTOR[name.split("_", 1)[-1]] for name in LANDMARK_NAMES])

LIMBS = (
    {"nose", "left_ear", "right_ear"},
    {"left_shoulder", "right_shoulder", "left_hip", "right_hip"},
    *({f"{side}_{n}" for n in ("elbow", "wrist", "index")} for side in ("left", "right")),
    *({f"{side}_{n}" for n in ("knee", "ankle", "heel", "foot_index")}
      for side in ("left", "right")),
)  # fmt: skip


def test_a_perfect_detector_gives_the_truth() -> None:
    rays, points = people()
    disturbed, visibility = disturb(rays, points)
    torch.testing.assert_close(disturbed, rays)
    assert visibility.min() >= 0.7
    assert visibility.max() <= 1.0


# --- plain noise


def test_half_of_the_people_have_plain_noise_and_full_visibility(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "PLAIN", 0.5)
    monkeypatch.setattr(landmark_noise, "PLAIN_NOISE", 0.015)
    rays, points = people()
    disturbed, visibility = disturb(rays, points)
    plain = (visibility == 1).all(2).all(1)
    assert plain.float().mean().item() == pytest.approx(0.5, abs=0.08)
    assert (visibility[~plain] < 1).float().mean() > 0.99
    error = disturbed - rays
    assert error[~plain].abs().max() < 1e-6
    assert error[plain].std().item() == pytest.approx(0.015 * HEIGHT, rel=0.04)


def test_plain_noise_is_a_fraction_of_the_height_and_correlated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "PLAIN", 1.0)
    monkeypatch.setattr(landmark_noise, "PLAIN_NOISE", 0.015)
    error = error_of(*people())
    assert error.std().item() == pytest.approx(0.015 * HEIGHT, rel=0.02)
    assert error.mean().abs() < 1e-4
    assert lag(error, 1) == pytest.approx(0.7, abs=0.02)
    assert lag(error, 2) == pytest.approx(0.7**2, abs=0.02)
    # as large at the end of a sequence as at its beginning, and at each landmark
    assert (error[:, -1].std() / error[:, 0].std()).item() == pytest.approx(1.0, abs=0.05)
    each = error.square().mean((0, 1, 3)).sqrt() / HEIGHT
    assert each.numpy() == pytest.approx(np.full(21, 0.015), rel=0.08)
    between = torch.corrcoef(error[:, ::8, :, 0].flatten(0, 1).T)
    assert (between - torch.eye(21)).abs().max() < 0.15, "landmarks are independent"


def test_plain_noise_is_that_of_the_detector_in_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    training, evaluation = landmark_noise, faulty_detector
    assert training.PLAIN == 0.5
    assert training.PLAIN_NOISE == evaluation.NOISE == 0.015
    assert training.PLAIN_CORRELATION == evaluation.CORRELATION == 0.7
    # Perception corrects most of the exchanges before the estimator reads the landmarks.
    assert training.SWAP_RATE == 0.002 < evaluation.SWAPPED
    growth = np.hypot(evaluation.FOLLOWS_SIZE * evaluation.ROI_JITTER, evaluation.GROWTH)
    assert growth == pytest.approx(training.PLAIN_GROWTH, rel=0.05)
    shift = ROI_MARGIN * np.hypot(
        evaluation.FOLLOWS_PLACE * evaluation.ROI_JITTER, evaluation.SHIFT
    )
    assert shift == pytest.approx(training.SHIFT, rel=0.1)
    assert np.mean(evaluation.BURST_FRAMES) == training.BURST_FRAMES
    expected = training.BURST_RATE * training.BURST_FRAMES
    assert expected / (1 + expected) == pytest.approx(evaluation.LOST, rel=0.1)


# --- how large people are


@pytest.fixture
def all_plain(faultless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "PLAIN", 1.0)
    monkeypatch.setattr(landmark_noise, "PLAIN_NOISE", 0.015)


def noise_of(points: Tensor) -> Tensor:
    """(F, 21, 2), with the same random numbers at every call; points (21, 3) or (F, 21, 3)."""
    torch.manual_seed(5)
    points = points.expand(1, 2, -1, -1)
    return error_of(points[..., :2] / points[..., 2:], points)[0]


@pytest.mark.usefixtures("all_plain")
def test_noise_grows_with_the_stature_of_all_bodies() -> None:
    body = BodyModel(431)
    far = torch.tensor([0.0, 0.0, 4.0])
    usual = noise_of(standing() + far).std() / standing_height(body, torch.zeros(1, 10))
    for seed in range(10):
        betas = random_betas(seed)
        ours = noise_of(standing(betas=betas) + far).std() / standing_height(body, betas)
        assert (ours / usual).item() == pytest.approx(1.0, abs=0.035)


@pytest.mark.usefixtures("all_plain")
def test_noise_is_the_documented_part_of_the_stature() -> None:
    """STATURE converts the length of trunk and leg to the height from sole to crown."""
    points = (standing() + torch.tensor([0.0, 0.0, 4.0])).expand(PEOPLE, FRAMES, -1, -1)
    hip = float(points[0, 0, LANDMARK_NAMES.index("left_hip"), 2])
    stature = float(standing_height(BodyModel(431), torch.zeros(1, 10)))
    error = error_of(points[..., :2] / points[..., 2:], points)
    assert error.std().item() == pytest.approx(0.015 * stature / hip, rel=0.015)


@pytest.mark.usefixtures("all_plain")
def test_noise_is_the_same_for_lying_and_sitting_people() -> None:
    far = torch.tensor([0.0, 0.0, 4.0])
    hip = LANDMARK_NAMES.index("left_hip")
    upright = standing()
    upright = upright - upright[hip]  # the depth that counts is the left hip's
    expected = noise_of(upright + far)
    lying = upright[:, [1, 0, 2]]
    towards = upright[:, [0, 2, 1]]
    bent = upright.clone()
    knee, ankle = (LANDMARK_NAMES.index(f"left_{name}") for name in ("knee", "ankle"))
    thigh, shin = upright[knee] - upright[hip], upright[ankle] - upright[knee]
    bent[knee] = torch.tensor([0.0, 0.0, -1.0]) * thigh.norm()
    bent[ankle] = bent[knee] + torch.tensor([0.0, 1.0, 0.0]) * shin.norm()
    for points in (lying, towards, bent):
        torch.testing.assert_close(noise_of(points + far), expected, atol=1e-5, rtol=1e-3)


@pytest.mark.usefixtures("all_plain")
def test_noise_is_half_as_large_at_twice_the_distance() -> None:
    near = noise_of(standing() + torch.tensor([0.0, 0.0, 3.0]))
    far = standing() + torch.tensor([0.0, 0.0, 6.0])
    hip = standing()[LANDMARK_NAMES.index("left_hip"), 2].item()
    ratio = (3 + hip) / (6 + hip)
    torch.testing.assert_close(noise_of(far), ratio * near, atol=1e-6, rtol=1e-3)
    walking = torch.stack([standing() + torch.tensor([0.0, 0.0, 3.0]), far])
    both = noise_of(walking)
    torch.testing.assert_close(both[0], near[0], atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(both[1], ratio * near[1], atol=1e-6, rtol=1e-3)


# --- realistic noise


def test_slow_noise_is_correlated_and_has_each_landmarks_factor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "SLOW_NOISE", (0.01, 0.01))
    monkeypatch.setattr(landmark_noise, "CORRELATION", (0.8, 0.8))
    error = error_of(*people())
    each = error.square().mean((0, 1, 3)).sqrt() / HEIGHT
    assert each.numpy() == pytest.approx(0.01 * FACTORS.numpy(), rel=0.08)
    assert lag(error, 1) == pytest.approx(0.8, abs=0.02)
    assert lag(error, 2) == pytest.approx(0.64, abs=0.03)


def test_fast_noise_is_independent_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "FAST_NOISE", (0.005, 0.005))
    error = error_of(*people())
    each = error.square().mean((0, 1, 3)).sqrt() / HEIGHT
    assert each.numpy() == pytest.approx(0.005 * FACTORS.numpy(), rel=0.04)
    assert lag(error, 1) == pytest.approx(0.0, abs=0.01)
    between = torch.corrcoef(error[..., 0].flatten(0, 1).T)
    assert (between - torch.eye(21)).abs().max() < 0.06


def test_landmarks_of_a_limb_share_noise_and_limbs_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "SLOW_NOISE", (0.01, 0.01))
    monkeypatch.setattr(landmark_noise, "CORRELATION", (0.0, 0.0))  # more independent frames
    error = error_of(*people())
    expected = torch.eye(21)
    for i, a in enumerate(LANDMARK_NAMES):
        for j, b in enumerate(LANDMARK_NAMES):
            if i != j and any(a in limb and b in limb for limb in LIMBS):
                expected[i, j] = 0.5
    for axis in (0, 1):
        between = torch.corrcoef(error[..., axis].flatten(0, 1).T)
        assert (between - expected).abs().max() < 0.05
    across = torch.corrcoef(error.flatten(0, 1).flatten(1).T)[::2, 1::2]
    assert across.abs().max() < 0.05, "x and y are independent"


@pytest.mark.parametrize(("name", "low", "high"), [("SLOW_NOISE", 0.004, 0.016),
                                                   ("FAST_NOISE", 0.0015, 0.006)])  # fmt: skip
def test_noise_levels_vary_between_people_as_documented(
    monkeypatch: pytest.MonkeyPatch, name: str, low: float, high: float
) -> None:
    """Levels are spread evenly around the geometric mean of the documented limits."""
    monkeypatch.setattr(landmark_noise, name, (low, high))
    monkeypatch.setattr(landmark_noise, "CORRELATION", (0.0, 0.0))
    level = (error_of(*people()) / FACTORS[:, None]).flatten(1).std(1) / HEIGHT
    assert 0.85 * low < level.min() < 1.15 * low
    assert 0.85 * high < level.max() < 1.2 * high
    middle = (low * high) ** 0.5
    assert level.log().mean().exp().item() == pytest.approx(middle, rel=0.06)


def test_correlations_vary_between_people_as_documented(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "SLOW_NOISE", (0.01, 0.01))
    assert landmark_noise.CORRELATION == (0.6, 0.9)
    error = error_of(*people()) / FACTORS[:, None]
    each = (error[:, 1:] * error[:, :-1]).mean((1, 2, 3)) / error.square().mean((1, 2, 3))
    assert each.mean().item() == pytest.approx(0.75, abs=0.03)
    # 0.3 / sqrt(12), plus the uncertainty of an estimate from one sequence
    assert 0.07 < each.std() < 0.13
    assert 0.45 < each.min() < 0.65
    assert 0.85 < each.max() < 1.0


def test_the_documented_sizes_of_realistic_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert landmark_noise.SLOW_NOISE == (0.004, 0.016)
    assert landmark_noise.FAST_NOISE == (0.0015, 0.006)
    assert (landmark_noise.SHARED, landmark_noise.BIAS) == (0.5, 0.01)
    assert landmark_noise.TRUNCATED == 0.3
    assert FACTORS.tolist() == pytest.approx(landmark_noise.FACTORS)


def test_all_kinds_of_noise_add_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For shoulders with realistic noise: slow, fast, bias and shift; growth is small there."""
    monkeypatch.undo()
    monkeypatch.setattr(landmark_noise, "PLAIN", 0.0)
    for name in ("SWAP_RATE", "TRUNCATED", "GROWTH"):
        monkeypatch.setattr(landmark_noise, name, 0.0)
    rows = [LANDMARK_NAMES.index(f"{side}_shoulder") for side in ("left", "right")]
    error = error_of(*people())[:, :, rows] / HEIGHT

    def mean_square(low: float, high: float) -> float:
        return float((high**2 - low**2) / (2 * np.log(high / low)))

    expected = (
        mean_square(0.004, 0.016) + mean_square(0.0015, 0.006) + 0.01**2 / 3 + 0.004**2
    ) ** 0.5
    assert error.square().mean().sqrt().item() == pytest.approx(expected, rel=0.06)


def test_bias_is_constant_and_different_for_each_landmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "BIAS", 0.01)
    error = error_of(*people())
    assert (error - error[:, :1]).abs().max() < 1e-6
    between = torch.corrcoef(error[:, 0, :, 0].T)
    assert (between - torch.eye(len(between))).abs().max() < 0.25
    # Uniform from 0 to the documented maximum.
    level = error[:, 0].flatten(1).std(1) / HEIGHT
    assert level.square().mean().sqrt().item() == pytest.approx(0.01 / 3**0.5, rel=0.08)
    assert level.min() < 0.0005
    assert 0.009 < level.max() < 0.0135
