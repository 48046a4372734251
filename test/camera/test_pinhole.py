"""The pinhole camera: rays, projection, and metres from weak perspective."""

from __future__ import annotations

from dataclasses import replace
from math import degrees

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stdformer_ros.camera.distortion import Distortion
from stdformer_ros.camera.pinhole import Camera, weak_perspective_to_metres

focal_lengths = st.floats(100, 5000)
coordinates = st.floats(-3, 3)


def camera_of(fx: float = 600.0, fy: float = 610.0, **changes: float) -> Camera:
    numbers = {"cx": 310.0, "cy": 250.0} | changes
    return Camera(640, 480, fx, fy, **numbers)


def test_the_ray_of_the_principal_point_is_the_optical_axis() -> None:
    assert camera_of().rays(np.array([310.0, 250.0], np.float32)) == pytest.approx([0.0, 0.0])


def test_right_in_the_image_is_positive_x_and_down_is_positive_y() -> None:
    x, y = camera_of().rays(np.array([310.0 + 600.0, 250.0 + 305.0], np.float32))
    assert (x, y) == pytest.approx((1.0, 0.5))


def test_a_point_at_45_degrees_is_one_focal_length_from_the_principal_point() -> None:
    pixel = camera_of().project(np.array([1.0, -0.5, 1.0], np.float32))
    assert pixel == pytest.approx([310.0 + 600.0, 250.0 - 305.0])


@given(focal_lengths, focal_lengths, coordinates, coordinates, st.floats(0.2, 50))
def test_the_ray_of_a_projected_point_is_the_points_direction(
    fx: float, fy: float, x: float, y: float, depth: float
) -> None:
    camera = camera_of(fx, fy)
    point = np.array([[x * depth, y * depth, depth]], np.float32)
    assert camera.rays(camera.project(point))[0] == pytest.approx([x, y], abs=1e-4)


@given(st.integers(2, 4000), st.integers(2, 4000))
def test_without_calibration_the_longer_side_sees_60_degrees(width: int, height: int) -> None:
    camera = Camera.assumed(width, height)
    # the edges of the image are half a pixel outside the centres of its first and last pixels
    longer = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]], np.float32)
    low, high = np.arctan(camera.rays(longer)[:, 0 if width >= height else 1])
    assert degrees(high - low) == pytest.approx(60.0, abs=1e-3)
    assert camera.fx == camera.fy
    assert not camera.known


def test_without_calibration_the_principal_point_is_the_middle_of_the_image() -> None:
    """Coordinates begin at the centre of the first pixel."""
    camera = Camera.assumed(641, 480)
    assert (camera.cx, camera.cy) == (320.0, 239.5)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({}, 0.0),
        ({"fx": 606.0, "fy": 616.1}, 0.01),  # 1 % longer
        ({"cx": 313.1}, 0.01),  # 1 % of the distance from the centre to the edge
        ({"fx": 1200.0, "fy": 1220.0}, 0.5),
    ],
)
def test_the_difference_of_cameras_is_relative_to_their_field_of_view(changes, difference) -> None:
    assert camera_of().difference(camera_of(**changes)) == pytest.approx(difference, rel=0.1)


def test_cameras_with_different_lenses_differ() -> None:
    bent = replace(camera_of(), distortion=Distortion("plumb_bob", (-0.3, 0.1, 0.0, 0.0)))
    assert bent.difference(camera_of()) > 0.02


def test_given_intrinsics_count_as_known() -> None:
    assert camera_of().known


@pytest.mark.parametrize("name", ["fx", "fy", "cx", "cy"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_intrinsics_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        camera_of(**{name: value})


@pytest.mark.parametrize("changes", [{"fx": 0.0}, {"fy": 0.0}, {"fx": -600.0}])
def test_focal_lengths_that_are_not_positive_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive focal lengths"):
        camera_of(**changes)


@pytest.mark.parametrize(("width", "height"), [(0, 480), (640, 0), (-1, 480)])
def test_an_image_without_pixels_is_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"{width}x{height}"):
        Camera(width, height, 600.0, 600.0, 320.0, 240.0)


@given(
    st.floats(0.1, 3.0), coordinates, coordinates, st.floats(0.02, 0.6), coordinates, coordinates
)
def test_at_the_origins_depth_perspective_and_weak_perspective_agree(
    s: float, tx: float, ty: float, half_size: float, x: float, y: float
) -> None:
    place = weak_perspective_to_metres(torch.tensor([[s, tx, ty]]), torch.tensor([half_size]))[0]
    point = place + torch.tensor([x, y, 0.0])
    perspective = point[:2] / point[2] / half_size
    assert perspective.tolist() == pytest.approx([s * (x + tx), s * (y + ty)], rel=1e-4, abs=1e-5)


def test_a_person_who_fills_the_view_half_as_much_is_twice_as_far() -> None:
    weak = torch.tensor([[0.8, 0.1, 0.2], [0.4, 0.1, 0.2]])
    near, far = weak_perspective_to_metres(weak, torch.tensor([0.3, 0.3]))
    assert far[2] == pytest.approx(2 * float(near[2]))
    assert far[:2].tolist() == near[:2].tolist()
