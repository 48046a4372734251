"""What the simulated detector does to the truth, one fault at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.landmarks import LANDMARK_MIRROR, LANDMARK_NAMES, BodyLandmarks
from stdformer_ros.training import landmark_noise
from stdformer_ros.training.landmark_noise import disturb

PEOPLE, FRAMES = 400, 24
HEIGHT = 0.5
"""Of the people below, at unit depth."""


@pytest.fixture(autouse=True)
def faultless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A perfect detector, to which each test adds the fault that it is about."""
    torch.manual_seed(0)
    for name in ("BIAS", "BURST_RATE", "SWAP_RATE", "TRUNCATED"):
        monkeypatch.setattr(landmark_noise, name, 0.0)
    # drawn on a logarithmic scale, so that it cannot be 0
    monkeypatch.setattr(landmark_noise, "NOISE", (1e-12, 1e-12))


def standing() -> tuple[Tensor, Tensor]:
    """Rays and points of people who stand still and face the camera, all landmarks in sight."""
    body = BodyModel(108)
    facing = torch.eye(3).repeat(24, 1, 1)[None]
    facing[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    betas = torch.zeros(1, 10)
    rest = body.joints_template[None]
    turns = facing[:, :1].expand(-1, 24, -1, -1)
    points = BodyLandmarks()(turns, rest @ facing[:, 0], rest, betas)[0]
    height = points[:, 1].max() - points[:, 1].min()
    points = points + torch.tensor([0.0, 0.0, float(height) / HEIGHT])
    # equally far away, so that the height of the rays is known and nothing hides anything
    points[:, 2] = height / HEIGHT
    points = points.expand(PEOPLE, FRAMES, -1, -1)
    return points[..., :2] / points[..., 2:], points


def test_a_perfect_detector_gives_the_truth() -> None:
    rays, points = standing()
    disturbed, visibility = disturb(rays, points)
    torch.testing.assert_close(disturbed, rays)
    assert visibility.min() >= 0.7
    assert visibility.max() <= 1.0


def test_noise_is_a_part_of_the_height_and_lasts_from_frame_to_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_noise, "NOISE", (0.01, 0.01))
    rays, points = standing()
    error = disturb(rays, points)[0] - rays
    assert error.std().item() == pytest.approx(0.01 * HEIGHT, rel=0.03)
    assert error.mean().abs() < 1e-4
    correlation = (error[:, 1:] * error[:, :-1]).mean() / error.square().mean()
    assert correlation.item() == pytest.approx(landmark_noise.CORRELATION, abs=0.02)
    later = (error[:, 2:] * error[:, :-2]).mean() / error.square().mean()
    assert later.item() == pytest.approx(landmark_noise.CORRELATION**2, abs=0.02)
    # as large at the end of a sequence as at its beginning
    assert (error[:, -1].std() / error[:, 0].std()).item() == pytest.approx(1.0, abs=0.05)


def test_some_people_are_seen_more_sharply_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "NOISE", (0.003, 0.018))
    rays, points = standing()
    level = (disturb(rays, points)[0] - rays).flatten(1).std(1) / HEIGHT
    assert 0.002 < level.min() < 0.004
    assert 0.014 < level.max() < 0.022


def test_bias_is_each_landmarks_own_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "BIAS", 0.01)
    rays, points = standing()
    error = disturb(rays, points)[0] - rays
    assert error.std().item() == pytest.approx(0.01 * HEIGHT, rel=0.03)
    assert (error - error[:, :1]).abs().max() < 1e-6
    between = torch.corrcoef(error[:, 0, :, 0].T)
    assert (between - torch.eye(len(between))).abs().max() < 0.25


