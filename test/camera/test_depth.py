"""How far away a torso is in a depth image with holes, sky, other units and other people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.depth import DepthImage, torso_depth
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.postprocess.body_distance import (
    HALF_THICKNESS,
    HOLD_SECONDS,
    MeasuredDistance,
    agrees,
)
from stdformer_ros.types import Body

SIZE = (640, 480)
VISIBLE = np.ones(33, np.float32)
JOINTS = ("pelvis", "left_shoulder", "right_shoulder", "left_hip", "right_hip")


def torso_landmarks(width: float = 100, height: float = 150) -> np.ndarray:
    """Somebody who faces the camera in the middle of the image."""
    landmarks = np.zeros((33, 2), np.float32)
    right, left = 320 - width / 2, 320 + width / 2
    top, bottom = 240 - height / 2, 240 + height / 2
    landmarks[[11, 12, 23, 24]] = [(left, top), (right, top), (left, bottom), (right, bottom)]
    return landmarks


def scene(torso: float = 2.5, background: float = 6.0) -> np.ndarray:
    """A torso before a wall, in metres."""
    metres = np.full((480, 640), background, np.float32)
    metres[165:315, 270:370] = torso
    return metres


def look(metres: np.ndarray, landmarks: np.ndarray | None = None) -> float:
    points = torso_landmarks() if landmarks is None else landmarks
    return torso_depth(DepthImage(metres.astype(np.float32), 1.0), points, VISIBLE, SIZE)


def test_the_torso_is_measured_and_not_the_wall() -> None:
    assert look(scene()) == pytest.approx(2.5)


def test_millimetres_and_metres_say_the_same() -> None:
    millimetres = DepthImage((1000 * scene()).astype(np.uint16), 0.001)
    assert torso_depth(millimetres, torso_landmarks(), VISIBLE, SIZE) == pytest.approx(2.5)


@pytest.mark.parametrize("step", [2, 4])
def test_a_smaller_depth_image_is_looked_at_in_the_same_place(step: int) -> None:
    assert look(scene()[::step, ::step]) == pytest.approx(2.5)


@pytest.mark.parametrize("hole", [0.0, np.nan, np.inf, 65.535, -1.0, 0.05])
def test_what_was_not_measured_has_no_vote(hole: float) -> None:
    """Zeros, NaN, infinite sky, saturated and impossible values."""
    metres = scene()
    metres[np.random.default_rng(0).random(metres.shape) < 0.6] = hole
    assert look(metres) == pytest.approx(2.5)
    metres[:] = hole
    assert np.isnan(look(metres))


def test_an_arm_before_the_torso_and_background_beside_it_are_outvoted() -> None:
    metres = scene()
    metres[230:260] = 2.1  # a forearm
    metres[165:315, 270:295] = 6.0  # narrower than the landmarks say
    assert look(metres) == pytest.approx(2.5)


def test_noise_is_averaged() -> None:
    metres = scene() + np.random.default_rng(1).normal(0, 0.03, (480, 640))
    assert look(metres) == pytest.approx(2.5, abs=0.01)


def test_nothing_that_agrees_is_no_measurement() -> None:
    metres = np.random.default_rng(2).uniform(0.5, 8.0, (480, 640))
    assert np.isnan(look(metres))


def test_a_torso_outside_the_image_is_no_measurement() -> None:
    assert np.isnan(look(scene(), torso_landmarks() + 1000))


def test_a_hidden_torso_is_not_measured() -> None:
    depth = DepthImage(scene(), 1.0)
    hidden = np.full(33, 0.2, np.float32)
    assert np.isnan(torso_depth(depth, torso_landmarks(), hidden, SIZE))


@given(
    arrays(np.float32, (12, 16), elements=st.floats(width=32)),
    arrays(np.float32, (33, 2), elements=st.floats(-1e4, 1e4, width=32)),
)
def test_no_depth_image_breaks_it(values: np.ndarray, landmarks: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        answer = torso_depth(DepthImage(values, 1.0), landmarks, VISIBLE, SIZE)
    assert np.isnan(answer) or 0.15 < answer < 30.0


def body(distance: float = 3.0, metric: bool = False) -> Body:
    joints = np.array(
        [(0, 0, 0), (0.2, -0.5, 0), (-0.2, -0.5, 0), (0.1, 0, 0), (-0.1, 0, 0)], np.float32
    )
    joints += (0.4, 0.2, distance)
    return Body(joints, np.ones(5), joints.copy(), None, None, metric)


def test_a_body_is_put_where_its_torso_was_measured_and_stays_in_the_picture() -> None:
    far = body(3.0)
    near = MeasuredDistance()(far, JOINTS, 2.0, stamp=0.0)
    assert near.measured_depth
    assert near.metric_depth
    ratio = 2.0 / (3.0 - HALF_THICKNESS)
    np.testing.assert_allclose(near.joints, far.joints * ratio, rtol=1e-6)
    np.testing.assert_allclose(near.vertices, far.vertices * ratio, rtol=1e-6)
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
    np.testing.assert_allclose(camera.project(near.joints), camera.project(far.joints), rtol=1e-5)


def test_without_a_measurement_nothing_is_changed_or_claimed() -> None:
    estimated = body(3.0)
    answer = MeasuredDistance()(estimated, JOINTS, float("nan"), stamp=0.0)
    assert answer is estimated
    assert not answer.measured_depth


@pytest.mark.parametrize("wrong", [2500.0, 0.0025, 6.5, 1.2, -2.0, float("inf")])
def test_a_depth_that_cannot_be_this_bodys_is_left_aside(wrong: float) -> None:
    """Wrong units, the wall behind, the table before."""
    assert not agrees(body(3.0), JOINTS, wrong)
    assert MeasuredDistance()(body(3.0), JOINTS, wrong, stamp=0.0).measured_depth is False


def test_a_short_hole_does_not_throw_the_body_back() -> None:
    distance = MeasuredDistance()
    measured = distance(body(3.0), JOINTS, 2.0, stamp=0.0)
    hole = distance(body(3.0), JOINTS, float("nan"), stamp=0.1)
    np.testing.assert_array_equal(hole.joints, measured.joints)
    assert hole.measured_depth
    later = distance(body(3.0), JOINTS, float("nan"), stamp=0.1 + HOLD_SECONDS)
    np.testing.assert_array_equal(later.joints, measured.joints)  # the person's size is known
    assert not later.measured_depth


def rendered(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
    """The mesh in a depth image, by many points on each triangle."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet((1, 1, 1), 40)
    points = np.einsum("kc,fcx->kfx", weights, vertices[faces]).reshape(-1, 3).astype(np.float32)
    x, y = np.round(camera.project(points)).astype(int).T
    seen = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
    metres = np.full((camera.height, camera.width), 8.0, np.float32)
    np.minimum.at(metres, (y[seen], x[seen]), points[seen, 2])
    return metres


