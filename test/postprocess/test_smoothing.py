"""What happens to a person's answers one after the other: size, distance, filter, restarts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.pipeline import MAX_GAP_SECONDS, Pipeline
from stdformer_ros.postprocess.one_euro import BodyFilter, OneEuro
from stdformer_ros.postprocess.smoothing import BodySmoother
from stdformer_ros.postprocess.steadying import SIZE_SECONDS, SteadyDistance, SteadySize
from stdformer_ros.types import Body, Frame, Person

STEP = 1 / 30
CAMERA = Camera(1280, 720, 900.0, 900.0, 640.0, 360.0)
SKELETON = np.random.default_rng(0).normal(scale=0.4, size=(24, 3))


def body(place: Sequence[float], size: float = 1.0, betas: np.ndarray | None = None) -> Body:
    """24 joints and four vertices, the pelvis at `place`."""
    points = (size * (SKELETON - SKELETON[0]) + place).astype(np.float32)
    return Body(points, np.ones(24, np.float32), points[:4] + 0.1, None, betas, True)


def limbs(result: Body) -> float:
    hip, knee = JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("left_knee")
    return float(np.linalg.norm(result.joints[hip] - result.joints[knee]))


def test_a_size_that_trembles_comes_to_rest() -> None:
    steady = SteadySize(JOINT_NAMES)
    rng = np.random.default_rng(0)
    sizes = []
    for _ in range(300):
        sizes.append(limbs(steady(body((0.3, 0.1, 4.0), np.exp(0.03 * rng.normal())), STEP)))
    true = limbs(body((0.3, 0.1, 4.0)))
    assert np.std(sizes[30:]) < 0.2 * 0.03 * true
    assert np.mean(sizes[30:]) == pytest.approx(true, rel=0.01)


def test_nothing_moves_in_the_image() -> None:
    steady = SteadySize(JOINT_NAMES)
    for size in (1.0, 1.1, 0.9, 1.05):
        raw = body((0.3, 0.1, 4.0 * size), size)
        result = steady(raw, STEP)
        assert CAMERA.project(result.joints) == pytest.approx(CAMERA.project(raw.joints), abs=0.01)
        assert CAMERA.project(result.vertices) == pytest.approx(
            CAMERA.project(raw.vertices), abs=0.01
        )


def test_the_first_sizes_count_alike_and_old_ones_fade() -> None:
    steady = SteadySize(JOINT_NAMES)
    place, true = (0.0, 0.0, 3.0), limbs(body((0.0, 0.0, 3.0)))
    steady(body(place, 1.0), 0.0)
    assert limbs(steady(body(place, 1.21), 1e-6)) == pytest.approx(1.1 * true, rel=1e-4)
    for _ in range(int(5 * SIZE_SECONDS / 0.1)):
        last = steady(body(place, 1.5), 0.1)
    assert limbs(last) == pytest.approx(1.5 * true, rel=0.01)


def test_betas_are_remembered_too() -> None:
    steady = SteadySize(JOINT_NAMES)
    rng = np.random.default_rng(0)
    said = [
        steady(body((0, 0, 3), betas=2.0 + rng.normal(size=10).astype(np.float32)), STEP).betas
        for _ in range(300)
    ]
    assert np.std(said[60:]) < 0.25
    assert np.mean(said[60:]) == pytest.approx(2.0, abs=0.15)
    assert SteadySize(JOINT_NAMES)(body((0, 0, 3)), 0.0).betas is None


def test_joints_without_limbs_are_left_alone() -> None:
    lonely = Body(np.ones((1, 3), np.float32), np.ones(1), None, None, None, True)
    assert SteadySize(("pelvis",))(lonely, STEP) is lonely


def distances(track: Sequence[float]) -> np.ndarray:
    steady = SteadyDistance(0)
    direction = np.array([0.3, -0.2, 1.0]) / np.linalg.norm([0.3, -0.2, 1.0])
    results = [steady(body(r * direction), STEP) for r in track]
    for result, r in zip(results, track, strict=True):
        apart = result.joints - body(r * direction).joints
        assert np.ptp(apart, axis=0) == pytest.approx([0, 0, 0], abs=1e-5)  # one piece
        along = apart[0] / (np.linalg.norm(apart[0]) + 1e-9)
        assert abs(along @ direction) == pytest.approx(1.0, abs=1e-3) or np.allclose(
            apart, 0, atol=1e-5
        )
    return np.array([np.linalg.norm(result.joints[0]) for result in results])


def test_a_distance_that_trembles_calms_down() -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=400)
    smooth = distances(4.0 + noise)[60:]
    assert smooth.std() < 0.45 * 0.1
    assert np.abs(np.diff(smooth)).mean() < 0.25 * np.abs(np.diff(noise)).mean()


def test_who_comes_nearer_steadily_is_not_seen_late() -> None:
    track = 6.0 - 1.5 * STEP * np.arange(90)
    assert distances(track) == pytest.approx(track, abs=1e-4)


def test_who_stops_is_soon_seen_standing() -> None:
    track = np.concatenate([6.0 - 1.5 * STEP * np.arange(60), np.full(60, 6.0 - 1.5 * STEP * 60)])
    result = distances(track)
    assert np.abs(result - track).max() < 0.2
    assert result[-1] == pytest.approx(track[-1], abs=0.01)


def test_far_away_a_distance_is_remembered_for_longer() -> None:
    noise = 0.02 * np.random.default_rng(0).normal(size=600)
    near = distances(4.0 * (1 + noise))[200:] / 4.0
    far = distances(18.0 * (1 + noise))[200:] / 18.0
    assert far.std() < 0.75 * near.std()
    track = 18.0 - 1.5 * STEP * np.arange(90)
    assert distances(track) == pytest.approx(track, abs=1e-3), "but nobody is seen late"


def test_equal_stamps_and_a_person_at_the_camera_do_no_harm() -> None:
    steady = SteadyDistance(0)
    steady(body((0, 0, 3.0)), 0.0)
    assert steady(body((0, 0, 5.0)), 0.0).joints[0, 2] == pytest.approx(3.0)
    at_the_camera = body((0, 0, 0.0))
    assert steady(at_the_camera, STEP) is at_the_camera


def test_all_together_and_with_the_filter() -> None:
    """Size, then distance, then the filter, each with the time since the frame before."""
    rng = np.random.default_rng(0)
    settings = OneEuro(1.0, 0.5)
    whole = BodySmoother(JOINT_NAMES, settings)
    steps = [SteadySize(JOINT_NAMES), SteadyDistance(0), BodyFilter(settings, 0)]
    before = 7.0
    for stamp in (7.0, 7.03, 7.08, 7.081, 7.2):
        raw = body(rng.normal(loc=(0, 0, 4), scale=0.1), 1.0 + 0.1 * rng.random())
        expected = raw
        for step in steps:
            expected = step(expected, stamp - before)
        before = stamp
        result = whole(raw, stamp)
        assert result.joints == pytest.approx(expected.joints, abs=1e-6)
        assert result.vertices == pytest.approx(expected.vertices, abs=1e-6)


# --- in the pipeline ------------------------------------------------------------------------------


class Here(Estimator):
    """One joint, where the person's first landmark is."""

    name = "here"
    window = 2
    joint_names = ("pelvis",)
    skeleton = ()
    faces = None

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        return {"place": torch.tensor([[p.landmarks[0, 0], 0.0, 3.0] for p in people])}

    def decode(self, windows: Features) -> list[Body]:
        places = windows["place"][:, -1].numpy()
        return [Body(p[None], np.ones(1, np.float32), None, None, None, True) for p in places]


