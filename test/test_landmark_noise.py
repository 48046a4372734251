"""What the simulated detector does to the truth, one fault at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from poses import random_betas, standing
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.landmarks import LANDMARK_MIRROR, LANDMARK_NAMES
from stdformer_ros.evaluation import faulty_detector
from stdformer_ros.evaluation.motion_scenes import standing_height
from stdformer_ros.perception.landmarks import ROI_MARGIN
from stdformer_ros.training import landmark_noise
from stdformer_ros.training.landmark_noise import disturb

PEOPLE, FRAMES = 400, 24
HEIGHT = 0.5
"""Of the people below from sole to crown, at unit depth."""
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
WRIST = LANDMARK_NAMES.index("left_wrist")


@pytest.fixture(autouse=True)
def faultless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A perfect detector, to which each test adds the fault that it is about."""
    torch.manual_seed(0)
    for name in ("PLAIN", "PLAIN_NOISE", "SHIFT", "GROWTH", "PLAIN_GROWTH", "BIAS", "BURST_RATE",
                 "SWAP_RATE", "TRUNCATED"):  # fmt: skip
        monkeypatch.setattr(landmark_noise, name, 0.0)
    # drawn on a logarithmic scale, so that they cannot be 0
    for name in ("SLOW_NOISE", "FAST_NOISE"):
        monkeypatch.setattr(landmark_noise, name, (1e-12, 1e-12))


