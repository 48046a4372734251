"""Bodies are moved to the distance that a depth image has measured."""

from __future__ import annotations

import numpy as np
import pytest

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.depth import DepthImage, torso_depth
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.postprocess.body_distance import (
    HALF_THICKNESS,
    HOLD_SECONDS,
    MeasuredDistance,
    is_plausible,
)
from stdformer_ros.types import Body

SIZE = (640, 480)
VISIBLE = np.ones(33, np.float32)
JOINTS = ("pelvis", "left_shoulder", "right_shoulder", "left_hip", "right_hip")


def body(distance: float = 3.0, metric: bool = False) -> Body:
    joints = np.array(
        [(0, 0, 0), (0.2, -0.5, 0), (-0.2, -0.5, 0), (0.1, 0, 0), (-0.1, 0, 0)], np.float32
    )
    joints += (0.4, 0.2, distance)
    return Body(joints, np.ones(5), joints.copy(), None, None, metric)


def test_a_body_moves_to_the_measured_depth_and_projects_to_the_same_pixels() -> None:
    far = body(3.0)
    near = MeasuredDistance()(far, JOINTS, 2.0, stamp=0.0)
    assert near.measured_depth
    assert near.metric_depth
    ratio = 2.0 / (3.0 - HALF_THICKNESS)
    np.testing.assert_allclose(near.joints, far.joints * ratio, rtol=1e-6)
    np.testing.assert_allclose(near.vertices, far.vertices * ratio, rtol=1e-6)
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
    np.testing.assert_allclose(camera.project(near.joints), camera.project(far.joints), rtol=1e-5)


def test_without_a_measurement_the_body_stays_and_counts_as_not_measured() -> None:
    estimated = body(3.0)
    answer = MeasuredDistance()(estimated, JOINTS, float("nan"), stamp=0.0)
    assert answer is estimated
    assert not answer.measured_depth


@pytest.mark.parametrize("wrong", [2500.0, 0.0025, 6.5, 1.2, -2.0, float("inf")])
def test_a_depth_that_cannot_be_this_bodys_is_ignored(wrong: float) -> None:
    """Wrong units, the wall behind, the table in front."""
    assert not is_plausible(body(3.0), JOINTS, wrong)
    assert MeasuredDistance()(body(3.0), JOINTS, wrong, stamp=0.0).measured_depth is False


def test_without_a_measurement_for_a_while_the_last_ratio_holds() -> None:
    distance = MeasuredDistance()
    measured = distance(body(3.0), JOINTS, 2.0, stamp=0.0)
    hole = distance(body(3.0), JOINTS, float("nan"), stamp=0.1)
    np.testing.assert_array_equal(hole.joints, measured.joints)
    assert hole.measured_depth
    later = distance(body(3.0), JOINTS, float("nan"), stamp=0.1 + HOLD_SECONDS)
    np.testing.assert_array_equal(later.joints, measured.joints)  # the person's size is known
    assert not later.measured_depth


def rendered(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
    """A depth image (H, W) of the mesh, from many points on each triangle."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet((1, 1, 1), 40)
    points = np.einsum("kc,fcx->kfx", weights, vertices[faces]).reshape(-1, 3).astype(np.float32)
    x, y = np.round(camera.project(points)).astype(int).T
    seen = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
    metres = np.full((camera.height, camera.width), 8.0, np.float32)
    np.minimum.at(metres, (y[seen], x[seen]), points[seen, 2])
    return metres


@pytest.mark.parametrize("degrees", [0, 45, 90, 135, 180])
def test_a_body_estimated_too_far_moves_to_within_6_cm_of_its_true_depth(
    degrees: float,
) -> None:
    """From all sides; the depth image shows the embedded body's torso."""
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
