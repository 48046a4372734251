"""The default estimator from landmarks in pixels to a body in the camera's metres."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from helpers.handmade_motion import moving
from helpers.poses import standing
from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models.default.estimator import KeypointEstimator
from stdformer_ros.models.default.network import WINDOW, STDFormerKeypoints
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget
from stdformer_ros.training.people.synthetic import SyntheticPeople
from stdformer_ros.training.targets import ANSWERS
from stdformer_ros.training.train_default import evaluate_refiner
from stdformer_ros.types import Body, Frame, Person

CAMERA = Camera(1280, 720, 900.0, 900.0, 650.0, 350.0)


@pytest.fixture(scope="module")
def estimator() -> KeypointEstimator:
    """An estimator that always gives the average body, which stands and faces the view."""
    torch.manual_seed(0)
    model = STDFormerKeypoints(mesh_level=108)
    encoder = model.window_encoder
    for head in (encoder.rotations, encoder.betas, encoder.camera):
        nn.init.zeros_(head.weight)
    return KeypointEstimator(model.eval())


def frame_of(camera: Camera = CAMERA) -> Frame:
    return Frame(np.zeros((camera.height, camera.width, 3), np.uint8), 0.0, camera)


def standing_at(place: tuple[float, float, float], camera: Camera = CAMERA) -> Person:
    """The average body facing the camera, as a perfect detector sees it."""
    points = standing().numpy()
    landmarks = np.zeros((33, 2), np.float32)
    landmarks[list(BLAZEPOSE_INDEX)] = camera.project(points + np.float32(place))
    return Person(1, 1.0, np.zeros(4, np.float32), landmarks, np.ones(33, np.float32))


def answer(estimator: KeypointEstimator, *people: Person, camera: Camera = CAMERA) -> list[Body]:
    """For people who have stood still for a whole window."""
    with torch.inference_mode():
        features = estimator.encode(frame_of(camera), people)
        return estimator.decode(
            {
                name: value[:, None].expand(-1, estimator.window, *value.shape[1:])
                for name, value in features.items()
            }
        )


@pytest.mark.parametrize(
    "place", [(0.0, 0.0, 4.0), (1.2, 0.1, 4.0), (-1.0, -0.2, 3.0), (0.5, 0.4, 8.0)]
)
def test_a_body_is_where_its_landmarks_are_seen(
    estimator: KeypointEstimator, place: tuple[float, float, float]
) -> None:
    (body,) = answer(estimator, standing_at(place))
    expected = CAMERA.project(np.float32([place]))[0]
    seen = CAMERA.project(body.joints[:1])[0]
    pixels_per_metre = CAMERA.fx / place[2]
    assert np.linalg.norm(seen - expected) < 0.06 * pixels_per_metre
    # the network's camera has not learnt anything: only the order of the distance is right
    assert body.joints[0, 2] == pytest.approx(place[2], rel=0.35)


def test_somebody_on_the_images_right_has_positive_x_and_stands_upright(
    estimator: KeypointEstimator,
) -> None:
    (body,) = answer(estimator, standing_at((1.2, 0.0, 4.0)))
    joints = dict(zip(JOINT_NAMES, body.joints, strict=True))
    assert joints["pelvis"][0] > 0.8
    assert joints["head"][1] < joints["pelvis"][1] < joints["left_ankle"][1]
    assert joints["left_shoulder"][0] > joints["right_shoulder"][0]


def test_rotations_betas_and_pelvis_pose_the_body_of_the_answer(
    estimator: KeypointEstimator,
) -> None:
    (body,) = answer(estimator, standing_at((1.2, 0.3, 3.0)))
    assert body.rotations is not None
    assert body.betas is not None
    vertices, joints = BodyModel(108)(
        torch.from_numpy(body.rotations)[None], torch.from_numpy(body.betas)[None]
    )
    np.testing.assert_allclose(joints[0].numpy() + body.joints[0], body.joints, atol=1e-5)
    np.testing.assert_allclose(vertices[0].numpy() + body.joints[0], body.vertices, atol=1e-5)


def test_the_same_rays_through_another_lens_are_the_same_person(
    estimator: KeypointEstimator,
) -> None:
    other = Camera(640, 480, 400.0, 420.0, 300.0, 260.0)
    place = (0.6, 0.1, 4.0)
    (a,) = answer(estimator, standing_at(place))
    (b,) = answer(estimator, standing_at(place, other), camera=other)
    np.testing.assert_allclose(a.joints, b.joints, atol=1e-3)


def test_landmarks_that_it_does_not_read_do_not_matter(estimator: KeypointEstimator) -> None:
    person = standing_at((0.0, 0.0, 4.0))
    landmarks = person.landmarks.copy()
    landmarks[[i for i in range(33) if i not in BLAZEPOSE_INDEX]] = 1e4
    (a,) = answer(estimator, person)
    (b,) = answer(estimator, dataclasses.replace(person, landmarks=landmarks))
    assert (a.joints == b.joints).all()


def test_each_person_gets_the_answer_that_they_would_get_alone(
    estimator: KeypointEstimator,
) -> None:
    people = [standing_at((x, 0.0, 3.0 + x)) for x in (-1.0, 0.0, 1.5)]
    for person, body in zip(people, answer(estimator, *people), strict=True):
        (alone,) = answer(estimator, person)
        np.testing.assert_allclose(body.joints, alone.joints, atol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_distances_are_metric_where_the_intrinsics_are_known(
    estimator: KeypointEstimator, known: bool
) -> None:
    camera = dataclasses.replace(CAMERA, known=known)
    (body,) = answer(estimator, standing_at((0.0, 0.0, 4.0)), camera=camera)
    assert body.metric_depth is known


def test_confidences_are_probabilities(estimator: KeypointEstimator) -> None:
    (body,) = answer(estimator, standing_at((0.0, 0.0, 4.0)))
    assert body.joint_scores.shape == (24,)
    assert ((body.joint_scores > 0) & (body.joint_scores < 1)).all()


def test_it_documents_its_joints_bones_and_faces(estimator: KeypointEstimator) -> None:
    assert estimator.joint_names == JOINT_NAMES
    assert estimator.delay_frames == 0
    assert estimator.faces is not None
    assert estimator.faces.max() == 107
    assert {joint for bone in estimator.skeleton for joint in bone} == set(range(24))


def test_the_shipped_weights_follow_people_who_stand_with_their_arms_down() -> None:
    """From all sides and distances, through a simulated detector with all its faults."""
    shipped = create_estimator(EstimatorSettings("stdformer_s_keypoints", mesh_level=431))
    assert isinstance(shipped, KeypointEstimator)
    shipped.model.use_mesh_level(108)
    arms = {"lShldr": np.array([[0, 0, -75.0]] * 80), "rShldr": np.array([[0, 0, 75.0]] * 80)}
    library = MotionLibrary([retarget(moving(arms))], WINDOW + ANSWERS - 1)
    people = SyntheticPeople(library, ANSWERS)
    errors = evaluate_refiner(shipped.model, BodyModel(108), people)
    assert errors["mpjpe_mm"] < 100.0
    assert errors["pa_mpjpe_mm"] < 65.0
    assert errors["mpvpe_mm"] < 100.0


def test_the_mesh_level_can_change_while_the_stream_runs():
    estimator = create_estimator(EstimatorSettings("stdformer_s_keypoints"))
    frame, people = Frame(np.zeros((480, 640, 3), np.uint8), 0.0, Camera.assumed(640, 480)), []
    landmarks = np.random.default_rng(0).uniform((250, 100), (390, 400), (33, 2))
    people = [Person(0, 1.0, np.zeros(4), landmarks.astype(np.float32), np.ones(33, np.float32))]
    with torch.inference_mode():
        features = estimator.encode(frame, people)
        window = {k: torch.stack([v] * estimator.window, dim=1) for k, v in features.items()}
        (fine,) = estimator.decode(window)
        for level in (1723, 431, 6890):
            estimator.use_mesh_level(level)
            (body,) = estimator.decode(window)
            assert body.vertices.shape == (level, 3)
            assert estimator.faces.max() == level - 1
            np.testing.assert_allclose(body.joints, fine.joints, atol=1e-6)
    np.testing.assert_allclose(body.vertices, fine.vertices, atol=1e-6)
    with pytest.raises(ValueError, match="6890 or 1723 or 431 vertices, not 7"):
        estimator.use_mesh_level(7)