def people(points: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rays and points of people who stand still and face the camera, all landmarks in sight."""
    body = BodyModel(431)
    stature = float(standing_height(body, torch.zeros(1, 10)))
    points = standing() if points is None else points
    points = points + torch.tensor([0.0, 0.0, stature / HEIGHT])
    # equally far away, so that nothing hides anything
    points[..., 2] = stature / HEIGHT
    points = points.expand(PEOPLE, FRAMES, -1, -1)
    return points[..., :2] / points[..., 2:], points


def error_of(rays: Tensor, points: Tensor) -> Tensor:
    return disturb(rays, points)[0] - rays


def lag(error: Tensor, frames: int) -> float:
    """Correlation with so many frames later."""
    return float((error[:, frames:] * error[:, :-frames]).mean() / error.square().mean())


def steady(visibility: Tensor) -> Tensor:
    """(B, L) bool: exactly as visible in all frames, as what is hidden or cut off is."""
    return (visibility == visibility[:, :1]).all(1)


def test_a_perfect_detector_gives_the_truth() -> None:
    rays, points = people()
    disturbed, visibility = disturb(rays, points)
    torch.testing.assert_close(disturbed, rays)
    assert visibility.min() >= 0.7
    assert visibility.max() <= 1.0


# --- the plain half


def test_half_of_the_people_have_plain_noise_and_everything_visible(
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


def test_plain_noise_is_a_part_of_the_stature_and_lasts_from_frame_to_frame(
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
    assert (between - torch.eye(21)).abs().max() < 0.15, "each for itself"


def test_the_plain_half_is_the_detector_by_which_evaluate_judges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    ours, judge = landmark_noise, faulty_detector
    assert ours.PLAIN == 0.5
    assert ours.PLAIN_NOISE == judge.NOISE == 0.015
    assert ours.PLAIN_CORRELATION == judge.CORRELATION == 0.7
    # perception undoes exchanges before a model sees them, all but some
    assert ours.SWAP_RATE == 0.002 < judge.SWAPPED
    growth = np.hypot(judge.FOLLOWS_SIZE * judge.ROI_JITTER, judge.GROWTH)
    assert growth == pytest.approx(ours.PLAIN_GROWTH, rel=0.05)
    shift = ROI_MARGIN * np.hypot(judge.FOLLOWS_PLACE * judge.ROI_JITTER, judge.SHIFT)
    assert shift == pytest.approx(ours.SHIFT, rel=0.1)
    assert np.mean(judge.BURST_FRAMES) == ours.BURST_FRAMES
    expected = ours.BURST_RATE * ours.BURST_FRAMES
    assert expected / (1 + expected) == pytest.approx(judge.LOST, rel=0.1)


# --- how large people are


@pytest.fixture
def all_plain(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """STATURE leads from the length of trunk and leg to that from sole to crown."""
    points = (standing() + torch.tensor([0.0, 0.0, 4.0])).expand(PEOPLE, FRAMES, -1, -1)
    hip = float(points[0, 0, LANDMARK_NAMES.index("left_hip"), 2])
    stature = float(standing_height(BodyModel(431), torch.zeros(1, 10)))
    error = error_of(points[..., :2] / points[..., 2:], points)
    assert error.std().item() == pytest.approx(0.015 * stature / hip, rel=0.015)


@pytest.mark.usefixtures("all_plain")
def test_who_lies_or_sits_is_seen_no_better() -> None:
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
def test_noise_is_half_as_large_twice_as_far_away_in_each_frame() -> None:
    near = noise_of(standing() + torch.tensor([0.0, 0.0, 3.0]))
    far = standing() + torch.tensor([0.0, 0.0, 6.0])
    hip = standing()[LANDMARK_NAMES.index("left_hip"), 2].item()
    ratio = (3 + hip) / (6 + hip)
    torch.testing.assert_close(noise_of(far), ratio * near, atol=1e-6, rtol=1e-3)
    walking = torch.stack([standing() + torch.tensor([0.0, 0.0, 3.0]), far])
    both = noise_of(walking)
    torch.testing.assert_close(both[0], near[0], atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(both[1], ratio * near[1], atol=1e-6, rtol=1e-3)


# --- the other half


def test_slow_noise_lasts_and_is_as_large_as_each_landmarks_factor_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "SLOW_NOISE", (0.01, 0.01))
    monkeypatch.setattr(landmark_noise, "CORRELATION", (0.8, 0.8))
    error = error_of(*people())
    each = error.square().mean((0, 1, 3)).sqrt() / HEIGHT
    assert each.numpy() == pytest.approx(0.01 * FACTORS.numpy(), rel=0.08)
    assert lag(error, 1) == pytest.approx(0.8, abs=0.02)
    assert lag(error, 2) == pytest.approx(0.64, abs=0.03)


def test_fast_noise_is_new_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "FAST_NOISE", (0.005, 0.005))
    error = error_of(*people())
    each = error.square().mean((0, 1, 3)).sqrt() / HEIGHT
    assert each.numpy() == pytest.approx(0.005 * FACTORS.numpy(), rel=0.04)
    assert lag(error, 1) == pytest.approx(0.0, abs=0.01)
    between = torch.corrcoef(error[..., 0].flatten(0, 1).T)
    assert (between - torch.eye(21)).abs().max() < 0.06


def test_landmarks_of_a_limb_err_together_and_limbs_do_not(
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
def test_some_people_are_seen_more_sharply_than_others(
    monkeypatch: pytest.MonkeyPatch, name: str, low: float, high: float
) -> None:
    """As many below the geometric mean of the documented limits as above."""
    monkeypatch.setattr(landmark_noise, name, (low, high))
    monkeypatch.setattr(landmark_noise, "CORRELATION", (0.0, 0.0))
    level = (error_of(*people()) / FACTORS[:, None]).flatten(1).std(1) / HEIGHT
    assert 0.85 * low < level.min() < 1.15 * low
    assert 0.85 * high < level.max() < 1.2 * high
    middle = (low * high) ** 0.5
    assert level.log().mean().exp().item() == pytest.approx(middle, rel=0.06)


def test_errors_of_some_people_last_longer_than_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "SLOW_NOISE", (0.01, 0.01))
    assert landmark_noise.CORRELATION == (0.6, 0.9)
    error = error_of(*people()) / FACTORS[:, None]
    each = (error[:, 1:] * error[:, :-1]).mean((1, 2, 3)) / error.square().mean((1, 2, 3))
    assert each.mean().item() == pytest.approx(0.75, abs=0.03)
    # 0.3 / sqrt(12) and what a single sequence leaves open
    assert 0.07 < each.std() < 0.13
    assert 0.45 < each.min() < 0.65
    assert 0.85 < each.max() < 1.0


def test_the_realistic_halfs_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert landmark_noise.SLOW_NOISE == (0.004, 0.016)
    assert landmark_noise.FAST_NOISE == (0.0015, 0.006)
    assert (landmark_noise.SHARED, landmark_noise.BIAS) == (0.5, 0.01)
    assert landmark_noise.TRUNCATED == 0.3
    assert FACTORS.tolist() == pytest.approx(landmark_noise.FACTORS)


def test_with_all_faults_errors_are_as_large_as_the_parts_add_up_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the realistic half's shoulders: slow, fast, bias and shift; growth is little there."""
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


def test_bias_is_each_landmarks_own_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "BIAS", 0.01)
    error = error_of(*people())
    assert (error - error[:, :1]).abs().max() < 1e-6
    between = torch.corrcoef(error[:, 0, :, 0].T)
    assert (between - torch.eye(len(between))).abs().max() < 0.25
    # from none to the documented highest, all as likely
    level = error[:, 0].flatten(1).std(1) / HEIGHT
    assert level.square().mean().sqrt().item() == pytest.approx(0.01 / 3**0.5, rel=0.08)
    assert level.min() < 0.0005
    assert 0.009 < level.max() < 0.0135


