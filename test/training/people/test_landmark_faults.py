"""Faults of the simulated landmark detector: jitter, loss, swaps, occlusion, image borders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.faultless_detector import HEIGHT, WRIST, error_of, faultless, lag, people, steady
from stdformer_ros.body.body_landmarks import LANDMARK_MIRROR, LANDMARK_NAMES
from stdformer_ros.training.people import landmark_noise
from stdformer_ros.training.people.landmark_noise import disturb

__all__ = ["faultless"]

pytestmark = pytest.mark.usefixtures("faultless")


# --- the crop


def test_jitter_of_the_crop_shifts_all_landmarks_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "SHIFT", 0.004)
    error = error_of(*people())
    assert (error - error[:, :, :1]).abs().max() < 1e-6
    assert error[:, :, 0].std().item() == pytest.approx(0.004 * HEIGHT, rel=0.03)
    assert lag(error, 1) == pytest.approx(0.0, abs=0.03), "independent in each frame"


@pytest.mark.parametrize(("name", "plain", "size"), [("GROWTH", 0.0, 0.004),
                                                     ("PLAIN_GROWTH", 1.0, 0.015)])  # fmt: skip
def test_jitter_of_the_crop_scales_landmarks_about_the_centre_of_their_box(
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
    assert error_of(rays, points).abs().max() < 1e-6, "this size is for the other people"


# --- what is lost, exchanged, hidden or cut off


def test_lost_landmarks_are_invisible_for_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, length = 0.02, 5
    monkeypatch.setattr(landmark_noise, "PLAIN", 0.5)  # people with plain noise lose landmarks too
    monkeypatch.setattr(landmark_noise, "BURST_RATE", rate)
    monkeypatch.setattr(landmark_noise, "BURST_FRAMES", length)
    lost = disturb(*people())[1] == 0
    part = rate * length / (1 + rate * length)  # of the time, in equilibrium
    assert lost[:, -1].float().mean().item() == pytest.approx(part, abs=0.01)
    still_lost = (lost[:, 1:] & lost[:, :-1]).sum() / lost[:, :-1].sum()
    assert still_lost.item() == pytest.approx(1 - 1 / length, abs=0.02)


def test_a_twentieth_of_the_landmarks_is_lost_for_ten_frames_on_average(
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
    """People whose left wrist is so many metres behind the middle of the trunk."""
    rays, points = people()
    hips = points[..., [LANDMARK_NAMES.index(f"{s}_hip") for s in ("left", "right")], :].mean(-2)
    points = points.clone()
    points[..., WRIST, :] = hips + torch.tensor([0.0, -0.1, depth])
    return rays, points


def test_swaps_exchange_the_visibility_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "SWAP_RATE", 1.0)
    _, visibility = disturb(*wrist_at(0.3))
    hidden = steady(visibility)
    assert hidden[:, LANDMARK_MIRROR[WRIST]].float().mean().item() == pytest.approx(0.7, abs=0.07)
    assert not hidden[:, WRIST].any()


def test_a_wrist_behind_the_trunk_is_often_hidden_and_one_in_front_is_not() -> None:
    for depth, expected in ((0.2, 0.7), (-0.2, 0.0)):
        _, visibility = disturb(*wrist_at(depth))
        hidden = steady(visibility)
        assert hidden[:, WRIST].float().mean().item() == pytest.approx(expected, abs=0.07)
        others = [i for i in range(21) if i != WRIST]
        assert not hidden[:, others].any()
        assert visibility[..., others].min() >= 0.7
        doubtful = visibility[hidden[:, WRIST], 0, WRIST]
        if expected:  # a detector gives hidden landmarks a visibility from 0.3 to 0.95
            assert 0.3 <= doubtful.min() < 0.35
            assert 0.9 < doubtful.max() <= 0.95
            assert doubtful.mean().item() == pytest.approx(0.625, abs=0.04)


def test_people_with_plain_noise_are_neither_hidden_nor_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "PLAIN", 1.0)
    monkeypatch.setattr(landmark_noise, "PLAIN_NOISE", 0.015)
    monkeypatch.setattr(landmark_noise, "TRUNCATED", 1.0)
    rays, points = wrist_at(0.2)
    disturbed, visibility = disturb(rays, points)
    assert (visibility == 1).all()
    each = (disturbed - rays).square().mean((0, 1, 3)).sqrt() / HEIGHT
    assert each.numpy() == pytest.approx(np.full(21, 0.015), rel=0.08)


def test_the_noise_of_hidden_landmarks_is_two_and_a_half_times_as_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "FAST_NOISE", (0.005, 0.005))
    rays, points = wrist_at(0.2)
    disturbed, visibility = disturb(rays, points)
    error = (disturbed - rays)[:, :, WRIST]
    hidden = steady(visibility)[:, WRIST]
    ratio = error[hidden].std() / error[~hidden].std()
    assert ratio.item() == pytest.approx(2.5, rel=0.05)


def test_the_border_of_the_image_cuts_off_legs_more_often_than_sides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "TRUNCATED", 1.0)
    monkeypatch.setattr(landmark_noise, "FAST_NOISE", (0.005, 0.005))
    rays, points = people()
    _, visibility = disturb(rays, points)
    cut = steady(visibility)
    part = dict(zip(LANDMARK_NAMES, cut.float().mean(0).tolist(), strict=True))
    assert part["left_ankle"] > 0.5
    assert part["left_ankle"] > part["left_knee"] > part["left_hip"]
    # Three tenths are cut from the sides, a sixth of these beyond the middle.
    assert part["nose"] == pytest.approx(0.05, abs=0.03)
    assert part["left_index"] > 0.05
    # Perception gives landmarks outside the image a visibility of 0.
    assert (visibility[:, 0][cut] == 0).all()


def test_about_a_third_of_the_people_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "TRUNCATED", 0.3)
    anything = steady(disturb(*people())[1]).any(1)
    assert anything.float().mean().item() == pytest.approx(0.3, abs=0.06)


def test_people_who_are_not_cut_off_have_all_landmarks() -> None:
    _, visibility = disturb(*people())
    assert (visibility >= 0.7).all()
    assert not steady(visibility).any()
