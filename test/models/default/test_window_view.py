"""The view that looks straight at a person: turned by the rays, not by the camera."""

from __future__ import annotations

from math import atan2, degrees, tan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from helpers.poses import standing
from stdformer_ros.models.default.window_view import PLACING, SEEN, SPREAD, WindowView, view_window

FRAMES, LANDMARKS = 24, 21
ALL_SEEN = torch.ones(1, FRAMES, LANDMARKS)
STANDING = 1.74
"""How high nose to toes of a standing person are in the view, of 2; with the crown it is 1.88."""


def person_ahead(seed: int = 0, size: float = 0.15) -> Tensor:
    """(1, 24, 21, 2) rays of somebody on the camera's axis, moving a little."""
    generator = torch.Generator().manual_seed(seed)
    pose = 2 * torch.rand(1, 1, LANDMARKS, 2, generator=generator) - 1
    moved = 0.1 * torch.randn(1, FRAMES, LANDMARKS, 2, generator=generator)
    return size * (pose + moved)


def unit(rays: Tensor) -> Tensor:
    """Rays (..., 2) as directions (..., 3) of length 1."""
    directions = torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1)
    return directions / directions.norm(dim=-1, keepdim=True)


def seen_by_turned_camera(rays: Tensor, turn: Tensor) -> Tensor:
    """The same directions from a camera turned about its centre: exact for a pinhole."""
    turned = unit(rays) @ turn.T
    return turned[..., :2] / turned[..., 2:]


def directions_in_camera(view: WindowView) -> Tensor:
    """Where the view's points lie, turned back into the camera."""
    return unit(view.points * view.half_size[:, None, None, None]) @ view.turn[:, None]


def turn_about(x: float, y: float, z: float = 0.0) -> Tensor:
    return torch.from_numpy(Rotation.from_euler("xyz", [x, y, z], degrees=True).as_matrix()).float()


@given(st.integers(0, 1000), st.floats(-35, 35), st.floats(-35, 35))
@settings(max_examples=30)
def test_the_view_and_its_points_tell_the_original_directions(
    seed: int, pitch: float, yaw: float
) -> None:
    rays = seen_by_turned_camera(person_ahead(seed), turn_about(pitch, yaw))
    view = view_window(rays, ALL_SEEN)
    torch.testing.assert_close(directions_in_camera(view), unit(rays), atol=1e-5, rtol=0)


def looking_straight(rays: Tensor) -> tuple[Tensor, WindowView]:
    """The rays in a camera turned onto the person, and the view of that."""
    view = view_window(rays, ALL_SEEN)
    straight = view.points * view.half_size[:, None, None, None]
    return straight, view_window(straight, ALL_SEEN)


@given(st.integers(0, 1000), st.floats(-30, 30), st.floats(-30, 30), st.floats(-60, 60))
@settings(max_examples=40)
def test_turning_the_camera_only_rolls_what_the_network_sees(
    seed: int, pitch: float, yaw: float, roll: float
) -> None:
    """Size and shape stay to the last digits; the image turns about the line of sight."""
    rays, view = looking_straight(person_ahead(seed))
    turn = turn_about(pitch, yaw, roll)
    turned = view_window(seen_by_turned_camera(rays, turn), ALL_SEEN)
    between = turned.turn[0] @ turn @ view.turn[0].T
    torch.testing.assert_close(between[2], torch.tensor([0.0, 0.0, 1.0]), atol=1e-5, rtol=0)
    assert turned.half_size.item() == pytest.approx(view.half_size.item(), rel=1e-4)
    torch.testing.assert_close(turned.points, view.points @ between[:2, :2].T, atol=2e-4, rtol=0)
    # and by no more than the camera itself was rolled
    *_, z, w = Rotation.from_matrix(turn.double().numpy()).as_quat()
    expected = 2 * atan2(z, w)
    assert atan2(between[1, 0], between[0, 0]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("pitch", "yaw"), [(-25, 0), (15, 0), (0, -28), (0, 28)])
