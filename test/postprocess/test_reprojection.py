"""A body is corrected towards its detected landmarks: slowly, and only if their jitter is low."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX, BodyLandmarks
from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.body.skeleton import BONES, JOINT_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.postprocess.reprojection import CORRECTION_SECONDS, ReprojectionCorrection
from stdformer_ros.types import Body, Person

STEP = 1 / 60
CAMERA = Camera(1080, 1920, 1600.0, 1600.0, 540.0, 960.0)
MODEL, LANDMARKS = BodyModel(431), BodyLandmarks()
BETAS = np.zeros(10, np.float32)
PLACE = np.array([0.2, -0.1, 4.0], np.float32)
LEFT_SHOULDER, LEFT_WRIST = JOINT_NAMES.index("left_shoulder"), JOINT_NAMES.index("left_wrist")


def posed(turns: dict[str, tuple[float, float, float]] | None = None, yaw: float = 0.0) -> Body:
    """A body in the rest pose in front of the camera, some joints rotated by axis-angles."""
    rotations = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    facing = Rotation.from_euler("x", np.pi) * Rotation.from_euler("y", yaw)
    rotations[0] = facing.as_matrix()
    for name, turn in (turns or {}).items():
        joint = JOINT_NAMES.index(name)
        rotations[joint] = rotations[joint] @ Rotation.from_rotvec(turn).as_matrix()
    vertices, joints = MODEL(torch.from_numpy(rotations)[None], torch.zeros(1, 10))
    return Body(
        joints[0].numpy() + PLACE,
        np.ones(24, np.float32),
        vertices[0].numpy() + PLACE,
        rotations,
        BETAS,
        True,
    )


def seen(body: Body) -> Person:
    """The person with the landmarks that the camera sees of this body."""
    assert body.rotations is not None
    rest = MODEL.joints_template[None]
    turns, joints = forward_kinematics(torch.from_numpy(body.rotations)[None], rest)
    points = LANDMARKS(turns, joints, rest, torch.zeros(1, 10))[0].numpy() + body.joints[0]
    landmarks = np.full((33, 2), 500.0, np.float32)
    landmarks[list(BLAZEPOSE_INDEX)] = CAMERA.project(points.astype(np.float32))
    box = np.array([*landmarks.min(0), *landmarks.max(0)], np.float32)
    return Person(1, 1.0, box, landmarks, np.ones(33, np.float32))


def corrected(
    answer: Callable[[int], Body],
    truth: Callable[[int], Body],
    frames: int = 60,
    fault: Callable[[int, Person], Person] = lambda frame, person: person,
) -> list[Body]:
    correct = ReprojectionCorrection()
    return [
        correct(answer(i), fault(i, seen(truth(i))), CAMERA, STEP if i else 0.0)
        for i in range(frames)
    ]


def error(body: Body, truth: Body, joint: int = LEFT_WRIST) -> float:
    """A joint's distance across the line of sight, metres."""
    return float(np.linalg.norm((body.joints - truth.joints)[joint, :2]))


RAISED = {"left_shoulder": (0.0, 0.0, 0.45)}


def test_a_body_that_fits_its_landmarks_stays_as_it_is() -> None:
    body = posed(RAISED)
    last = corrected(lambda _: body, lambda _: body)[-1]
    np.testing.assert_allclose(last.joints, body.joints, atol=3e-3)
    assert last.vertices is not None
    assert body.vertices is not None
    np.testing.assert_allclose(last.vertices, body.vertices, atol=3e-3)


def test_an_arm_that_is_too_low_is_raised_and_the_legs_stay() -> None:
    answer, truth = posed(), posed(RAISED)
    bodies = corrected(lambda _: answer, lambda _: truth)
    errors = [error(body, truth) for body in bodies]
    assert errors[0] == error(answer, truth) > 0.15, "the jitter of a first frame is not known"
    assert errors[-1] < 0.35 * errors[0]
    assert max(np.abs(np.diff(errors))) < 0.2 * errors[0], "it does not jump"
    legs = [JOINT_NAMES.index(n) for n in ("left_knee", "right_knee", "left_ankle", "right_ankle")]
    assert np.abs(bodies[-1].joints[legs] - truth.joints[legs]).max() < 0.03


def test_half_of_the_correction_is_reached_after_the_time_constant() -> None:
    answer, truth = posed(), posed(RAISED)
    errors = [error(body, truth) for body in corrected(lambda _: answer, lambda _: truth)]
    soon = errors[3 + round(CORRECTION_SECONDS / STEP)]
    assert soon < errors[0] - 0.5 * (errors[0] - errors[-1])


def test_bones_keep_their_lengths_and_the_mesh_follows_the_skeleton() -> None:
    answer, truth = posed(), posed({**RAISED, "right_knee": (0.4, 0.0, 0.0)})
    last = corrected(lambda _: answer, lambda _: truth)[-1]
    starts, ends = zip(*BONES, strict=True)
    for body in (answer, last):
        lengths = np.linalg.norm(body.joints[list(ends)] - body.joints[list(starts)], axis=1)
        np.testing.assert_allclose(
            lengths, np.linalg.norm(truth.joints[list(ends)] - truth.joints[list(starts)], axis=1),
            atol=1e-5,
        )  # fmt: skip
    assert last.rotations is not None
    vertices, joints = MODEL(torch.from_numpy(last.rotations)[None], torch.zeros(1, 10))
    np.testing.assert_allclose(last.joints, joints[0].numpy() + last.joints[0], atol=1e-4)
    assert last.vertices is not None
    np.testing.assert_allclose(last.vertices, vertices[0].numpy() + last.joints[0], atol=5e-3)


