"""Frame in, humans out: perception, one window per person, the estimator. Knows no ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from stdformer_ros.camera import Camera
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.types import Body, FloatArray, Frame, Human, Person

if TYPE_CHECKING:
    from stdformer_ros.perception.landmarks import LandmarkModel

Perception = Callable[[Frame], list[Person]]

MAX_GAP_SECONDS = 0.5
"""A person unseen for longer starts with a new window: older frames tell of another pose."""

VELOCITY_SECONDS = 0.1
"""Time constant of the low-pass over joint velocities, which difference noise would drown."""


@dataclass
class _Track:
    """What is remembered of one person between frames."""

    window: deque[Features]
    stamp: float
    joints: FloatArray | None = None
    velocities: FloatArray | None = None


@dataclass(frozen=True)
class Seen:
    """A frame and who is in it, not yet turned into bodies."""

    frame: Frame
    people: list[Person]


class Pipeline:
    """Follows everybody in a stream of frames.

    Args:
        perception: finds and identifies the people of a frame; called once a frame, in order.
        estimator: see `Estimator`.
    """

    def __init__(self, perception: Perception, estimator: Estimator) -> None:
        self.perception = perception
        self.estimator = estimator
        self._tracks: dict[int, _Track] = {}
        self._newest_stamp = -np.inf

    def __call__(self, frame: Frame) -> list[Human]:
        """Everybody in `frame`, in the order of perception.

        A stamp that is older than the last one (a bag that loops, a clock that jumps) restarts
        every window; identities go on.
        """
        (humans,) = answer([(self, self.see(frame))])
        return humans

    def see(self, frame: Frame) -> Seen:
        """The first half of a call: who is in the frame, with windows ready to take them."""
        if frame.stamp < self._newest_stamp:
            self.reset()
        self._newest_stamp = frame.stamp
        people = self.perception(frame)
        self._tracks = {
            i: t for i, t in self._tracks.items() if frame.stamp - t.stamp <= MAX_GAP_SECONDS
        }
        return Seen(frame, people)

    def reset(self) -> None:
        """Forget every window, not the identities that perception has given."""
        self._tracks.clear()
        self._newest_stamp = -np.inf

    def warm_up(self) -> None:
        """Run everything once on a made-up person: a first call takes many times a later one's."""
        height, width = 480, 640
        frame = Frame(
            np.zeros((height, width, 3), np.uint8), -np.inf, Camera.assumed(width, height)
        )
        self.perception(frame)
        places = np.linspace(0.3, 0.7, 33, dtype=np.float32)[:, None]
        landmarks = places * np.array([width, height], np.float32)
        box = np.array([0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height], np.float32)
        person = Person(0, 1.0, box, landmarks, np.ones(33, np.float32))
        with torch.inference_mode():
            features = self.estimator.encode(frame, [person])
            self.estimator.decode(
                {k: torch.stack([v] * self.estimator.window, dim=1) for k, v in features.items()}
            )

    def remember(self, person: Person, features: Features, stamp: float) -> tuple[_Track, float]:
        """Put what a frame says of a person (no person dimension) into their window.

        Returns:
            Their track, and the seconds since their frame before (0 if there was none).
        """
        track = self._tracks.get(person.track_id)
        if track is None:
            track = _Track(deque(maxlen=self.estimator.window), stamp)
            self._tracks[person.track_id] = track
        before, track.stamp = track.stamp, stamp
        track.window.append(features)
        return track, stamp - before


def answer(seen: Sequence[tuple[Pipeline, Seen]]) -> list[list[Human]]:
    """The second half of a call, for one frame of each of several cameras.

    Encoding and decoding run once over everybody of all cameras.

    Args:
        seen: pipelines that share one estimator, each with what it has just seen.

    Returns:
        The humans of each frame, in the order of perception.
    """
    occupied = [(s.frame, s.people) for _, s in seen if s.people]
    if not occupied:
        return [[] for _ in seen]
    estimator = seen[0][0].estimator
    with torch.inference_mode():
        features = estimator.encode_frames(occupied)
        everybody = [(p, s.frame, person) for p, s in seen for person in s.people]
        tracks = [
            pipeline.remember(person, {k: v[row] for k, v in features.items()}, frame.stamp)
            for row, (pipeline, frame, person) in enumerate(everybody)
        ]
        bodies = iter(estimator.decode(_windows([t for t, _ in tracks], estimator.window)))
    remembered = iter(tracks)
    return [
        [_human(person, *next(remembered), next(bodies), estimator.window) for person in s.people]
        for _, s in seen
    ]


def _windows(tracks: Sequence[_Track], length: int) -> Features:
    """The people's windows side by side, each padded by its oldest frame."""
    padded = [[t.window[0]] * (length - len(t.window)) + list(t.window) for t in tracks]
    return {
        name: torch.stack([torch.stack([frame[name] for frame in window]) for window in padded])
        for name in padded[0][0]
    }


def _human(person: Person, track: _Track, seconds: float, body: Body, window: int) -> Human:
    """The person's body, with velocities from the one `seconds` before."""
    if track.joints is None or track.velocities is None:
        track.velocities = np.zeros_like(body.joints)
    elif seconds > 0:
        newest = (body.joints - track.joints) / seconds
        share = seconds / (VELOCITY_SECONDS + seconds)
        track.velocities = track.velocities + share * (newest - track.velocities)
    track.joints = body.joints
    fill = len(track.window) / window
    return Human(person, body, track.velocities.astype(np.float32), fill)


def build_pipeline(
    model: str = "stdformer_s_keypoints",
    *,
    landmarks: LandmarkModel = "full",
    detect_every: int = 10,
    max_people: int = 8,
    mesh_level: int = 6890,
    device: str = "cpu",
    checkpoint: str | None = None,
    mesh_sampling: str | None = None,
    joint_regressor: str | None = None,
    smpl: str | None = None,
) -> Pipeline:
    """A pipeline ready to run.

    Args:
        model: name of the estimator, see `stdformer_ros.models.create_estimator`.
        landmarks: BlazePose variant, "lite" or "full".
        detect_every: frames between runs of the person detector.
        max_people: people followed at once.
        mesh_level: vertices of the mesh: 6890, 1723 or 431.
        device: of the estimator, as torch names it.
        checkpoint: weights to load instead of the shipped ones.
        mesh_sampling: a file that published networks need, see `create_estimator`.
        joint_regressor: another one.
        smpl: another one.

    Raises:
        ValueError: if a name or a number is not one of those possible.
        FileNotFoundError: if a file is missing; the message says which and how to get it.
    """
    # imported here so that the pipeline's own tests need neither models nor OpenVINO
    from stdformer_ros.models.estimators import create_estimator
    from stdformer_ros.perception import PeopleTracker

    estimator = create_estimator(
        model,
        mesh_level=mesh_level,
        device=device,
        checkpoint=checkpoint,
        mesh_sampling=mesh_sampling,
        joint_regressor=joint_regressor,
        smpl=smpl,
    )
    tracker = PeopleTracker(landmarks=landmarks, detect_every=detect_every, max_people=max_people)
    pipeline = Pipeline(tracker, estimator)
    pipeline.warm_up()
    return pipeline