# --- the crop


def test_the_crops_jitter_shifts_all_landmarks_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "SHIFT", 0.004)
    error = error_of(*people())
    assert (error - error[:, :, :1]).abs().max() < 1e-6
    assert error[:, :, 0].std().item() == pytest.approx(0.004 * HEIGHT, rel=0.03)
    assert lag(error, 1) == pytest.approx(0.0, abs=0.03), "in each frame anew"


@pytest.mark.parametrize(("name", "plain", "size"), [("GROWTH", 0.0, 0.004),
                                                     ("PLAIN_GROWTH", 1.0, 0.015)])  # fmt: skip
def test_and_lets_them_grow_about_the_middle_of_their_box(
    monkeypatch: pytest.MonkeyPatch, name: str, plain: float, size: float
) -> None:
    assert landmark_noise.PLAIN_CORRELATION == 0.7
    monkeypatch.setattr(landmark_noise, "PLAIN", plain)
    monkeypatch.setattr(landmark_noise, name, size)
    rays, points = people()
    error = error_of(rays, points)
    middle = 0.5 * (rays.amax(2, keepdim=True) + rays.amin(2, keepdim=True))
    away = rays - middle
    growth = (error * away).sum((2, 3)) / away.square().sum((2, 3))
    torch.testing.assert_close(error, growth[..., None, None] * away, atol=1e-6, rtol=1e-3)
    assert growth.std().item() == pytest.approx(size, rel=0.03)
    assert growth.mean().abs() < 0.05 * size
    other = "GROWTH" if name == "PLAIN_GROWTH" else "PLAIN_GROWTH"
    monkeypatch.setattr(landmark_noise, name, 0.0)
    monkeypatch.setattr(landmark_noise, other, 0.1)
    assert error_of(rays, points).abs().max() < 1e-6, "that of the other half's people"


# --- what is lost, exchanged, hidden or cut off


def test_lost_landmarks_are_invisible_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, length = 0.02, 5
    monkeypatch.setattr(landmark_noise, "PLAIN", 0.5)  # of the plain people too
    monkeypatch.setattr(landmark_noise, "BURST_RATE", rate)
    monkeypatch.setattr(landmark_noise, "BURST_FRAMES", length)
    lost = disturb(*people())[1] == 0
    part = rate * length / (1 + rate * length)  # of the time, once the beginning is forgotten
    assert lost[:, -1].float().mean().item() == pytest.approx(part, abs=0.01)
    still_lost = (lost[:, 1:] & lost[:, :-1]).sum() / lost[:, :-1].sum()
    assert still_lost.item() == pytest.approx(1 - 1 / length, abs=0.02)


def test_a_twentieth_is_lost_at_any_time_for_ten_frames_on_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("BURST_RATE", 0.005), ("BURST_FRAMES", 10)):
        monkeypatch.setattr(landmark_noise, name, value)
    lost = disturb(*people())[1] == 0
    for frame in (0, 12, 23):
        assert lost[:, frame].float().mean().item() == pytest.approx(0.05, abs=0.009)
    still_lost = (lost[:, 1:] & lost[:, :-1]).sum() / lost[:, :-1].sum()
    assert still_lost.item() == pytest.approx(0.9, abs=0.01)