def test_lost_landmarks_are_invisible_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, length = 0.02, 5
    monkeypatch.setattr(landmark_noise, "BURST_RATE", rate)
    monkeypatch.setattr(landmark_noise, "BURST_FRAMES", length)
    lost = disturb(*standing())[1] == 0
    part = rate * length / (1 + rate * length)  # of the time, once the beginning is forgotten
    assert lost[:, -1].float().mean().item() == pytest.approx(part, abs=0.01)
    still_lost = (lost[:, 1:] & lost[:, :-1]).sum() / lost[:, :-1].sum()
    assert still_lost.item() == pytest.approx(1 - 1 / length, abs=0.02)


def test_swaps_exchange_left_and_right_of_a_whole_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "SWAP_RATE", 0.1)
    rays, points = standing()
    disturbed, _ = disturb(rays, points)
    swapped = (disturbed - rays).abs().amax((2, 3)) > 1e-3
    assert swapped.float().mean().item() == pytest.approx(0.1, abs=0.01)
    exchanged = rays[:, :, list(LANDMARK_MIRROR)]
    torch.testing.assert_close(disturbed[swapped], exchanged[swapped])
    torch.testing.assert_close(disturbed[~swapped], rays[~swapped])


def test_a_swap_takes_the_visibility_along(monkeypatch: pytest.MonkeyPatch) -> None:
    rays, points = standing()
    left, right = (LANDMARK_NAMES.index(f"{side}_wrist") for side in ("left", "right"))
    points = points.clone()
    behind = points[..., [LANDMARK_NAMES.index("left_hip")], :]
    points[..., left, :] = behind[..., 0, :] + torch.tensor([0.0, 0.0, 0.3])
    monkeypatch.setattr(landmark_noise, "SWAP_RATE", 1.0)
    _, visibility = disturb(rays, points)
    assert visibility[..., right].min() < 0.6
    assert visibility[..., left].min() >= 0.7


def test_a_wrist_behind_the_back_is_mostly_doubtful_and_one_before_the_belly_is_not() -> None:
    rays, points = standing()
    wrist = LANDMARK_NAMES.index("left_wrist")
    hips = points[..., [LANDMARK_NAMES.index(f"{s}_hip") for s in ("left", "right")], :].mean(-2)
    for depth, expected in ((0.2, 0.7), (-0.2, 0.0)):
        placed = points.clone()
        placed[..., wrist, :] = hips + torch.tensor([0.0, -0.1, depth])
        _, visibility = disturb(rays, placed)
        doubtful = visibility[..., wrist] < 0.6
        assert (doubtful == doubtful[:, :1]).all(), "for the whole sequence or not at all"
        assert doubtful.float().mean().item() == pytest.approx(expected, abs=0.07)
        others = [i for i in range(21) if i != wrist]
        assert visibility[..., others].min() >= 0.7


def test_a_doubtful_landmark_is_three_times_as_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "NOISE", (0.01, 0.01))
    rays, points = standing()
    wrist = LANDMARK_NAMES.index("left_wrist")
    hips = points[..., [LANDMARK_NAMES.index(f"{s}_hip") for s in ("left", "right")], :].mean(-2)
    points = points.clone()
    points[..., wrist, :] = hips + torch.tensor([0.0, -0.1, 0.2])
    disturbed, visibility = disturb(rays, points)
    error = (disturbed - rays)[:, :, wrist]
    doubtful = visibility[:, :, wrist] < 0.6
    ratio = error[doubtful].std() / error[~doubtful].std()
    assert ratio.item() == pytest.approx(3.0, rel=0.1)


def test_the_images_border_cuts_legs_more_often_than_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_noise, "TRUNCATED", 1.0)
    _, visibility = disturb(*standing())
    doubtful = (visibility < 0.6).float().mean((0, 1))
    part = dict(zip(LANDMARK_NAMES, doubtful.tolist(), strict=True))
    assert part["left_ankle"] > 0.5
    assert part["left_ankle"] > part["left_knee"] > part["left_hip"]
    assert part["nose"] < 0.05
    assert part["left_index"] > 0.05


def test_of_an_uncut_person_nothing_is_cut() -> None:
    _, visibility = disturb(*standing())
    assert (visibility >= 0.7).all()