def calm() -> Callable[[Body, float], Body]:
    return BodySmoother(("pelvis",), OneEuro(1.0, 0.0))


def run(make: Callable | None, frames: Sequence[tuple[float, dict[int, float]]]) -> list:
    """Where each person is answered to be: frames of stamp and id -> place."""
    people: list[Person] = []
    pipeline = Pipeline(lambda frame: people, Here(), make)
    answers = []
    for stamp, places in frames:
        people = [
            Person(i, 1.0, np.zeros(4, np.float32), np.full((33, 2), x, np.float32), np.ones(33))
            for i, x in places.items()
        ]
        answer = pipeline(Frame(np.zeros((48, 64, 3), np.uint8), stamp, CAMERA))
        answers.append({h.person.track_id: float(h.body.joints[0, 0]) for h in answer.humans})
    return answers


def test_without_a_smoother_answers_pass_untouched() -> None:
    frames = [(i * STEP, {1: float(i % 2)}) for i in range(6)]
    assert [a[1] for a in run(None, frames)] == [0, 1, 0, 1, 0, 1]
    assert [a[1] for a in run(calm, frames)] != [0, 1, 0, 1, 0, 1]


def test_a_filter_changes_while_the_stream_runs() -> None:
    """From then on, for who is there and who comes; what it remembers goes on."""
    pipeline = Pipeline(lambda frame: people, Here(), partial(BodySmoother, ("pelvis",)))

    def places(frame: int, *where: float) -> list[float]:
        people[:] = [
            Person(i, 1.0, np.zeros(4, np.float32), np.full((33, 2), x, np.float32), np.ones(33))
            for i, x in enumerate(where)
        ]
        image = np.zeros((48, 64, 3), np.uint8)
        answer = pipeline(Frame(image, frame * STEP, CAMERA))
        return [float(h.body.joints[0, 0]) for h in answer.humans]

    people: list[Person] = []
    raw = [places(i, float(i % 2))[0] for i in range(4)]
    assert raw == pytest.approx([0.0, 1.0, 0.0, 1.0], abs=0.05)
    pipeline.use_filter(OneEuro(1.0, 0.0))
    assert places(4, 0.0) == pytest.approx([0.0], abs=0.05)  # the filter's first
    calm = places(5, 1.0)[0]
    assert 0.0 < calm < 0.3
    pipeline.use_filter(OneEuro(20.0, 0.0))
    assert calm < 0.7 < places(6, 1.0)[0] < 1.0
    places(7, 1.0, 0.0)
    assert 0.5 < places(8, 1.0, 1.0)[1] < 1.0  # who has come later is filtered too
    pipeline.use_filter(None)
    assert places(9, 0.0, 0.0) == pytest.approx([0.0, 0.0], abs=0.05)


