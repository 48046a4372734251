"""Quarter turns of images, pixels, cameras and depth images fit each other exactly."""

from __future__ import annotations

import numpy as np
import pytest

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.camera.distortion import Distortion
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.camera.turning import turn_matrix, turned_box, turned_image, turned_pixels
from stdformer_ros.config import TURNS
from stdformer_ros.types import Frame

WIDTH, HEIGHT = 64, 48
SIZE = (WIDTH, HEIGHT)
LENSES = [
    None,
    Distortion("plumb_bob", (-0.28, 0.07, 0.01, -0.02, 0.01)),
    Distortion("rational_polynomial", (0.3, 0.1, -0.01, 0.02, 0.03, 0.4, 0.2, 0.05)),
    Distortion("equidistant", (-0.018, 0.006, -0.005, 0.0008)),
]
turns = pytest.mark.parametrize("degrees", TURNS)


def camera(lens: Distortion | None = None) -> Camera:
    return Camera(WIDTH, HEIGHT, 50.0, 52.0, 30.0, 25.0, distortion=lens)


def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def pixels() -> np.ndarray:
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def test_a_turn_by_90_degrees_moves_the_upper_left_pixel_to_the_upper_right() -> None:
    before, after = image(), turned_image(image(), 90)
    assert after.shape == (WIDTH, HEIGHT, 3)
    np.testing.assert_array_equal(after[0, HEIGHT - 1], before[0, 0])
    assert turned_pixels(np.zeros(2), SIZE, 90).tolist() == [HEIGHT - 1, 0]
    right_of_us = turn_matrix(90) @ [0, -1, 0]  # what was above
    assert right_of_us.tolist() == [1, 0, 0]


@turns
def test_every_pixel_is_where_the_turned_image_has_it(degrees: int) -> None:
    turned = turned_image(image(), degrees)
    x, y = turned_pixels(pixels(), SIZE, degrees).astype(int).T
    np.testing.assert_array_equal(turned[y, x], image().reshape(-1, 3))
    assert turned.flags.c_contiguous


@turns
def test_a_turn_and_the_turn_back_cancel(degrees: int) -> None:
    frame = Frame(image(), 1.0, camera(LENSES[1]))
    back = frame.turned(degrees).turned(-degrees)
    np.testing.assert_array_equal(back.image, frame.image)
    assert back.camera == frame.camera
    assert (frame.turned(degrees).turn, back.turn) == (degrees, 0)


@turns
@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.model if lens else "none")
def test_the_ray_of_a_turned_pixel_is_the_turned_ray(degrees: int, lens: Distortion | None) -> None:
    """Also with tangential distortion, which is not symmetric."""
    before, after = camera(lens), camera(lens).turned(degrees)
    there = turned_pixels(pixels(), SIZE, degrees)
    turn = turn_matrix(degrees)
    expected = before.rays(pixels()) @ turn[:2, :2].T
    np.testing.assert_allclose(after.rays(there), expected, atol=1e-6)
    points = np.concatenate([before.rays(pixels()), np.ones((len(there), 1))], 1) * 3.0
    np.testing.assert_allclose(
        after.project((points @ turn.T).astype(np.float32)),
        turned_pixels(before.project(points.astype(np.float32)), SIZE, degrees),
        atol=1e-4,
    )


@turns
def test_a_box_holds_the_same_pixels(degrees: int) -> None:
    box = np.array([3.0, 5.0, 20.0, 11.0], np.float32)
    x0, y0, x1, y1 = turned_box(box, SIZE, degrees).astype(int)
    part = turned_image(image(), degrees)[y0 : y1 + 1, x0 : x1 + 1]
    np.testing.assert_array_equal(part, turned_image(image()[5:12, 3:21].copy(), degrees))


@turns
@pytest.mark.parametrize("kind", ["<u2", ">u2", "<f4"])
def test_depth_is_measured_at_the_same_place(degrees: int, kind: str) -> None:
    """The depth image is smaller than the colour image."""
    values = np.random.default_rng(1).integers(500, 5000, (HEIGHT // 2, WIDTH // 2)).astype(kind)
    depth = DepthImage(values, 0.001)
    turned = camera().turned(degrees)
    there = turned_pixels(pixels(), SIZE, degrees)
    at = depth.turned(degrees).at(there, (turned.width, turned.height))
    np.testing.assert_array_equal(at, depth.at(pixels(), SIZE))
