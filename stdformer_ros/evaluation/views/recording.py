"""The people in each view of a recording, and which tracks in different views are the same person.

`ViewRecorder` runs the pipeline over one view and keeps everybody in each frame. `people_in_views`
then matches the tracks of all views: tracks of the same person can be triangulated to one place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from stdformer_ros.body.body_landmarks import (
    BLAZEPOSE_INDEX,
    LANDMARK_NAMES,
    LIMB_ROWS,
    BodyLandmarks,
)
from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.evaluation.views.cameras import Array, CalibratedCamera, triangulate
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Body, Frame, Human

JOINTS = tuple(
    f"{side}_{name}"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
"""The 12 joints that BlazePose, every estimator and every markerless reference have."""
HIPS = (JOINTS.index("left_hip"), JOINTS.index("right_hip"))

_MARKED = [BLAZEPOSE_INDEX[LANDMARK_NAMES.index(name)] for name in JOINTS]
_OF_LIMBS = [LIMB_ROWS.index(LANDMARK_NAMES.index(name)) for name in JOINTS]


LONG_ENOUGH = 0.4
"""A track that is visible in a smaller fraction of the frames is not evaluated."""
MAX_PEOPLE = 3
"""Number of people in each view that are matched, those who are visible longest and largest."""
SAMPLES = 10
"""Frames in which views are compared."""
SAME_PERSON = 0.05
"""Two views show the same person if the median distance between their landmarks and the
triangulated ones is below this fraction of the person's height. It is 0.09 and more for two people,
and 0.015 for one person in a rough calibration."""


@dataclass(frozen=True)
class Observation:
    """One person in one frame of one view.

    Attributes:
        track_id: identity in this view.
        height: of the box, pixels.
        pixels: (12, 2) BlazePose's landmarks of `JOINTS`.
        visibility: (12,) of the landmarks.
        joints: (12, 3) of the estimator, metres, camera frame.
        landmarks: (12, 3) BlazePose's landmarks on the estimator's body, metres, camera frame;
            None if the estimator does not give the embedded body.
        blazepose: (12, 3) BlazePose's own estimate in 3D, metres, camera axes; None if unknown.
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


Recording = Sequence[Sequence[Observation]]
"""Everybody in each frame of one view."""
Track = list[Observation | None]
"""One person in each frame of one view; None where they are not visible."""


class ViewRecorder:
    """Runs a pipeline over one view, causally, as `cli run` does.

    Args:
        pipeline: one whose estimator has the 12 joints.

    Raises:
        ValueError: if the estimator lacks one of them, or answers with a delay.
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
    ) -> Iterator[tuple[float, list[Observation]]]:
        """The stamp of each frame and everybody in it."""
        for answer in self._pipeline.follow(_calibrated(camera, frame) for frame in frames):
            yield answer.frame.stamp, [self._observation(human) for human in answer.humans]

    def _observation(self, human: Human) -> Observation:
        person, body = human.person, human.body
        world = person.world_landmarks
        return Observation(
            person.track_id,
            float(person.box[3] - person.box[1]),
            person.landmarks[_MARKED].astype(np.float64),
            person.visibility[_MARKED].astype(np.float64),
            body.joints[self._rows].astype(np.float64),
            self._body.landmarks(body),
            None if world is None else world[_MARKED].astype(np.float64),
            body.joint_scores[self._rows].astype(np.float64),
        )


def _calibrated(camera: CalibratedCamera, frame: Frame) -> Frame:
    """The frame with the calibrated intrinsics instead of assumed ones."""
    height, width = frame.image.shape[:2]
    return replace(frame, camera=camera.pinhole(width, height))


class _MarkedBody:
    """Computes the landmarks of the embedded body from the parameters that an estimator gives."""

    def __init__(self) -> None:
        self._body = BodyModel(108)
        self._landmarks = BodyLandmarks()

    def landmarks(self, body: Body) -> Array | None:
        """(12, 3) metres, camera frame, or None without the embedded body's parameters."""
        if body.rotations is None or body.betas is None or len(body.joints) != 24:
            return None
        rotations, betas = torch.from_numpy(body.rotations)[None], torch.from_numpy(body.betas)
        shaped = torch.einsum("jck,k->jc", self._body.joints_shapedirs, betas)
        rest = (self._body.joints_template + shaped)[None]
        global_rotations, joints = forward_kinematics(rotations, rest)
        limbs = self._landmarks.limbs(global_rotations, joints)[0, _OF_LIMBS].numpy()
        return np.asarray(limbs + body.joints[0], np.float64)


def people_in_views(
    cameras: Sequence[CalibratedCamera], recordings: Sequence[Recording]
) -> list[list[Track]]:
    """Everybody whom all views show, sorted by how long and how large they are visible.

    Args:
        cameras: V of them.
        recordings: V of them, of the same length.

    Returns:
        For each person their track in each view. If no person is in all views, the person whom
        each view shows longest and largest.
    """
    views = [_tracks(recording) for recording in recordings]
    choices = list(product(*[range(len(tracks)) for tracks in views]))
    disagreements = [
        _disagreement(cameras, [tracks[i] for tracks, i in zip(views, choice, strict=True)])
        for choice in (choices if len(choices) > 1 else [])
    ]
    found: list[tuple[int, ...]] = []
    for k in np.argsort(disagreements):
        taken = any(i == j for other in found for i, j in zip(choices[k], other, strict=True))
        if disagreements[k] < SAME_PERSON and not taken:
            found.append(choices[k])
    if not found:
        return [[tracks[0] if tracks else [None] * len(recordings[0]) for tracks in views]]
    people = [[tracks[i] for tracks, i in zip(views, c, strict=True)] for c in found]
    return sorted(people, key=lambda tracks: -sum(_weight(track) for track in tracks))


def _tracks(recording: Recording) -> list[Track]:
    """The tracks of one view that are long enough, the longest and largest first."""
    by_identity: defaultdict[int, Track] = defaultdict(lambda: [None] * len(recording))
    for frame, observations in enumerate(recording):
        for observation in observations:
            by_identity[observation.track_id][frame] = observation
    tracks = sorted(by_identity.values(), key=_weight, reverse=True)
    least = LONG_ENOUGH * len(recording)
    long = [t for t in tracks if sum(observation is not None for observation in t) >= least]
    return long[:MAX_PEOPLE]


def _weight(track: Track) -> float:
    return sum(observation.height for observation in track if observation is not None)


def _disagreement(cameras: Sequence[CalibratedCamera], tracks: Sequence[Track]) -> float:
    """Median distance of the tracks from their triangulation, as a fraction of the height."""
    frames = np.linspace(0, len(tracks[0]) - 1, SAMPLES + 2).astype(int)[1:-1]
    pixels = np.zeros((len(tracks), len(frames), len(JOINTS), 2))
    weights = np.zeros(pixels.shape[:3])
    heights = []
    for view, track in enumerate(tracks):
        for k, frame in enumerate(frames):
            observation = track[frame]
            if observation is not None:
                pixels[view, k], weights[view, k] = observation.pixels, observation.visibility
                heights.append(observation.height)
    _, distance = triangulate(cameras, pixels, weights)
    seen = np.isfinite(distance) & (weights > 0)
    if not seen.any(axis=(1, 2)).all():
        return np.inf
    medians = [np.median(d[s]) for d, s in zip(distance, seen, strict=True)]
    return float(np.mean(medians) / np.mean(heights))
