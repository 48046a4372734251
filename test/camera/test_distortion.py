"""Lens distortion: pixels equal OpenCV's, and `rays` inverts `project`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdformer_ros.camera.distortion import Distortion
from stdformer_ros.camera.pinhole import Camera

# Typical calibrations of real cameras: a webcam, a wide lens, a fisheye.
PLUMB_BOB = Distortion("plumb_bob", (-0.28, 0.07, 0.0002, -0.0005, 0.01))
RATIONAL = Distortion("rational_polynomial", (4.3, 1.7, -0.0003, 0.0002, 0.03, 4.7, 2.9, 0.35))
FISHEYE = Distortion("equidistant", (-0.018, 0.006, -0.005, 0.0008))
THIN_PRISM = Distortion("rational_polynomial", (*RATIONAL.coefficients, 2e-3, 0.0, -1e-3, 0.0))
TILTED = Distortion("rational_polynomial", (*THIN_PRISM.coefficients, 0.02, -0.03))
ALL = [PLUMB_BOB, RATIONAL, FISHEYE, THIN_PRISM, TILTED]
K = np.array([[500.0, 0, 320], [0, 510.0, 240], [0, 0, 1]])


def camera(distortion: Distortion) -> Camera:
    return Camera(640, 480, 500.0, 510.0, 320.0, 240.0, distortion=distortion)


def grid() -> np.ndarray:
    """Points in front of the camera, all over its view."""
    x, y = np.meshgrid(np.linspace(-0.6, 0.6, 13), np.linspace(-0.45, 0.45, 11))
    z = np.linspace(1.0, 6.0, x.size)
    return np.stack([x.ravel() * z, y.ravel() * z, z], axis=1).astype(np.float32)


@pytest.mark.parametrize("distortion", ALL, ids=lambda d: f"{d.model}_{len(d.coefficients)}")
def test_points_project_to_the_pixels_of_opencv(distortion: Distortion) -> None:
    points = grid().astype(np.float64)[:, None]
    zero, d = np.zeros(3), np.array(distortion.coefficients)
    if distortion.model == "equidistant":
        expected, _ = cv2.fisheye.projectPoints(points, zero, zero, K, d)
    else:
        expected, _ = cv2.projectPoints(points, zero, zero, K, d)
    np.testing.assert_allclose(
        camera(distortion).project(grid()), expected.reshape(-1, 2), atol=0.01
    )


@pytest.mark.parametrize("distortion", ALL, ids=lambda d: f"{d.model}_{len(d.coefficients)}")
def test_the_rays_of_projected_points_are_their_directions(distortion: Distortion) -> None:
    points = grid()
    rays = camera(distortion).rays(camera(distortion).project(points))
    np.testing.assert_allclose(rays, points[:, :2] / points[:, 2:], atol=2e-4)


def test_distortion_moves_points_at_the_edge_by_more_than_20_pixels() -> None:
    """So it must not be neglected."""
    pinhole = Camera(640, 480, 500.0, 510.0, 320.0, 240.0)
    corner = np.array([[1.2, 0.9, 2.0]], np.float32)
    away = np.linalg.norm(camera(PLUMB_BOB).project(corner) - pinhole.project(corner))
    assert away > 20


@given(
    st.sampled_from(ALL),
    st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 2), min_size=1, max_size=20),
)
def test_rays_of_pixels_far_outside_the_image_are_finite(
    distortion: Distortion, pixels: list[tuple[float, float]]
) -> None:
    assert np.isfinite(camera(distortion).rays(np.array(pixels, np.float32))).all()


def test_zero_points_give_zero_points() -> None:
    none = np.zeros((0, 2), np.float32)
    for distortion in ALL:
        assert distortion.undistort(none).shape == distortion.distort(none).shape == (0, 2)


@pytest.mark.parametrize(
    ("model", "coefficients", "reason"),
    [
        ("plumb_bob", (0.1,), "4 or 5 coefficients, not 1"),
        ("equidistant", (0.1,) * 5, "4 coefficients, not 5"),
        ("rational_polynomial", (0.1,) * 5, "8 or 12 or 14 coefficients"),
        ("plumb_bob", (np.nan,) * 5, "finite"),
        ("barrel", (), "unknown distortion model 'barrel'"),
    ],
)
def test_impossible_models_are_refused(model, coefficients, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        Distortion(model, coefficients)
