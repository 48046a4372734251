"""What happens to a person's answers in the pipeline: order of the steps, velocities, restarts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.pipeline import MAX_GAP_SECONDS, Pipeline
from stdformer_ros.postprocess.smoothing import (
    BodyPostprocessor,
    BodySmoother,
    JointVelocities,
    OneEuro,
)
from stdformer_ros.types import Body, Frame, Person

STEP = 1 / 30
CAMERA = Camera(1280, 720, 900.0, 900.0, 640.0, 360.0)


def still_body(x: float = 0.0) -> Body:
    """A body of one joint, the pelvis."""
    return Body(np.float32([[x, 0.0, 3.0]]), np.ones(1, np.float32), None, None, None, True)


def somebody(track_id: int, x: float = 0.0, torso_depth: float = np.nan) -> Person:
    """A person whose landmarks all lie at this x."""
    landmarks = np.full((33, 2), x, np.float32)
    return Person(
        track_id, 1.0, np.zeros(4, np.float32), landmarks, np.ones(33), torso_depth=torso_depth
    )


def frame_at(stamp: float) -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8), stamp, CAMERA)


def test_velocities_are_low_passed_differences_in_metres_per_second() -> None:
    velocities = JointVelocities()
    joints = np.zeros((2, 3), np.float32)
    assert (velocities(joints, np.inf, 0.1) == 0).all(), "the first frame"
    first = velocities(joints + np.float32([0.3, 0, 0]), 0.1, 0.1)
    np.testing.assert_allclose(first[:, 0], 0.5 * 3.0, rtol=1e-6)
    repeated = velocities(joints + np.float32([0.9, 0, 0]), 0.0, 0.1)
    np.testing.assert_array_equal(repeated, first)
    unfiltered = velocities(joints + np.float32([1.0, 0, 0]), 0.1, 0.0)
    np.testing.assert_allclose(unfiltered[:, 0], 1.0, rtol=1e-5)


def test_bodies_are_corrected_then_smoothed_then_moved_to_the_measured_distance() -> None:
    names = ("pelvis", "left_shoulder", "right_shoulder", "left_hip", "right_hip")
    steps: list[tuple[str, float]] = []

    def correct(body: Body, person: Person, camera: Camera, seconds: float) -> Body:
        steps.append(("correct", seconds))
        return replace(body, joints=body.joints + np.float32([0, 0, 1]))

    def smooth(body: Body, stamp: float) -> Body:
        steps.append(("smooth", stamp))
        return replace(body, joints=2 * body.joints)

    process = BodyPostprocessor(names, correct, smooth)
    process.velocity_seconds = 0.0
    body = Body(np.tile(np.float32([0, 0, 1]), (5, 1)), np.ones(5), None, None, None, True)
    person = somebody(1, torso_depth=2.88)
    measured, velocities = process(body, person, CAMERA, 5.0)
    # corrected to 2 m, smoothed to 4 m; the torso's surface at 3.88 m was measured at 2.88 m
    np.testing.assert_allclose(measured.joints[:, 2], 4.0 * 2.88 / 3.88, rtol=1e-5)
    assert measured.measured_depth
    assert (velocities == 0).all()
    body = replace(body, joints=body.joints + np.float32([0.1, 0, 0]))
    moved, velocities = process(body, person, CAMERA, 5.5)
    np.testing.assert_allclose(velocities[:, 0], moved.joints[:, 0] / 0.5, rtol=1e-5)
    assert steps == [("correct", 0.0), ("smooth", 5.0), ("correct", 0.5), ("smooth", 5.5)]


# In the pipeline.


class FirstLandmark(Estimator):
    """Answers with one joint, at the x of the person's first landmark."""

    name = "first_landmark"
    window = 2
    joint_names = ("pelvis",)
    skeleton = ()
    faces = None

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        return {"place": torch.tensor([[p.landmarks[0, 0], 0.0, 3.0] for p in people])}

    def decode(self, windows: Features) -> list[Body]:
        places = windows["place"][:, -1].numpy()
        return [still_body(float(place[0])) for place in places]


def strong_smoother() -> Callable[[Body, float], Body]:
    return BodySmoother(("pelvis",), OneEuro(1.0, 0.0))