@pytest.mark.parametrize("degrees", [0, 45, 90, 135, 180])
def test_a_real_torso_that_was_estimated_too_far_comes_back_within_centimetres(
    degrees: float,
) -> None:
    """From all sides: the torso's thickness is that of the embedded body."""
    model = BodyModel()
    turn = np.radians(degrees)
    c, s = np.cos(turn), np.sin(turn)
    to_camera = np.array([[c, 0, s], [0, -1, 0], [s, 0, -c]])  # upright, y down
    names = JOINT_NAMES
    vertices = model.template.numpy() @ to_camera.T + (0.3, 0.0, 3.0)
    joints = (model.joints_template.numpy() @ to_camera.T + (0.3, 0.0, 3.0)).astype(np.float32)
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
    landmarks = np.zeros((33, 2), np.float32)
    wanted = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    landmarks[[11, 12, 23, 24]] = camera.project(joints[[names.index(n) for n in wanted]])
    depth = DepthImage(rendered(vertices, model.faces, camera), 1.0)
    measured = torso_depth(depth, landmarks, VISIBLE, SIZE)
    too_far = Body(joints * np.float32(1.3), np.ones(24), None, None, None, True)
    placed = MeasuredDistance()(too_far, names, measured, stamp=0.0)
    assert placed.measured_depth
    pelvis = names.index("pelvis")
    assert placed.joints[pelvis, 2] == pytest.approx(joints[pelvis, 2], abs=0.06)
