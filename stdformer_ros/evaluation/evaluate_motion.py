"""An estimator on motion capture, through synthetic cameras and a detector that makes mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.body.body_model import LEVELS, BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.causal_answers import causal_answers
from stdformer_ros.evaluation.faulty_detector import Detections, as_people, detect
from stdformer_ros.evaluation.lifted_landmarks import lift
from stdformer_ros.evaluation.motion_errors import JOINTS, FrameErrors, summary
from stdformer_ros.evaluation.motion_scenes import Scene, SceneMaker, read_clip
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.types import Body

_TRUE = [JOINT_NAMES.index(name) for name in JOINTS]
_PELVIS = JOINT_NAMES.index("pelvis")


@dataclass(frozen=True)
class SceneResult:
    """What came of a scene.

    Attributes:
        scene: the truth.
        detections: what the estimator saw of it.
        bodies: its answers.
        errors: of these.
        lifted: (N, 14, 3) the baseline's joints, metres, camera frame.
        baseline: errors of these.
    """

    scene: Scene
    detections: Detections
    bodies: list[Body]
    errors: FrameErrors
    lifted: NDArray[np.float64]
    baseline: FrameErrors


class MotionEvaluation:
    """Runs an estimator on clips.

    Args:
        estimator: one that reads landmarks.
        seed: of bodies, cameras and the detector's faults.

    Raises:
        ValueError: if the estimator reads images or lacks one of the common joints.
    """

    def __init__(self, estimator: Estimator, seed: int = 0) -> None:
        if estimator.reads_images:
            raise ValueError(
                f"{estimator.name} reads images, and people of motion capture have none; take an "
                f"estimator that reads landmarks, or --dataset"
            )
        missing = sorted({"pelvis", *JOINTS} - set(estimator.joint_names))
        if missing:
            raise ValueError(f"{estimator.name} has no {', '.join(missing)}, which errors are of")
        self.estimator = estimator
        self.seed = seed
        self._make_scenes = SceneMaker(seed)
        self._rows = [estimator.joint_names.index(name) for name in JOINTS]
        self._pelvis = estimator.joint_names.index("pelvis")
        self._body = _same_body(estimator)

    def __call__(self, paths: Iterable[Path]) -> Iterator[list[SceneResult]]:
        """The scenes of one clip after the other.

        Raises:
            ValueError: naming the file, if a clip cannot be read.
        """
        for path in paths:
            motion = read_clip(path)
            yield [self._run(scene) for scene in self._make_scenes(path.stem, motion)]

    @property
    def vertices(self) -> int | None:
        """How many vertices the mesh has that is compared, if one is."""
        return None if self._body is None else self._body.level

    def _run(self, scene: Scene) -> SceneResult:
        pixels = scene.pixels
        detections = detect(pixels, scene.pixel_height, scene.seed)
        bodies = causal_answers(self.estimator, scene.camera, as_people(detections))
        joints = scene.joints.numpy()
        true, pelvis = joints[:, _TRUE], joints[:, _PELVIS]
        late = self.estimator.delay_frames
        answered = bodies[late:]
        known = slice(None, len(answered))
        ours = np.stack([body.joints for body in answered])
        errors = FrameErrors.of(
            ours[:, self._rows],
            ours[:, self._pelvis],
            true[known],
            pelvis[known],
            self._vertex_errors(scene, answered, ours[:, self._pelvis]),
        )
        lifted = _lift(scene, detections)
        baseline = FrameErrors.of(lifted[:, 1:], lifted[:, 0], true, pelvis)
        return SceneResult(scene, detections, bodies, errors, lifted[:, 1:], baseline)

    def _vertex_errors(
        self, scene: Scene, bodies: list[Body], pelvis: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        if self._body is None:
            return None
        errors = []
        for start in range(0, len(bodies), 64):
            rows = slice(start, start + 64)
            rotations = scene.rotations[: len(bodies)][rows]
            true, _ = self._body(rotations, scene.betas.expand(len(rotations), -1))
            ours = np.stack([b.vertices for b in bodies[rows] if b.vertices is not None])
            apart = torch.from_numpy(ours - pelvis[rows, None]) - true
            errors.append(1e3 * torch.linalg.vector_norm(apart, dim=-1).mean(-1).numpy())
        return np.concatenate(errors)


def clip_row(results: list[SceneResult]) -> dict[str, Any]:
    """The line of a clip in the JSON file."""
    return {
        "clip": results[0].scene.clip,
        **summary([r.errors for r in results]),
        "baseline": summary([r.baseline for r in results]),
    }


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


def _lift(scene: Scene, detections: Detections) -> NDArray[np.float64]:
    """(N, 15, 3): the baseline's pelvis and its joints in the order of `JOINTS`."""
    joints = scene.joints.numpy()[:, [_PELVIS, *_TRUE]].astype(np.float64)
    seen = scene.camera.rays(detections.landmarks)
    faults = seen - scene.camera.rays(scene.pixels)
    return lift(joints, ("pelvis", *JOINTS), faults.astype(np.float64))


def _same_body(estimator: Estimator) -> BodyModel | None:
    """The embedded body at the level of the estimator's mesh, if that is its mesh."""
    if estimator.faces is not None:
        for level in LEVELS:
            body = BodyModel(level)
            if np.array_equal(body.faces, estimator.faces):
                return body
    return None