def test_swaps_exchange_left_and_right_of_a_whole_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "PLAIN", 0.5)
    monkeypatch.setattr(landmark_noise, "SWAP_RATE", 0.1)
    rays, points = people()
    disturbed, _ = disturb(rays, points)
    swapped = (disturbed - rays).abs().amax((2, 3)) > 1e-3
    assert swapped.float().mean().item() == pytest.approx(0.1, abs=0.01)
    exchanged = rays[:, :, list(LANDMARK_MIRROR)]
    torch.testing.assert_close(disturbed[swapped], exchanged[swapped])
    torch.testing.assert_close(disturbed[~swapped], rays[~swapped])


def wrist_at(depth: float) -> tuple[Tensor, Tensor]:
    """People whose left wrist is so far behind the belly."""
    rays, points = people()
    hips = points[..., [LANDMARK_NAMES.index(f"{s}_hip") for s in ("left", "right")], :].mean(-2)
    points = points.clone()
    points[..., WRIST, :] = hips + torch.tensor([0.0, -0.1, depth])
    return rays, points


def test_a_swap_takes_the_visibility_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "SWAP_RATE", 1.0)
    _, visibility = disturb(*wrist_at(0.3))
    hidden = steady(visibility)
    assert hidden[:, LANDMARK_MIRROR[WRIST]].float().mean().item() == pytest.approx(0.7, abs=0.07)
    assert not hidden[:, WRIST].any()


def test_a_wrist_behind_the_back_is_mostly_doubtful_and_one_before_the_belly_is_not() -> None:
    for depth, expected in ((0.2, 0.7), (-0.2, 0.0)):
        _, visibility = disturb(*wrist_at(depth))
        hidden = steady(visibility)
        assert hidden[:, WRIST].float().mean().item() == pytest.approx(expected, abs=0.07)
        others = [i for i in range(21) if i != WRIST]
        assert not hidden[:, others].any()
        assert visibility[..., others].min() >= 0.7
        doubtful = visibility[hidden[:, WRIST], 0, WRIST]
        if expected:  # a detector thinks it sees most of that: anything from 0.3 to 0.95
            assert 0.3 <= doubtful.min() < 0.35
            assert 0.9 < doubtful.max() <= 0.95
            assert doubtful.mean().item() == pytest.approx(0.625, abs=0.04)


def test_of_plain_people_nothing_is_hidden_or_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "PLAIN", 1.0)
    monkeypatch.setattr(landmark_noise, "PLAIN_NOISE", 0.015)
    monkeypatch.setattr(landmark_noise, "TRUNCATED", 1.0)
    rays, points = wrist_at(0.2)
    disturbed, visibility = disturb(rays, points)
    assert (visibility == 1).all()
    each = (disturbed - rays).square().mean((0, 1, 3)).sqrt() / HEIGHT
    assert each.numpy() == pytest.approx(np.full(21, 0.015), rel=0.08)


def test_a_hidden_landmark_is_two_and_a_half_times_as_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "FAST_NOISE", (0.005, 0.005))
    rays, points = wrist_at(0.2)
    disturbed, visibility = disturb(rays, points)
    error = (disturbed - rays)[:, :, WRIST]
    hidden = steady(visibility)[:, WRIST]
    ratio = error[hidden].std() / error[~hidden].std()
    assert ratio.item() == pytest.approx(2.5, rel=0.05)


def test_the_images_border_cuts_legs_more_often_than_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "TRUNCATED", 1.0)
    monkeypatch.setattr(landmark_noise, "FAST_NOISE", (0.005, 0.005))
    rays, points = people()
    _, visibility = disturb(rays, points)
    cut = steady(visibility)
    part = dict(zip(LANDMARK_NAMES, cut.float().mean(0).tolist(), strict=True))
    assert part["left_ankle"] > 0.5
    assert part["left_ankle"] > part["left_knee"] > part["left_hip"]
    # three tenths from the sides, a sixth of these beyond the middle
    assert part["nose"] == pytest.approx(0.05, abs=0.03)
    assert part["left_index"] > 0.05
    # as perception gives what it places outside the image
    assert (visibility[:, 0][cut] == 0).all()


def test_about_a_third_of_the_people_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "TRUNCATED", 0.3)
    anything = steady(disturb(*people())[1]).any(1)
    assert anything.float().mean().item() == pytest.approx(0.3, abs=0.06)


def test_of_an_uncut_person_nothing_is_cut() -> None:
    _, visibility = disturb(*people())
    assert (visibility >= 0.7).all()
    assert not steady(visibility).any()
