"""Square crops of people: where they lie, how they are cut on CPU and device, what networks get."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.image_stream import wavy_image
from stdformer_ros.models.keypoints import KEYPOINTS
from stdformer_ros.models.published.crops import (
    MIN_SIZE,
    Square,
    crop,
    crop_on_device,
    square_around,
    to_input,
    upload,
)
from stdformer_ros.types import Person

SHAPE = (480, 640, 3)
CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=[pytest.mark.cuda, needs_cuda])]


def person(points: dict[int, tuple[float, float]], box: tuple[float, ...] = (0, 0, 9, 9)) -> Person:
    landmarks = np.zeros((33, 2), np.float32)
    visibility = np.zeros(33, np.float32)
    for index, point in points.items():
        landmarks[index], visibility[index] = point, 0.9
    return Person(1, 0.9, np.array(box, np.float32), landmarks, visibility)


def smooth_image(height: int, width: int) -> np.ndarray:
    """Colour is a linear function of place, so every interpolation of it is exact."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 / width, y * 200 / height, np.full_like(x, 90)], -1).astype(np.uint8)


def test_the_square_is_centred_on_the_keypoints_and_scaled_by_their_longer_side() -> None:
    someone = person({0: (300, 100), 27: (260, 300), 28: (340, 290)})
    square = square_around(someone, SHAPE, 1.2)
    assert (square.x, square.y) == (300, 200)
    assert square.size == pytest.approx(1.2 * 200)


def test_fingers_and_toes_do_not_widen_the_crop() -> None:
    """The published crops go around OpenPose's keypoints, which end at wrists and ankles."""
    body = {0: (300, 100), 27: (260, 300)}
    with_toes = body | {31: (200, 340), 32: (390, 340), 19: (100, 200)}
    assert square_around(person(with_toes), SHAPE, 1.2) == square_around(person(body), SHAPE, 1.2)
    assert len(KEYPOINTS) == 17


def test_keypoints_guessed_below_the_image_do_not_pull_the_crop_there() -> None:
    cut_off = person({0: (300, 280), 27: (300, 900)})
    square = square_around(cut_off, SHAPE, 1.0)
    assert square.y + 0.5 * square.size == pytest.approx(479.5)


def test_somebody_without_keypoints_is_cropped_around_the_box() -> None:
    square = square_around(person({}, box=(100, 50, 200, 350)), SHAPE, 1.2)
    assert square == Square(150, 200, pytest.approx(360))


@given(st.lists(st.sampled_from([0.0, 1e9, -1e9, np.nan, np.inf, 5.5]), min_size=66, max_size=66))
def test_outlying_landmarks_still_give_a_square_in_the_image(numbers: list[float]) -> None:
    landmarks = np.array(numbers, np.float32).reshape(33, 2)
    wild = Person(1, 0.5, np.array([3, 4, 5, 6], np.float32), landmarks, np.ones(33, np.float32))
    square = square_around(wild, SHAPE, 1.2)
    assert -0.5 <= square.x <= 639.5
    assert -0.5 <= square.y <= 479.5
    assert MIN_SIZE <= square.size <= 1.2 * 640


def test_a_crop_of_the_image_s_own_pixels_is_those_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    shown = crop(image, Square(x=29.5, y=19.5, size=32), 32)
    assert np.array_equal(shown, image[4:36, 14:46])


@pytest.mark.parametrize("size", [100.0, 300.0, 517.3, 700.0, 1300.0])
def test_a_point_of_the_image_lies_in_the_crop_where_the_square_says(size: float) -> None:
    """Whatever the scale, also when the image is shrunk first: colours tell the place."""
    height, width = 900, 1200
    image = smooth_image(height, width)
    square = Square(601.3, 452.8, size)
    shown = crop(image, square, 224).astype(float)
    place = np.array([[x, y] for x in (60, 112, 160) for y in (60, 112, 160)], np.float32)
    pixels = (place + 0.5) * (size / 224) + np.array([square.x, square.y]) - 0.5 * size
    back = square.to_crop(pixels.astype(np.float32), 224)
    assert back == pytest.approx(place, abs=1e-3)
    inside = ((pixels > 5) & (pixels < (width - 5, height - 5))).all(axis=1)
    assert inside.sum() >= 3
    for (u, v), (x, y) in zip(place[inside].astype(int), pixels[inside], strict=True):
        assert shown[v, u, 0] == pytest.approx(x * 200 / width, abs=1.5)
        assert shown[v, u, 1] == pytest.approx(y * 200 / height, abs=1.5)


def test_what_lies_outside_of_the_image_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    for size, resolution in ((80.0, 64), (400.0, 64)):
        shown = crop(white, Square(0, 50, size), resolution)
        assert shown[:, : resolution // 2 - 2].max() == 0
        assert shown[resolution // 2, resolution // 2 + 2].min() == 255


def test_a_fine_pattern_becomes_grey_instead_of_a_false_pattern() -> None:
    """Every other row white: between neighbours alone one would see bars that are not there."""
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[::2] = 255
    shown = crop(stripes, Square(500, 500, 930.0), 224)
    aliased = cv2.resize(stripes, (224, 224), interpolation=cv2.INTER_LINEAR)
    assert shown[20:-20].std() < 20
    assert aliased.std() > 20


@pytest.mark.parametrize("device", DEVICES, ids=str)
@settings(max_examples=40)
@given(
    x=st.floats(-50, 350),
    y=st.floats(-50, 250),
    size=st.floats(16, 700),
)
def test_crops_on_the_device_are_those_of_opencv(device, x, y, size):
    image = wavy_image(200, 300)
    square = Square(x, y, size)
    found = crop_on_device(upload(image, device), [square], 64).cpu().numpy()[0].transpose(1, 2, 0)
    expected = crop(image, square, 64).astype(np.float32)
    # OpenCV rounds places to 1/32 pixel and values to whole numbers; at black borders steps of
    # 255 make the former visible.
    assert np.abs(found - expected).mean() < 1.0
    assert np.quantile(np.abs(found - expected), 0.9) < 2.0


def test_all_squares_are_cut_at_once_each_from_its_own_place():
    image = upload(wavy_image(200, 300), CPU)
    squares = [Square(50, 60, 40), Square(200, 100, 150), Square(150, 100, 500)]
    together = crop_on_device(image, squares, 32)
    for i, square in enumerate(squares):
        torch.testing.assert_close(together[i : i + 1], crop_on_device(image, [square], 32))


def test_the_networks_get_red_first_scaled_and_normalised() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    images = to_input([red, red], mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    assert images.shape == (2, 3, 4, 4)
    assert images[1, :, 2, 3].tolist() == pytest.approx([1.0, -2.0, -3.0])