def test_motion_passes_the_correction_without_a_lag() -> None:
    def yaw(frame: int) -> float:
        return 0.5 * np.sin(2 * np.pi * frame * STEP)

    bodies = corrected(lambda i: posed(yaw=yaw(i)), lambda i: posed(RAISED, yaw(i)), 120)
    late = [
        np.mean([error(bodies[i], posed(RAISED, yaw(i - lag))) for i in range(60, 120)])
        for lag in (0, 2)
    ]
    assert late[0] < late[1]
    assert late[0] < 0.06


def test_with_high_jitter_nothing_is_corrected() -> None:
    rng = np.random.default_rng(0)
    answer, truth = posed(), posed(RAISED)

    def jitter(frame: int, person: Person) -> Person:
        noise = 0.02 * np.ptp(person.landmarks[11:], axis=0).max() * rng.normal(size=(33, 2))
        return Person(1, 1.0, person.box, person.landmarks + np.float32(noise), person.visibility)

    bodies = corrected(lambda _: answer, lambda _: truth, fault=jitter)
    assert all(body is answer for body in bodies)


def test_a_wrist_landmark_that_jumps_for_one_frame_hardly_moves_the_arm() -> None:
    body = posed()

    def jump(frame: int, person: Person) -> Person:
        if frame == 30:
            person.landmarks[15] += np.float32([400, -400])
        return person

    bodies = corrected(lambda _: body, lambda _: body, fault=jump)
    assert max(error(b, body) for b in bodies) < 0.03


def test_a_landmark_of_visibility_0_does_not_count() -> None:
    answer, truth = posed(), posed(RAISED)

    def hide(frame: int, person: Person) -> Person:
        person.visibility[[13, 15, 19]] = 0.0
        return person

    last = corrected(lambda _: answer, lambda _: truth, fault=hide)[-1]
    assert error(last, answer) < 0.01


def test_bodies_without_rotations_stay_as_they_are() -> None:
    body = posed()
    points = Body(body.joints, body.joint_scores, None, None, None, True)
    correct = ReprojectionCorrection()
    assert correct(points, seen(body), CAMERA, 0.0) is points


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(-0.5, 30.0),
    st.sampled_from([0.0, -1.0, 1e-6, 0.03, 10.0]),
)
def test_for_any_landmarks_the_answer_is_finite_and_its_rotations_are_rotations(
    seed: int, depth: float, seconds: float
) -> None:
    rng = np.random.default_rng(seed)
    correct = ReprojectionCorrection()
    body = posed(RAISED)
    body = Body(
        body.joints + np.float32([0, 0, depth - 4.0]), body.joint_scores, None, body.rotations,
        BETAS, True,
    )  # fmt: skip
    landmarks = rng.uniform(-2000, 4000, (33, 2)).astype(np.float32)
    person = Person(1, 1.0, np.zeros(4, np.float32), landmarks, rng.random(33).astype(np.float32))
    for _ in range(6):
        result = correct(body, person, CAMERA, seconds)
        assert np.isfinite(result.joints).all()
        assert result.rotations is not None
        assert np.isfinite(result.rotations).all()
        assert Rotation.from_matrix(result.rotations).as_matrix() == pytest.approx(
            result.rotations, abs=1e-4
        )


def with_world(person: Person, points: np.ndarray) -> Person:
    """The person with the detector's estimate (33, 3) of the landmarks in space."""
    return replace(person, world_landmarks=points.astype(np.float32))


def landmarks_in_space(body: Body) -> np.ndarray:
    """(33, 3) metres, the middle of the hips at the origin, at half of the body's size.

    The detector sees a crop and does not know where it was: its z is the line of sight.
    """
    assert body.rotations is not None
    turns, joints = forward_kinematics(
        torch.from_numpy(body.rotations)[None], MODEL.joints_template[None]
    )
    points = np.zeros((33, 3))
    rest = MODEL.joints_template[None]
    points[list(BLAZEPOSE_INDEX)] = LANDMARKS(turns, joints, rest, torch.zeros(1, 10))[0].numpy()
    points -= points[[23, 24]].mean(axis=0)
    points[:, 2] = points @ (PLACE / np.linalg.norm(PLACE))
    return 0.5 * points


def test_world_landmarks_correct_which_way_a_leg_points() -> None:
    """Seen from the front, a leg lifted forwards or backwards is only shorter in the image."""
    forwards, backwards = ({"left_hip": (sign * 0.3, 0.0, 0.0)} for sign in (-1, 1))
    answer, truth = posed(forwards), posed(backwards)
    ankle = JOINT_NAMES.index("left_ankle")

    def depth_error(guess: Body | None) -> float:
        def fault(frame: int, person: Person) -> Person:
            return person if guess is None else with_world(person, landmarks_in_space(guess))

        last = corrected(lambda _: answer, lambda _: truth, fault=fault)[-1]
        relative = last.joints[ankle, 2] - last.joints[0, 2]
        return abs(float(relative - (truth.joints[ankle, 2] - truth.joints[0, 2])))

    unknown = depth_error(None)
    assert depth_error(truth) < unknown - 0.1
    assert depth_error(answer) > unknown - 0.05, "only a correct estimate helps"


def test_world_landmarks_that_agree_with_the_body_change_nothing() -> None:
    body = posed(RAISED)
    world = landmarks_in_space(body)
    last = corrected(
        lambda _: body, lambda _: body, fault=lambda _, person: with_world(person, world)
    )[-1]
    np.testing.assert_allclose(last.joints, body.joints, atol=1e-2)
