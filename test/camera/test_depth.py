"""The depth of a torso in depth images with holes, sky, other units and other objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stdformer_ros.camera.depth import DepthImage, torso_depth

SIZE = (640, 480)
VISIBLE = np.ones(33, np.float32)


def torso_landmarks(width: float = 100, height: float = 150) -> np.ndarray:
    """A person who faces the camera in the middle of the image."""
    landmarks = np.zeros((33, 2), np.float32)
    right, left = 320 - width / 2, 320 + width / 2
    top, bottom = 240 - height / 2, 240 + height / 2
    landmarks[[11, 12, 23, 24]] = [(left, top), (right, top), (left, bottom), (right, bottom)]
    return landmarks


def scene(torso: float = 2.5, background: float = 6.0) -> np.ndarray:
    """A torso in front of a wall, in metres."""
    metres = np.full((480, 640), background, np.float32)
    metres[165:315, 270:370] = torso
    return metres


def measured(metres: np.ndarray, landmarks: np.ndarray | None = None) -> float:
    points = torso_landmarks() if landmarks is None else landmarks
    return torso_depth(DepthImage(metres.astype(np.float32), 1.0), points, VISIBLE, SIZE)


def test_the_depth_is_that_of_the_torso_and_not_of_the_wall() -> None:
    assert measured(scene()) == pytest.approx(2.5)


def test_millimetres_and_metres_give_the_same_depth() -> None:
    millimetres = DepthImage((1000 * scene()).astype(np.uint16), 0.001)
    assert torso_depth(millimetres, torso_landmarks(), VISIBLE, SIZE) == pytest.approx(2.5)


@pytest.mark.parametrize("step", [2, 4])
def test_a_smaller_depth_image_gives_the_same_depth(step: int) -> None:
    assert measured(scene()[::step, ::step]) == pytest.approx(2.5)


@pytest.mark.parametrize("hole", [0.0, np.nan, np.inf, 65.535, -1.0, 0.05])
def test_unmeasured_pixels_do_not_count(hole: float) -> None:
    """Zeros, NaN, infinite sky, saturated and impossible values."""
    metres = scene()
    metres[np.random.default_rng(0).random(metres.shape) < 0.6] = hole
    assert measured(metres) == pytest.approx(2.5)
    metres[:] = hole
    assert np.isnan(measured(metres))


def test_an_arm_in_front_and_background_beside_the_torso_change_nothing() -> None:
    metres = scene()
    metres[230:260] = 2.1  # a forearm
    metres[165:315, 270:295] = 6.0  # the torso is narrower than the landmarks say
    assert measured(metres) == pytest.approx(2.5)


def test_noise_is_averaged_out() -> None:
    metres = scene() + np.random.default_rng(1).normal(0, 0.03, (480, 640))
    assert measured(metres) == pytest.approx(2.5, abs=0.01)


def test_a_torso_without_one_surface_is_not_measured() -> None:
    metres = np.random.default_rng(2).uniform(0.5, 8.0, (480, 640))
    assert np.isnan(measured(metres))


def test_a_torso_outside_the_image_is_not_measured() -> None:
    assert np.isnan(measured(scene(), torso_landmarks() + 1000))


def test_a_hidden_torso_is_not_measured() -> None:
    depth = DepthImage(scene(), 1.0)
    hidden = np.full(33, 0.2, np.float32)
    assert np.isnan(torso_depth(depth, torso_landmarks(), hidden, SIZE))


@given(
    arrays(np.float32, (12, 16), elements=st.floats(width=32)),
    arrays(np.float32, (33, 2), elements=st.floats(-1e4, 1e4, width=32)),
)
def test_for_any_depth_image_the_answer_is_nan_or_in_range(
    values: np.ndarray, landmarks: np.ndarray
) -> None:
    with np.errstate(all="ignore"):
        answer = torso_depth(DepthImage(values, 1.0), landmarks, VISIBLE, SIZE)
    assert np.isnan(answer) or 0.15 < answer < 30.0
