"""The view that looks straight at a person: turned by the rays, not by the camera."""

from __future__ import annotations

from math import tan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from stdformer_ros.models.rotation import rotation_from_6d, rotation_to_z
from stdformer_ros.models.window_view import MARGIN, SEEN, WindowView, view_window

FRAMES, LANDMARKS = 8, 21
ALL_SEEN = torch.ones(1, FRAMES, LANDMARKS)


def person_ahead(seed: int = 0, size: float = 0.15) -> Tensor:
    """(1, 8, 21, 2) rays of somebody on the camera's axis, moving a little."""
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


def test_every_point_is_seen_and_the_farthest_lies_at_the_margin() -> None:
    view = view_window(person_ahead(), ALL_SEEN)
    assert view.points.abs().max().item() == pytest.approx(1 / MARGIN)


@given(st.integers(0, 1000), st.floats(-35, 35), st.floats(-35, 35))
@settings(max_examples=30)
def test_the_view_and_its_points_tell_the_original_directions(
    seed: int, pitch: float, yaw: float
) -> None:
    rays = seen_by_turned_camera(person_ahead(seed), turn_about(pitch, yaw))
    view = view_window(rays, ALL_SEEN)
    torch.testing.assert_close(directions_in_camera(view), unit(rays), atol=1e-5, rtol=0)


@pytest.mark.parametrize("yaw", [-28, 0, 28])
@pytest.mark.parametrize("pitch", [-15, 15])
def test_turning_the_camera_hardly_changes_what_the_network_sees(pitch: int, yaw: int) -> None:
    """To the corners of an image of 60 degrees; what is left is the slant of the placing box."""
    for seed in range(20):
        rays = person_ahead(seed)
        view = view_window(rays, ALL_SEEN)
        turned = view_window(seen_by_turned_camera(rays, turn_about(pitch, yaw)), ALL_SEEN)
        change = (turned.points - view.points).abs()
        assert change.max() < (0.35 if yaw else 0.12)
        assert change.mean() < (0.15 if yaw else 0.06)
        assert turned.half_size.item() == pytest.approx(view.half_size.item(), rel=0.22)


@given(st.floats(0.02, 0.3))
def test_size_goes_into_half_size_and_leaves_the_points(size: float) -> None:
    small, large = (view_window(person_ahead(0, s), ALL_SEEN) for s in (0.02, size))
    ratio = (large.half_size / small.half_size).item()
    # as an angle's tangent; the centre is not quite on the axis
    assert ratio == pytest.approx(size / 0.02, rel=0.1)
    assert (large.points - small.points).abs().max() < 0.1


def test_half_size_is_the_tangent_of_half_the_views_angle() -> None:
    angle = 0.1
    rays = torch.zeros(1, FRAMES, LANDMARKS, 2)
    rays[:, :, 0, 1], rays[:, :, 1, 1] = tan(angle), -tan(angle)
    view = view_window(rays, ALL_SEEN)
    assert view.half_size.item() == pytest.approx(MARGIN * tan(angle))
    torch.testing.assert_close(view.turn[0], torch.eye(3))


def test_where_a_lost_landmark_is_reported_does_not_move_the_view() -> None:
    rays, visibility = person_ahead(), ALL_SEEN.clone()
    visibility[:, 3:5, 7] = 0.5 * SEEN
    elsewhere = rays.clone()
    elsewhere[:, 3:5, 7] = torch.tensor([0.9, -0.7])
    a, b = view_window(rays, visibility), view_window(elsewhere, visibility)
    assert torch.equal(a.turn, b.turn)
    assert torch.equal(a.half_size, b.half_size)
    kept = visibility > SEEN
    assert torch.equal(a.points[kept], b.points[kept])


def test_losing_a_landmark_for_some_frames_moves_the_view_little() -> None:
    rays = person_ahead()
    steady = rays[:, :1].expand_as(rays)
    visibility = ALL_SEEN.clone()
    visibility[:, -3:, 4] = 0.0
    a, b = view_window(steady, ALL_SEEN), view_window(steady, visibility)
    assert torch.equal(a.points, b.points), "the frames before still hold it in the view"


def test_where_nothing_is_visible_everything_places_the_view() -> None:
    rays = person_ahead()
    a, b = view_window(rays, torch.zeros_like(ALL_SEEN)), view_window(rays, ALL_SEEN)
    assert torch.equal(a.points, b.points)


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


@given(st.floats(-80, 80), st.floats(-80, 80))
def test_rotation_to_z_turns_the_direction_onto_the_axis_the_short_way(
    pitch: float, yaw: float
) -> None:
    direction = turn_about(pitch, yaw) @ torch.tensor([0.0, 0.0, 1.0])
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
