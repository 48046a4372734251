"""An estimator on motion capture, through synthetic cameras and a detector that makes mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import LEVELS, BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.motion.causal_answers import causal_answers
from stdformer_ros.evaluation.motion.errors import JOINTS, FrameErrors
from stdformer_ros.evaluation.motion.faulty_detector import Detections, as_people, detect
from stdformer_ros.evaluation.motion.hard_cases import PLAIN, Case
from stdformer_ros.evaluation.motion.lifted_landmarks import MARKS, lift
from stdformer_ros.evaluation.motion.scenes import (
    FRAME_SECONDS,
    Scene,
    SceneMaker,
    read_clip,
    standing_height,
)
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.postprocess.reprojection import ReprojectionCorrection
from stdformer_ros.postprocess.smoothing import BodySmoother, OneEuro
from stdformer_ros.types import Body, Person

CHUNK = 64
"""Bodies that are skinned at once."""

_TRUE = [JOINT_NAMES.index(name) for name in JOINTS]
_PELVIS = JOINT_NAMES.index("pelvis")
_MARK_ROWS = [[LANDMARK_NAMES.index(mark) for mark in MARKS[name]] for name in JOINTS]


@dataclass(frozen=True)
class SceneResult:
    """What came of a scene of N frames, each answer with the frame that it is for.

    Attributes:
        scene: the truth.
        detections: of the landmarks that it shows.
        seen: (N) what the estimator saw: the detections after perception.
        bodies: its answers, N - `delay_frames` of them.
        joints: (.., 14, 3) of these, `JOINTS`, metres from the pelvis, and `true_joints`.
        scores: (.., 14) of these.
        hidden: (.., 14) bool, whether a joint's landmark was lost.
        errors: of the answers.
        unsmoothed: of the estimator's own answers, before the pipeline corrects and smooths them;
            without those of a mesh.
        baseline: errors of the baseline.
    """

    scene: Scene
    detections: Detections
    seen: list[Person]
    bodies: list[Body]
    joints: NDArray[np.float32]
    true_joints: NDArray[np.float32]
    scores: NDArray[np.float32]
    hidden: NDArray[np.bool_]
    errors: FrameErrors
    unsmoothed: FrameErrors
    baseline: FrameErrors


class MotionEvaluation:
    """Runs an estimator on clips.

    Args:
        estimator: one that reads landmarks.
        seed: of bodies, cameras and the detector's faults.
        case: what is changed about the people.
        one_euro: settings of the optional filter, as the pipeline's.

    Raises:
        ValueError: if the estimator reads images or lacks one of the common joints.

    Attributes:
        body: the embedded body at the level of the estimator's mesh, None if its mesh is another.
    """

    def __init__(
        self,
        estimator: Estimator,
        seed: int = 0,
        case: Case = PLAIN,
        one_euro: OneEuro | None = None,
    ) -> None:
        if estimator.reads_images:
            raise ValueError(
                f"{estimator.name} reads images, and people of motion capture have none; take an "
                f"estimator that reads landmarks, or --dataset"
            )
        missing = sorted({"pelvis", *JOINTS} - set(estimator.joint_names))
        if missing:
            raise ValueError(f"{estimator.name} has no {', '.join(missing)}, which errors are of")
        self.estimator = estimator
        self._one_euro = one_euro
        self._make_scenes = SceneMaker(seed, case)
        self._rows = [estimator.joint_names.index(name) for name in JOINTS]
        self._pelvis = estimator.joint_names.index("pelvis")
        self.body = _same_body(estimator)

    def __call__(self, paths: Iterable[Path]) -> Iterator[list[SceneResult]]:
        """The scenes of one clip after the other.

        Raises:
            ValueError: naming the file, if a clip cannot be read.
        """
        for path in paths:
            motion = read_clip(path)
            yield [self._run(scene) for scene in self._make_scenes(path.stem, motion)]

    def _run(self, scene: Scene) -> SceneResult:
        detections = detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed)
        seen = as_people(detections)
        answers = causal_answers(self.estimator, scene.camera, seen)
        raw = answers[self.estimator.delay_frames :]
        smooth = BodySmoother(self.estimator.joint_names, self._one_euro)
        correct = ReprojectionCorrection() if self.estimator.embedded_body else None
        bodies = []
        for frame, body in enumerate(raw):
            if correct is not None:
                since = FRAME_SECONDS if frame else 0.0
                body = correct(body, seen[frame], scene.camera, since)
            bodies.append(smooth(body, frame * FRAME_SECONDS))
        joints, pelvis = self._joints(bodies)
        scores = np.stack([body.joint_scores for body in bodies])[:, self._rows]
        true = scene.joints.numpy()[: len(bodies)]
        true_joints, true_pelvis = true[:, _TRUE], true[:, _PELVIS]
        compare = partial(
            FrameErrors.of,
            true_joints=true_joints,
            true_pelvis=true_pelvis,
            true_height=scene.stature,
        )
        errors = compare(
            joints,
            pelvis,
            height=self._heights(bodies),
            mpvpe=self._vertex_errors(scene, bodies, pelvis),
        )
        unsmoothed = compare(*self._joints(raw), height=self._heights(raw))
        hidden = [detections.lost[: len(bodies), marks].any(axis=1) for marks in _MARK_ROWS]
        return SceneResult(
            scene,
            detections,
            seen,
            bodies,
            joints - pelvis[:, None],
            true_joints - true_pelvis[:, None],
            scores,
            np.stack(hidden, axis=1),
            errors,
            unsmoothed,
            _baseline_errors(scene, detections),
        )

    def _joints(self, bodies: list[Body]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, 14, 3) and the pelvis (N, 3), metres, camera frame."""
        joints = np.stack([body.joints for body in bodies])
        return joints[:, self._rows], joints[:, self._pelvis]

    def _heights(self, bodies: list[Body]) -> NDArray[np.float32] | None:
        betas = [body.betas for body in bodies if body.betas is not None]
        if self.body is None or not betas:
            return None
        return standing_height(self.body, torch.from_numpy(np.stack(betas))).numpy()

    def _vertex_errors(
        self, scene: Scene, bodies: list[Body], pelvis: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        """(N,) mm: the mean distance of the vertices, pelvis on pelvis."""
        if self.body is None:
            return None
        errors = []
        for start in range(0, len(bodies), CHUNK):
            rows = slice(start, min(start + CHUNK, len(bodies)))
            true = true_vertices(self.body, scene, rows)
            ours = np.stack([b.vertices for b in bodies[rows] if b.vertices is not None])
            apart = ours - pelvis[rows, None] - true
            errors.append(1e3 * np.linalg.norm(apart, axis=-1).mean(axis=-1))
        return np.concatenate(errors)


def true_vertices(body: BodyModel, scene: Scene, rows: slice) -> NDArray[np.float32]:
    """(n, V, 3) metres from the pelvis, of the frames `rows`."""
    rotations = scene.rotations[rows]
    vertices, _ = body(rotations, scene.betas.expand(len(rotations), -1))
    return np.asarray(vertices.numpy(), np.float32)


def clip_paths(folder: Path, matching: Iterable[str] = ()) -> list[Path]:
    """The BVH files of a folder in their order, those whose name contains one of `matching`.

    Raises:
        ValueError: if there is none.
    """
    wanted = tuple(matching) or ("",)
    paths = [p for p in sorted(folder.glob("*.bvh")) if any(w in p.name for w in wanted)]
    if not paths:
        named = f" whose name contains {' or '.join(wanted)}" if wanted != ("",) else ""
        raise ValueError(f"there is no .bvh file{named} in {folder}")
    return paths


def _baseline_errors(scene: Scene, detections: Detections) -> FrameErrors:
    true = scene.joints.numpy()[:, [_PELVIS, *_TRUE]].astype(np.float64)
    faults = scene.camera.rays(detections.landmarks) - scene.camera.rays(scene.pixels)
    ours = lift(true, ("pelvis", *JOINTS), faults.astype(np.float64))
    return FrameErrors.of(
        ours[:, 1:], ours[:, 0], true[:, 1:], true[:, 0], true_height=scene.stature
    )


def _same_body(estimator: Estimator) -> BodyModel | None:
    if estimator.faces is not None:
        for level in LEVELS:
            body = BodyModel(level)
            if np.array_equal(body.faces, estimator.faces):
                return body
    return None
