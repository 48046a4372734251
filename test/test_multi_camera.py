"""Several cameras share one estimator: one batch, and no camera changes the answers of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from helpers.scripted_stream import STEP, Script, Telling, frame_at, somebody
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import EstimatorSettings, PipelineSettings
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.multi_camera import MultiCameraPipeline, build_multi_camera_pipeline
from stdformer_ros.perception import PeopleTracker
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.postprocess.smoothing import OneEuro
from stdformer_ros.types import Answer, Body, Frame, Human, Person


class Counting(Telling):
    """Notes for how many people it is asked at each call."""

    def __init__(self, delay_frames: int = 0) -> None:
        super().__init__()
        self.delay_frames = delay_frames
        self.batches: list[int] = []

    def decode(self, windows: Features) -> list[Body]:
        self.batches.append(len(windows["who"]))
        return super().decode(windows)


class Cameras:
    """The pipelines of cameras with a scripted perception."""

    def __init__(self, *names: str, delay_frames: int = 0) -> None:
        self.estimator = Counting(delay_frames)
        self.scripts = {name: Script() for name in names}
        self.pipelines = MultiCameraPipeline(
            {n: Pipeline(s, self.estimator) for n, s in self.scripts.items()}
        )

    def answers(self, stamp: float, **people: Sequence[Person]) -> dict[str, Answer]:
        seen = {}
        for camera, somebodies in people.items():
            self.scripts[camera].people = list(somebodies)
            seen[camera] = self.pipelines.see(camera, frame_at(stamp))
        return self.pipelines.answer(seen)

    def show(self, stamp: float, **people: Sequence[Person]) -> dict[str, list[Human]]:
        return {camera: answer.humans for camera, answer in self.answers(stamp, **people).items()}


def test_the_people_of_all_cameras_are_one_batch() -> None:
    cameras = Cameras("front", "rear")
    humans = cameras.show(0.0, front=[somebody(1, 0.1), somebody(2, 0.2)], rear=[somebody(1, 0.9)])
    assert cameras.estimator.batches == [3]
    places = {c: [float(h.body.joints[0, 0]) for h in hs] for c, hs in humans.items()}
    assert places == {"front": pytest.approx([0.1, 0.2]), "rear": pytest.approx([0.9])}


def test_equal_ids_in_two_cameras_are_two_people_with_windows_of_their_own() -> None:
    cameras = Cameras("front", "rear")
    for i in range(3):
        humans = cameras.show(i * STEP, front=[somebody(1)])
    assert humans["front"][0].window_fill == 0.75
    humans = cameras.show(3 * STEP, front=[somebody(1)], rear=[somebody(1)])
    assert humans["front"][0].window_fill == 1.0
    assert humans["rear"][0].window_fill == 0.25


def test_a_camera_without_people_or_without_an_image_adds_nothing_to_the_batch() -> None:
    cameras = Cameras("front", "rear", "left")
    humans = cameras.show(0.0, front=[], rear=[somebody(1)])
    assert humans.keys() == {"front", "rear"}
    assert humans["front"] == []
    assert cameras.estimator.batches == [1]
    assert cameras.show(STEP, left=[]) == {"left": []}
    assert cameras.estimator.batches == [1]


def test_resetting_one_camera_leaves_the_others_windows() -> None:
    cameras = Cameras("front", "rear")
    for i in range(3):
        cameras.show(i * STEP, front=[somebody(1)], rear=[somebody(1)])
    cameras.pipelines.reset("front")
    humans = cameras.show(3 * STEP, front=[somebody(1)], rear=[somebody(1)])
    assert [humans[c][0].window_fill for c in ("front", "rear")] == [0.25, 1.0]


def test_with_a_delay_only_cameras_that_are_answered_now_have_an_answer() -> None:
    cameras = Cameras("front", "rear", delay_frames=1)
    assert cameras.answers(0.0, front=[somebody(1)]) == {}
    answers = cameras.answers(STEP, front=[somebody(1)], rear=[somebody(2)])
    assert {camera: answer.frame.stamp for camera, answer in answers.items()} == {"front": 0.0}
    answers = cameras.answers(2 * STEP, rear=[])
    assert answers.keys() == {"rear"}
    assert answers["rear"].frame.stamp == STEP
    assert [human.person.track_id for human in answers["rear"].humans] == [2]


def test_all_cameras_must_share_one_estimator() -> None:
    with pytest.raises(ValueError, match="one estimator"):
        MultiCameraPipeline(
            {"a": Pipeline(Script(), Telling()), "b": Pipeline(Script(), Telling())}
        )
    with pytest.raises(ValueError, match="at least one camera"):
        MultiCameraPipeline({})


def landmarks_of(seed: int) -> Person:
    rng = np.random.default_rng(seed)
    spread = rng.uniform([200, 100], [400, 400], (33, 2)).astype(np.float32)
    return Person(seed, 0.9, np.array([200, 100, 400, 400], np.float32), spread, np.ones(33))


def test_the_default_estimator_answers_the_same_with_other_cameras_as_alone() -> None:
    """Cameras of different sizes and lenses; the second one has an image every other time."""
    estimator = create_estimator(EstimatorSettings("stdformer_s_keypoints", mesh_level=431))
    lenses = {
        "front": Camera(640, 480, 500.0, 500.0, 320.0, 240.0),
        "rear": Camera.assumed(1280, 720),
    }

    def frame(camera: str, stamp: float) -> Frame:
        lens = lenses[camera]
        return Frame(np.zeros((lens.height, lens.width, 3), np.uint8), stamp, lens)

    scripts = {c: Script() for c in lenses}
    pipelines = MultiCameraPipeline(
        {c: Pipeline(script, estimator) for c, script in scripts.items()}
    )
    alone = {c: Pipeline(scripts[c], estimator) for c in lenses}
    for i in range(6):
        scripts["front"].people = [landmarks_of(1 + i % 2), landmarks_of(3)]
        scripts["rear"].people = [landmarks_of(5)]
        now = [camera for camera in lenses if camera == "front" or i % 2 == 0]
        together = pipelines.answer({c: pipelines.see(c, frame(c, i * STEP)) for c in now})
        for camera in now:
            answer = alone[camera](frame(camera, i * STEP))
            assert answer is not None
            for one, other in zip(answer.humans, together[camera].humans, strict=True):
                np.testing.assert_allclose(one.body.joints, other.body.joints, atol=2e-4)
                np.testing.assert_allclose(one.body.vertices, other.body.vertices, atol=2e-4)
                assert one.body.metric_depth == other.body.metric_depth == (camera == "front")
                assert one.window_fill == other.window_fill


def test_every_camera_gets_all_settings() -> None:
    settings = PipelineSettings(
        mesh_level=431,
        velocity_smoothing=0.5,
        filter_min_cutoff=1.5,
        filter_beta=0.5,
        max_people=2,
        rotate=180,
    )
    built = build_multi_camera_pipeline(["left", "right"], settings)
    first, second = built._pipelines.values()
    assert isinstance(second.perception, PeopleTracker)
    assert second.perception.max_people == 2
    assert second.rotate == first.rotate == 180
    assert second.velocity_seconds == first.velocity_seconds == 0.5
    assert second.one_euro == first.one_euro == OneEuro(1.5, 0.5)
    assert (second.make_smoother, second.make_corrector) == (
        first.make_smoother,
        first.make_corrector,
    )


def test_clones_share_networks_and_nothing_else() -> None:
    first = PeopleTracker(landmarks="lite")
    second = first.clone()
    assert second._find_landmarks is first._find_landmarks
    assert second._find_boxes is first._find_boxes
    assert second._tracker is not first._tracker
