"""What one view of a recording shows: everybody whom the pipeline answers, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.body.body_landmarks import (
    BLAZEPOSE_INDEX,
    LANDMARK_NAMES,
    LIMB_ROWS,
    BodyLandmarks,
)
from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.evaluation.views.cameras import CalibratedCamera
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Body, Frame, Human

Array = NDArray[np.float64]

JOINTS = tuple(
    f"{side}_{name}"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
"""The 12 joints that BlazePose, every estimator and every marker-free reference mark."""
HIPS = (JOINTS.index("left_hip"), JOINTS.index("right_hip"))

_MARKED = [BLAZEPOSE_INDEX[LANDMARK_NAMES.index(name)] for name in JOINTS]
_OF_LIMBS = [LIMB_ROWS.index(LANDMARK_NAMES.index(name)) for name in JOINTS]


@dataclass(frozen=True)
class Sight:
    """One person in one frame of one view.

    Attributes:
        track_id: identity in this view.
        height: of the box, pixels.
        pixels: (12, 2) BlazePose's landmarks of `JOINTS`.
        visibility: (12,) of them.
        joints: (12, 3) the estimator's, metres, camera frame.
        landmarks: (12, 3) where BlazePose would mark the estimator's body, metres, camera frame;
            None if the estimator gives no such body.
        blazepose: (12, 3) BlazePose's own guess in space, metres; None if unknown.
        scores: (12,) of the joints, 0..1.
    """

    track_id: int
    height: float
    pixels: Array
    visibility: Array
    joints: Array
    landmarks: Array | None
    blazepose: Array | None
    scores: Array


class ViewRecorder:
    """Runs a pipeline over one view, causally, as `cli run` does.

    Args:
        pipeline: its estimator must name the 12 joints.

    Raises:
        ValueError: if the estimator lacks one of them, or answers for frames that are past.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        estimator = pipeline.estimator
        missing = sorted(set(JOINTS) - set(estimator.joint_names))
        if missing:
            raise ValueError(f"{estimator.name} does not give {', '.join(missing)}")
        if estimator.delay_frames:
            raise ValueError(
                f"{estimator.name} answers {estimator.delay_frames} frames late; only causal "
                f"estimators are evaluated on views"
            )
        self._pipeline = pipeline
        self._rows = [estimator.joint_names.index(name) for name in JOINTS]
        self._body = _MarkedBody()

    def __call__(
        self, frames: Iterable[Frame], camera: CalibratedCamera
    ) -> Iterator[tuple[float, list[Sight]]]:
        """The stamp of each frame and everybody in it."""
        for answer in self._pipeline.follow(_through(camera, frame) for frame in frames):
            yield answer.frame.stamp, [self._sight(human) for human in answer.humans]

    def _sight(self, human: Human) -> Sight:
        person, body = human.person, human.body
        world = person.world_landmarks
        return Sight(
            person.track_id,
            float(person.box[3] - person.box[1]),
            person.landmarks[_MARKED].astype(np.float64),
            person.visibility[_MARKED].astype(np.float64),
            body.joints[self._rows].astype(np.float64),
            self._body.landmarks(body),
            None if world is None else world[_MARKED].astype(np.float64),
            body.joint_scores[self._rows].astype(np.float64),
        )


def _through(camera: CalibratedCamera, frame: Frame) -> Frame:
    """The frame with the camera's intrinsics in place of assumed ones."""
    height, width = frame.image.shape[:2]
    return replace(frame, camera=camera.pinhole(width, height))


class _MarkedBody:
    """The embedded body's landmarks, from the parameters that an estimator answers."""

    def __init__(self) -> None:
        self._body = BodyModel(108)
        self._landmarks = BodyLandmarks()

    def landmarks(self, body: Body) -> Array | None:
        """(12, 3) metres, camera frame, or None without the embedded body's parameters."""
        if body.rotations is None or body.betas is None or len(body.joints) != 24:
            return None
        rotations, betas = torch.from_numpy(body.rotations)[None], torch.from_numpy(body.betas)
        shaped = torch.einsum("jck,k->jc", self._body.joints_shapedirs, betas)
        turns, joints = forward_kinematics(rotations, (self._body.joints_template + shaped)[None])
        limbs = self._landmarks.limbs(turns, joints)[0, _OF_LIMBS].numpy()
        return np.asarray(limbs + body.joints[0], np.float64)
