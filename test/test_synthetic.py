"""Synthetic people: what the network is told agrees with what it should answer."""

from __future__ import annotations

from math import radians

import numpy as np
import pytest
import torch
from handmade_motion import lively, moving, still
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.body.landmarks import LANDMARK_NAMES, BodyLandmarks
from stdformer_ros.training import landmark_noise, synthetic
from stdformer_ros.training.bvh import Motion
from stdformer_ros.training.motion_library import MotionLibrary
from stdformer_ros.training.retarget import retarget
from stdformer_ros.training.synthetic import SyntheticBatch, SyntheticPeople

FRAMES, ANSWERS = 9, 2


def people(*motions: Motion) -> SyntheticPeople:
    library = MotionLibrary([retarget(m) for m in motions], FRAMES)
    return SyntheticPeople(library, ANSWERS)


@pytest.fixture
def perfect_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIAS", "BURST_RATE", "SWAP_RATE", "TRUNCATED"):
        monkeypatch.setattr(landmark_noise, name, 0.0)
    monkeypatch.setattr(landmark_noise, "NOISE", (1e-12, 1e-12))


def true_landmarks(batch: SyntheticBatch) -> Tensor:
    """(B, K, 21, 3) camera coordinates, from the batch's own truth."""
    count, answers = batch.rotations.shape[:2]
    body = BodyModel(108)
    betas = batch.betas[:, None].expand(-1, answers, -1).flatten(0, 1)
    rest = body.joints_template + torch.einsum("jck,bk->bjc", body.joints_shapedirs, betas)
    turns, joints = forward_kinematics(batch.rotations.flatten(0, 1), rest)
    points = BodyLandmarks()(turns, joints, rest, betas).unflatten(0, (count, answers))
    return points + batch.pelvis[:, :, None]


@pytest.mark.usefixtures("perfect_detector")
def test_rays_are_the_projected_landmarks_of_the_true_body() -> None:
    torch.manual_seed(0)
    batch = people(lively(60)).sample(100)
    points = true_landmarks(batch)
    expected = points[..., :2] / points[..., 2:]
    torch.testing.assert_close(batch.rays[:, -ANSWERS:], expected, atol=1e-4, rtol=1e-4)


def test_shapes_are_as_documented() -> None:
    batch = people(lively(60)).sample(5)
    assert batch.rays.shape == (5, FRAMES, 21, 2)
    assert batch.visibility.shape == (5, FRAMES, 21)
    assert batch.rotations.shape == (5, ANSWERS, 24, 3, 3)
    assert batch.betas.shape == (5, 10)
    assert batch.pelvis.shape == (5, ANSWERS, 3)


@pytest.mark.usefixtures("perfect_detector")
def test_the_left_of_a_person_who_faces_the_camera_is_on_the_images_right() -> None:
    torch.manual_seed(0)
    batch = people(still(40)).sample(400)
    towards_camera = batch.rotations[:, -1, 0, :, 2] @ torch.tensor([0.0, 0.0, -1.0])
    left, right = (LANDMARK_NAMES.index(f"{side}_shoulder") for side in ("left", "right"))
    across = batch.rays[:, -1, left, 0] - batch.rays[:, -1, right, 0]
    facing, away = towards_camera > 0.7, towards_camera < -0.7
    assert facing.sum() > 50
    assert away.sum() > 50
    assert (across[facing] > 0).all()
    assert (across[away] < 0).all()


@pytest.mark.usefixtures("perfect_detector")
def test_people_stand_with_their_heads_up_which_is_small_y() -> None:
    torch.manual_seed(0)
    batch = people(still(40)).sample(100)
    nose, heel = LANDMARK_NAMES.index("nose"), LANDMARK_NAMES.index("left_heel")
    assert (batch.rays[:, :, nose, 1] < batch.rays[:, :, heel, 1]).all()


def test_cameras_stand_around_people_within_the_documented_limits() -> None:
    torch.manual_seed(0)
    batch = people(still(40)).sample(1000)
    x, y, depth = batch.pelvis[:, -1].T
    low, high = synthetic.DISTANCE
    assert low <= depth.min() < 1.1 * low
    assert 0.9 * high < depth.max() <= high
    assert ((x / depth).abs() <= synthetic.OFF_AXIS + 1e-6).all()
    assert ((y / depth).abs() <= synthetic.OFF_AXIS + 1e-6).all()
    # as many near as far on a logarithmic scale
    assert depth.log().median().item() == pytest.approx(0.5 * np.log(low * high), abs=0.12)
    up = batch.rotations[:, -1, 0, :, 1]  # of the upright body, in the camera
    tilt = torch.arcsin((-up[:, 1]).clamp(-1, 1))
    assert tilt.min() > radians(90 - 30 - 5 * 4)
    headings = torch.atan2(batch.rotations[:, -1, 0, 0, 2], batch.rotations[:, -1, 0, 2, 2])
    quarters = torch.histc(headings, 4, -np.pi, np.pi)
    assert (quarters > 180).all(), "people are seen from all sides"


def test_rotations_are_rotations() -> None:
    batch = people(lively(60)).sample(50)
    product = batch.rotations @ batch.rotations.transpose(-1, -2)
    torch.testing.assert_close(product, torch.eye(3).expand_as(product), atol=1e-4, rtol=0)
    assert (torch.linalg.det(batch.rotations) > 0).all()


def test_shapes_differ_like_adults() -> None:
    torch.manual_seed(0)
    betas = people(still(40)).sample(500).betas
    assert betas.mean().abs() < 0.06
    assert betas.std().item() == pytest.approx(1.0, abs=0.06)


def test_a_walker_moves_in_metres() -> None:
    """lively() walks 0.02 units a frame to its left, and half a unit is about a metre's half."""
    torch.manual_seed(0)
    motion = lively(60)
    scale = retarget(motion).root[0, 1] / motion.root[0, 1]
    batch = people(motion).sample(100)
    step = (batch.pelvis[:, 1] - batch.pelvis[:, 0]).norm(dim=-1)
    truth = np.linalg.norm(np.diff(motion.root, axis=0), axis=1) * scale
    # windows run at half to double speed
    assert step.min() > 0.5 * truth.min() - 1e-4
    assert step.max() < 2.0 * truth.max() + 1e-4


def test_people_walk_where_their_bodies_say() -> None:
    """Sideways, upright: each step goes along the body's own left-right axis, in every camera."""
    torch.manual_seed(0)
    frames = 40
    root = np.arange(frames)[:, None] * np.array([0.05, 0.0, 0.0])
    batch = people(moving({"hip": np.zeros((frames, 3))}, root)).sample(200)
    step = batch.pelvis[:, 1] - batch.pelvis[:, 0]
    leftward = batch.rotations[:, 1, 0, :, 0]
    along = (step * leftward).sum(-1).abs()
    torch.testing.assert_close(along, step.norm(dim=-1), atol=1e-5, rtol=1e-4)


def test_the_fixed_batch_is_the_same_at_every_call_and_leaves_others_random_numbers_alone() -> None:
    source = people(lively(60))
    torch.manual_seed(7)
    undisturbed = torch.rand(3)
    torch.manual_seed(7)
    first = source.sample_fixed(10)
    assert torch.rand(3).tolist() == undisturbed.tolist()
    second = source.sample_fixed(10)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.rays, source.sample_fixed(10, seed=1).rays)


def test_batches_differ() -> None:
    source = people(lively(60))
    assert not torch.equal(source.sample(4).rays, source.sample(4).rays)