def run(make: Callable | None, frames: Sequence[tuple[float, dict[int, float]]]) -> list:
    """The answered x of each person, by identity, for frames of a stamp and x by identity."""
    people: list[Person] = []
    pipeline = Pipeline(lambda frame: people, FirstLandmark(), make)
    answers = []
    for stamp, places in frames:
        people = [somebody(i, x) for i, x in places.items()]
        answer = pipeline(frame_at(stamp))
        answers.append({h.person.track_id: float(h.body.joints[0, 0]) for h in answer.humans})
    return answers


def test_without_a_smoother_answers_stay_as_they_are() -> None:
    frames = [(i * STEP, {1: float(i % 2)}) for i in range(6)]
    assert [a[1] for a in run(None, frames)] == [0, 1, 0, 1, 0, 1]
    assert [a[1] for a in run(strong_smoother, frames)] != [0, 1, 0, 1, 0, 1]


def test_a_filter_changes_while_the_stream_runs() -> None:
    """It applies to people who are there and people who come later; its memory stays."""
    pipeline = Pipeline(lambda frame: people, FirstLandmark(), partial(BodySmoother, ("pelvis",)))

    def places(frame: int, *where: float) -> list[float]:
        people[:] = [somebody(i, x) for i, x in enumerate(where)]
        answer = pipeline(frame_at(frame * STEP))
        return [float(h.body.joints[0, 0]) for h in answer.humans]

    people: list[Person] = []
    raw = [places(i, float(i % 2))[0] for i in range(4)]
    assert raw == pytest.approx([0.0, 1.0, 0.0, 1.0], abs=0.05)
    pipeline.use_filter(OneEuro(1.0, 0.0))
    assert places(4, 0.0) == pytest.approx([0.0], abs=0.05)  # the filter's first frame
    strong = places(5, 1.0)[0]
    assert 0.0 < strong < 0.3
    pipeline.use_filter(OneEuro(20.0, 0.0))
    assert strong < 0.7 < places(6, 1.0)[0] < 1.0
    places(7, 1.0, 0.0)
    assert 0.5 < places(8, 1.0, 1.0)[1] < 1.0  # a person who came later is filtered too
    pipeline.use_filter(None)
    assert places(9, 0.0, 0.0) == pytest.approx([0.0, 0.0], abs=0.05)


def test_each_person_is_smoothed_separately() -> None:
    alone = run(strong_smoother, [(i * STEP, {1: float(i)}) for i in range(6)])
    together = run(strong_smoother, [(i * STEP, {2: -5.0, 1: float(i)}) for i in range(6)])
    assert [a[1] for a in alone] == [a[1] for a in together]
    assert [a[2] for a in together] == pytest.approx([-5.0] * 6)


def test_a_new_window_restarts_the_smoother() -> None:
    gap = MAX_GAP_SECONDS + 0.1
    frames = [(0.0, {1: 0.0}), (STEP, {1: 1.0}), (STEP + gap, {1: 8.0})]
    answers = [a[1] for a in run(strong_smoother, frames)]
    assert 0 < answers[1] < 1
    assert answers[2] == 8.0
    back = run(strong_smoother, [(5.0, {1: 0.0}), (4.0, {1: 3.0})])
    assert back[1][1] == 3.0


def test_a_stream_equals_passing_the_frames_again() -> None:
    """An answer depends on the person's own frames since the window began alone."""
    frames = [(i * STEP, {1: float(np.sin(i)), 2: 1.0}) for i in range(12)]
    again = run(partial(BodySmoother, ("pelvis",)), [(s, {1: p[1]}) for s, p in frames])
    first = run(partial(BodySmoother, ("pelvis",)), frames)
    assert [a[1] for a in again] == [a[1] for a in first]


def test_a_corrector_gets_person_camera_and_seconds_since_the_frame_before() -> None:
    calls: list[tuple[int, Camera, float]] = []

    def correct(body: Body, person: Person, camera: Camera, seconds: float) -> Body:
        calls.append((person.track_id, camera, round(seconds, 6)))
        return replace(body, joints=body.joints + np.float32([10.0, 0.0, 0.0]))

    pipeline = Pipeline(lambda _: [somebody(4)], FirstLandmark(), strong_smoother, lambda: correct)
    for stamp in (1.0, 1.0 + STEP, 1.0 + STEP + 2 * MAX_GAP_SECONDS):
        (human,) = pipeline(frame_at(stamp)).humans
    assert calls == [(4, CAMERA, 0.0), (4, CAMERA, round(STEP, 6)), (4, CAMERA, 0.0)]
    assert human.body.joints[0, 0] == pytest.approx(10.0)
