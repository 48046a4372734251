"""Run an estimator on motion capture, through synthetic cameras and a detector with faults.

`MotionEvaluation` runs clips. `causal_answers` gives the same answers as a live stream, but it
computes many frames at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import LEVELS, BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.evaluation.motion.errors import JOINTS, FrameErrors, SceneResult
from stdformer_ros.evaluation.motion.faulty_detector import Detections, as_people, detect
from stdformer_ros.evaluation.motion.lifted_landmarks import MARKS, lift
from stdformer_ros.evaluation.motion.scenes import (
    FRAME_SECONDS,
    PLAIN,
    Case,
    Scene,
    SceneMaker,
    read_clip,
    standing_height,
)
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.postprocess.reprojection import ReprojectionCorrection
from stdformer_ros.postprocess.smoothing import BodySmoother, OneEuro
from stdformer_ros.types import Body, Frame, Person

BATCH = 64
"""Frames that are encoded, decoded or skinned at once; more frames are not faster on a CPU."""

_TRUE = [JOINT_NAMES.index(name) for name in JOINTS]
_PELVIS = JOINT_NAMES.index("pelvis")
_MARK_ROWS = [[LANDMARK_NAMES.index(mark) for mark in MARKS[name]] for name in JOINTS]


class MotionEvaluation:
    """Runs an estimator on clips.

    Args:
        estimator: one that reads landmarks, not images.
        seed: of bodies, cameras and the detector's faults.
        case: what is different about the people.
        one_euro: settings of the pipeline's optional filter; None without the filter.

    Raises:
        ValueError: if the estimator reads images or lacks one of the common joints.

    Attributes:
        body: the embedded body at the level of the estimator's mesh; None for other meshes.
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
                f"{estimator.name} reads images, which motion capture does not have; take an "
                f"estimator that reads landmarks, or --dataset"
            )
        missing = sorted({"pelvis", *JOINTS} - set(estimator.joint_names))
        if missing:
            raise ValueError(f"{estimator.name} lacks joints to compare: {', '.join(missing)}")
        self.estimator = estimator
        self._one_euro = one_euro
        self._make_scenes = SceneMaker(seed, case)
        self._rows = [estimator.joint_names.index(name) for name in JOINTS]
        self._pelvis = estimator.joint_names.index("pelvis")
        self.body = _same_body(estimator)

    def __call__(self, paths: Iterable[Path]) -> Iterator[list[SceneResult]]:
        """The results of all scenes of a clip, for one clip after the other.

        Raises:
            ValueError: naming the file, if a clip cannot be read.
        """
        for path in paths:
            motion = read_clip(path)
            yield [self._run(scene) for scene in self._make_scenes(path.stem, motion)]

    def _run(self, scene: Scene) -> SceneResult:
        detections = detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed)
        people = as_people(detections)
        answers = causal_answers(self.estimator, scene.camera, people)
        raw = answers[self.estimator.delay_frames :]
        smooth = BodySmoother(self.estimator.joint_names, self._one_euro)
        correct = ReprojectionCorrection() if self.estimator.embedded_body else None
        bodies = []
        for frame, body in enumerate(raw):
            if correct is not None:
                since = FRAME_SECONDS if frame else 0.0
                body = correct(body, people[frame], scene.camera, since)
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
            people,
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
        """`JOINTS` (N, 14, 3) and the pelvis (N, 3), metres, camera frame."""
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
        """(N,) mm: the mean distance of the vertices after the pelvises are aligned."""
        if self.body is None:
            return None
        errors = []
        for start in range(0, len(bodies), BATCH):
            rows = slice(start, min(start + BATCH, len(bodies)))
            true = true_vertices(self.body, scene, rows)
            ours = np.stack([b.vertices for b in bodies[rows] if b.vertices is not None])
            apart = ours - pelvis[rows, None] - true
            errors.append(1e3 * np.linalg.norm(apart, axis=-1).mean(axis=-1))
        return np.concatenate(errors)


def causal_answers(
    estimator: Estimator, camera: Camera, person: Sequence[Person], batch: int = BATCH
) -> list[Body]:
    """The answers that `Pipeline` would give in each of N frames of one person.

    `encode` and `decode` treat the people of a batch independently, so that many frames can be
    batched as if they were people. The windows are those of a live stream, padded with the first
    frame.

    Args:
        estimator: one that reads landmarks, not images.
        camera: of all frames.
        person: the person in each of the N >= 1 frames.
        batch: frames that are computed at once.

    Returns:
        N bodies; body n is for frame n - `estimator.delay_frames`.
    """
    frame = Frame(np.zeros((camera.height, camera.width, 3), np.uint8), 0.0, camera)
    with torch.inference_mode():
        parts = [
            estimator.encode(frame, person[start : start + batch])
            for start in range(0, len(person), batch)
        ]
        features = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        numbers = torch.arange(len(person))[:, None] + torch.arange(1 - estimator.window, 1)
        windows = numbers.clamp(min=0)
        bodies: list[Body] = []
        for rows in windows.split(batch):
            bodies += estimator.decode({k: v[rows.to(v.device)] for k, v in features.items()})
    return bodies


def true_vertices(body: BodyModel, scene: Scene, rows: slice) -> NDArray[np.float32]:
    """The true vertices (n, V, 3) of the frames `rows`, metres, camera axes, from the pelvis."""
    rotations = scene.rotations[rows]
    vertices, _ = body(rotations, scene.betas.expand(len(rotations), -1))
    return np.asarray(vertices.numpy(), np.float32)


def clip_paths(folder: Path, matching: Iterable[str] = ()) -> list[Path]:
    """The BVH files of a folder, sorted.

    Args:
        folder: of the clips.
        matching: only files whose name contains one of these; all files by default.

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