def test_turning_the_camera_about_one_axis_changes_nothing(pitch: int, yaw: int) -> None:
    for seed in range(10):
        rays, view = looking_straight(person_ahead(seed))
        turned = view_window(seen_by_turned_camera(rays, turn_about(pitch, yaw)), ALL_SEEN)
        torch.testing.assert_close(turned.points, view.points, atol=1e-4, rtol=0)
        torch.testing.assert_close(turned.half_size, view.half_size, atol=0, rtol=1e-4)


def test_in_the_corner_of_a_wide_image_a_person_is_rolled_by_less_than_four_degrees() -> None:
    rays, _ = looking_straight(person_ahead())
    turn = turn_about(15, 28)
    between = view_window(seen_by_turned_camera(rays, turn), ALL_SEEN).turn[0] @ turn
    assert 3.0 < abs(degrees(atan2(between[1, 0], between[0, 0]))) < 4.0


@given(st.floats(0.02, 0.3))
def test_size_goes_into_half_size_and_leaves_the_points(size: float) -> None:
    small, large = (view_window(person_ahead(0, s), ALL_SEEN) for s in (0.02, size))
    ratio = (large.half_size / small.half_size).item()
    # as an angle's tangent; the centre is not quite on the axis
    assert ratio == pytest.approx(size / 0.02, rel=0.03)
    assert (large.points - small.points).abs().max() < 0.08


def test_half_size_is_the_tangent_of_the_mean_spread() -> None:
    angle = 0.1
    rays = torch.zeros(1, FRAMES, LANDMARKS, 2)
    visibility = torch.zeros(1, FRAMES, LANDMARKS)
    rays[:, :, 0, 1], rays[:, :, 1, 1] = tan(angle), -tan(angle)
    visibility[:, :, :2] = 1.0
    view = view_window(rays, visibility)
    assert view.half_size.item() == pytest.approx(SPREAD * tan(angle), rel=1e-5)
    torch.testing.assert_close(view.turn[0], torch.eye(3))
    assert view.points[0, 0, 0].tolist() == pytest.approx([0.0, 1 / SPREAD], abs=1e-6)


def test_a_standing_person_with_arms_down_about_fills_the_views_height() -> None:
    points = standing(arms=-75.0) + torch.tensor([0.0, 0.0, 6.0])
    rays = (points[:, :2] / points[:, 2:]).expand(1, FRAMES, -1, -1)
    shown = view_window(rays, ALL_SEEN).points[0, 0, :, 1]
    assert float(shown.max() - shown.min()) == pytest.approx(STANDING, abs=0.03)
    assert shown.abs().max() < 1.1


def test_someone_who_walks_across_is_no_larger_than_someone_who_stands() -> None:
    rays = person_ahead()[:, :1].expand(-1, FRAMES, -1, -1)
    across = torch.linspace(-0.06, 0.06, PLACING)
    walking = rays.clone()
    walking[:, -PLACING:, :, 0] += across[:, None]
    a, b = view_window(rays, ALL_SEEN), view_window(walking, ALL_SEEN)
    assert b.half_size.item() == pytest.approx(a.half_size.item(), rel=5e-3)
    middle = b.points[:, -PLACING:].mean((1, 2))
    assert middle.abs().max() < 0.02, "around the mean place of the newest frames"
    steps = b.points[0, -PLACING:, 0, 0].diff() * b.half_size
    assert steps.tolist() == pytest.approx(across.diff().tolist(), rel=0.05), "the walk shows"


def test_the_newest_frames_alone_place_the_view() -> None:
    rays = person_ahead()
    changed = rays.clone()
    changed[:, :-PLACING] = 0.5 * changed[:, :-PLACING] + 0.2
    a, b = view_window(rays, ALL_SEEN), view_window(changed, ALL_SEEN)
    assert torch.equal(a.turn, b.turn)
    assert torch.equal(a.half_size, b.half_size)
    assert torch.equal(a.points[:, -PLACING:], b.points[:, -PLACING:])
    changed[:, -PLACING] += 0.2
    assert not torch.equal(a.turn, view_window(changed, ALL_SEEN).turn)