def test_people_are_smoothed_apart() -> None:
    alone = run(calm, [(i * STEP, {1: float(i)}) for i in range(6)])
    together = run(calm, [(i * STEP, {2: -5.0, 1: float(i)}) for i in range(6)])
    assert [a[1] for a in alone] == [a[1] for a in together]
    assert [a[2] for a in together] == pytest.approx([-5.0] * 6)


def test_a_new_window_is_a_new_memory() -> None:
    gap = MAX_GAP_SECONDS + 0.1
    frames = [(0.0, {1: 0.0}), (STEP, {1: 1.0}), (STEP + gap, {1: 8.0})]
    answers = [a[1] for a in run(calm, frames)]
    assert 0 < answers[1] < 1
    assert answers[2] == 8.0
    back = run(calm, [(5.0, {1: 0.0}), (4.0, {1: 3.0})])
    assert back[1][1] == 3.0


def test_a_stream_equals_going_through_the_frames_again() -> None:
    """A person's answer depends on their own frames since the window began."""
    frames = [(i * STEP, {1: float(np.sin(i)), 2: 1.0}) for i in range(12)]
    again = run(partial(BodySmoother, ("pelvis",)), [(s, {1: p[1]}) for s, p in frames])
    first = run(partial(BodySmoother, ("pelvis",)), frames)
    assert [a[1] for a in again] == [a[1] for a in first]


def test_a_corrector_comes_first_and_is_told_who_was_seen_by_which_camera_and_when() -> None:
    told: list[tuple[int, Camera, float]] = []

    def correct(body: Body, person: Person, camera: Camera, seconds: float) -> Body:
        told.append((person.track_id, camera, round(seconds, 6)))
        return replace(body, joints=body.joints + np.float32([10.0, 0.0, 0.0]))

    people = [Person(4, 1.0, np.zeros(4, np.float32), np.zeros((33, 2), np.float32), np.ones(33))]
    pipeline = Pipeline(lambda _: people, Here(), calm, lambda: correct)
    for stamp in (1.0, 1.0 + STEP, 1.0 + STEP + 2 * MAX_GAP_SECONDS):
        (human,) = pipeline(Frame(np.zeros((48, 64, 3), np.uint8), stamp, CAMERA)).humans
    assert told == [(4, CAMERA, 0.0), (4, CAMERA, round(STEP, 6)), (4, CAMERA, 0.0)]
    assert human.body.joints[0, 0] == pytest.approx(10.0)
