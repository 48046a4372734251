"""`cli evaluate --motion` runs an estimator as the live pipeline does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.handmade_motion import bvh_text, lively
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import BONES, JOINT_NAMES
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.evaluation.motion.errors import (
    MotionReport,
)
from stdformer_ros.evaluation.motion.evaluate import MotionEvaluation, causal_answers
from stdformer_ros.evaluation.motion.faulty_detector import as_people, detect
from stdformer_ros.evaluation.motion.scenes import Scene, SceneMaker, read_clip
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.training.people.retarget import BodyMotion, retarget
from stdformer_ros.types import Body, Frame, Person


def motion(frames: int = 60, seed: int = 0) -> BodyMotion:
    return retarget(lively(frames, seed))


class Oracle(Estimator):
    """Finds the true body of a frame by the mean of its landmarks; can answer with a delay."""

    name = "oracle"
    window = 3
    joint_names = JOINT_NAMES
    skeleton = BONES

    def __init__(self, scenes: Sequence[Scene], delay_frames: int = 0) -> None:
        self.delay_frames = delay_frames
        body = BodyModel(431)
        self.faces = body.faces
        self._centres, self._bodies = [], []
        for scene in scenes:
            vertices, _ = body(scene.rotations, scene.betas.expand(len(scene.joints), -1))
            vertices = (vertices + scene.joints[:, :1]).numpy()
            people = as_people(detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed))
            self._centres += [p.landmarks.mean(axis=0) for p in people]
            scores = np.ones(24, np.float32)
            self._bodies += [
                Body(j, scores, v, r, scene.betas.numpy(), True)
                for j, v, r in zip(
                    scene.joints.numpy(), vertices, scene.rotations.numpy(), strict=True
                )
            ]

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        assert frame.camera.known
        return {"place": torch.from_numpy(np.stack([p.landmarks.mean(axis=0) for p in people]))}

    def decode(self, windows: Features) -> list[Body]:
        assert windows["place"].shape[1] == self.window
        places = windows["place"][:, -1 - self.delay_frames].numpy()
        centres = np.stack(self._centres)
        return [self._bodies[int(np.abs(centres - p).sum(axis=1).argmin())] for p in places]


@pytest.mark.parametrize("delay", [0, 2])
def test_an_estimator_that_knows_the_truth_has_no_error(delay: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.bvh"
    path.write_text(bvh_text(lively(40)))
    oracle = Oracle(list(SceneMaker(5)("clip", read_clip(path))), delay)
    (results,) = MotionEvaluation(oracle, seed=5)([path])
    report = MotionReport()
    report.add(results)
    (row,) = report.rows
    assert (row["clip"], row["frames"]) == ("clip", 3 * (40 - delay))
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "accel_mm_per_frame2"):
        assert row[key] == pytest.approx(0.0, abs=2e-2)
    assert report.summary()["unsmoothed"]["translation_error_mm"] == pytest.approx(0.0, abs=1e-2)
    assert row["translation_error_mm"] < 10
    assert row["baseline"]["mpjpe_mm"] > 20
    assert row["baseline"]["mpvpe_mm"] is None


def test_the_answers_are_those_of_the_live_pipeline() -> None:
    """The default estimator, frame by frame through the pipeline, and all frames as a batch."""
    scene = next(iter(SceneMaker(0)("clip", motion(25))))
    people = as_people(detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed))
    estimator = create_estimator(EstimatorSettings("stdformer_s_keypoints", mesh_level=431))
    upcoming = iter(people)
    pipeline = Pipeline(lambda frame: [next(upcoming)], estimator)
    image = np.zeros((720, 1280, 3), np.uint8)
    frames = (Frame(image, i / 30, scene.camera) for i in range(len(people)))
    live = [answer.humans[0].body for answer in pipeline.follow(frames)]
    batched = causal_answers(estimator, scene.camera, people, batch=7)
    for a, b in zip(live, batched, strict=True):
        assert a.joints == pytest.approx(b.joints, abs=1e-4)
        assert a.vertices == pytest.approx(b.vertices, abs=1e-4)
        assert a.joint_scores == pytest.approx(b.joint_scores, abs=1e-4)


def test_an_estimator_that_reads_images_is_refused() -> None:
    oracle = Oracle([])
    oracle.reads_images = True
    with pytest.raises(ValueError, match="oracle reads images"):
        MotionEvaluation(oracle)