def test_landmarks_count_as_far_as_they_are_visible() -> None:
    """Two at the same angle to both sides, one half as visible: a third of the way off."""
    angle = 0.2
    rays, visibility = torch.zeros(1, FRAMES, LANDMARKS, 2), torch.zeros(1, FRAMES, LANDMARKS)
    rays[:, :, 0, 0], rays[:, :, 1, 0] = tan(angle), -tan(angle)
    visibility[:, :, 0], visibility[:, :, 1] = 1.0, 0.5
    view = view_window(rays, visibility)
    aim = unit(torch.tensor([tan(angle) / 3, 0.0]))
    torch.testing.assert_close(view.turn[0] @ aim, torch.tensor([0.0, 0.0, 1.0]), atol=1e-6, rtol=0)
    near, far = view.points[0, 0, 0, 0].item(), -view.points[0, 0, 1, 0].item()
    centre = (near - 0.5 * far) / 1.5
    spread = (((near - centre) ** 2 + 0.5 * (far + centre) ** 2) / 1.5) ** 0.5
    assert spread == pytest.approx(1 / SPREAD, rel=1e-4)


def test_where_a_lost_landmark_is_reported_does_not_move_the_view() -> None:
    rays, visibility = person_ahead(), ALL_SEEN.clone()
    visibility[:, -5:-3, 7] = 0.5 * SEEN
    elsewhere = rays.clone()
    elsewhere[:, -5:-3, 7] = torch.tensor([0.9, -0.7])
    a, b = view_window(rays, visibility), view_window(elsewhere, visibility)
    assert torch.equal(a.turn, b.turn)
    assert torch.equal(a.half_size, b.half_size)
    kept = visibility > SEEN
    assert torch.equal(a.points[kept], b.points[kept])


@pytest.mark.parametrize("frames", [1, 3, PLACING])
def test_losing_a_landmark_moves_the_view_in_proportion_to_its_share(frames: int) -> None:
    """One of 21 landmarks, in so many of the frames that place the view."""
    rays = person_ahead()[:, :1].expand(-1, FRAMES, -1, -1)
    view = view_window(rays, ALL_SEEN)
    share = frames / (PLACING * LANDMARKS - frames)
    for landmark in range(LANDMARKS):
        visibility = ALL_SEEN.clone()
        visibility[:, -frames:, landmark] = 0.0
        lost = view_window(rays, visibility)
        centre = (view.turn[0] @ lost.turn[0].T)[:, 2]  # the new line of sight in the old view
        moved = centre[:2] / centre[2] / view.half_size
        torch.testing.assert_close(
            moved, -share * view.points[0, 0, landmark], atol=2e-3, rtol=0.05
        )
        assert lost.half_size.item() == pytest.approx(view.half_size.item(), rel=2 * share)


def test_where_nothing_is_visible_everything_places_the_view() -> None:
    rays = person_ahead()[:, :1].expand(-1, FRAMES, -1, -1)
    a, b = view_window(rays, torch.zeros_like(ALL_SEEN)), view_window(rays, ALL_SEEN)
    torch.testing.assert_close(a.points, b.points, atol=1e-5, rtol=0)


def test_one_persons_view_does_not_depend_on_others() -> None:
    rays = torch.cat([person_ahead(i, 0.05 * (i + 1)) for i in range(3)])
    visibility = ALL_SEEN.expand(3, -1, -1).clone()
    visibility[1] = 0.0
    together = view_window(rays, visibility)
    for i in range(3):
        alone = view_window(rays[i : i + 1], visibility[i : i + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i : i + 1], b)


def test_a_person_of_a_single_point_gives_finite_numbers() -> None:
    view = view_window(torch.full((1, FRAMES, LANDMARKS, 2), 0.4), ALL_SEEN)
    assert all(torch.isfinite(value).all() for value in view)
