"""Filters that compare a person's newest landmarks with those of the previous frames: which side is
left, where the joints should be now, and how much of the newest change is jitter.

Every track has one `LandmarkFilters`, which is dropped with the track. Three filters follow each
other in it:

1. `SideFilter` undoes the frames in which BlazePose exchanges left and right.
2. `JointPredictor` predicts the joints from their motion, so that wrong landmarks are noticed.
3. `JitterFilter` smooths the landmarks without a lag.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf

import numpy as np

from stdformer_ros.perception.landmarks import BODY_JOINTS, MIRROR
from stdformer_ros.types import FloatArray, Person

PATIENCE_SECONDS = 0.4
"""If the network exchanges left and right for longer than this, its sides are accepted. A person
unseen for longer starts with a new `SideFilter`."""
SIDE_SECONDS = 0.1
"""Time constant of the low-pass over the reference joints of `SideFilter`: one frame with wrong
landmarks must not become the reference."""
MAX_SWAP_RATIO = 0.6
"""Sides count as exchanged if exchanging them back reduces the distance to the reference joints to
less than this fraction."""
MIN_SWAP_DISTANCE = 0.06
"""Fraction of the person's size; if the joints are closer than this to the reference, both
interpretations fit (a person in profile), and the sides are not exchanged."""

POSITION_SECONDS, VELOCITY_SECONDS = 0.05, 0.1
"""Time constants with which positions and velocities of `JointPredictor` follow the landmarks."""
MAX_STEP = 0.06
"""Fraction of the person's size to which `JointPredictor` limits a frame's prediction error, so
that one frame with wrong landmarks does not become the reference."""
MAX_PREDICTION_SECONDS = 0.4
"""Nothing is predicted for a person who was unseen for longer."""

JITTER_SECONDS = 0.03
"""Time constant of `JitterFilter`. It removes nearly half of the jitter at 60 frames per second, a
fifth at 30."""
MAX_JITTER_GAP_SECONDS = 0.25
"""A person unseen for longer starts with a new `JitterFilter`."""


class LandmarkFilters:
    """The filters of one track's landmarks, with their state.

    Stamps are seconds. If a stamp goes back, every filter restarts.
    """

    def __init__(self) -> None:
        self._sides = SideFilter()
        self._joints = JointPredictor()
        self._jitter = JitterFilter()

    def __call__(self, person: Person, stamp: float) -> Person:
        """The person of the next frame with the right sides and less jitter."""
        person = self._sides(person, stamp)
        self._joints.update(person.landmarks, stamp)
        return self._jitter(person, stamp)

    def prediction_error(self, landmarks: FloatArray, stamp: float) -> float:
        """How far landmarks (33, 2) are from their prediction, see `JointPredictor.error`."""
        return self._joints.error(landmarks, stamp)


class SideFilter:
    """Undoes the frames in which BlazePose exchanges one person's left and right.

    In motion blur or against the light the network now and then takes the front of a person for
    the back, for one frame or a few. Nobody turns round within one frame: if the landmarks fit the
    previous ones far better with the sides exchanged, they are exchanged back. If the network still
    gives the other sides after `PATIENCE_SECONDS`, they are accepted.
    """

    def __init__(self) -> None:
        self._joints: FloatArray | None = None  # (10, 2) pixels around their mean, low-passed
        self._stamp = -inf
        self._agreed = -inf  # stamp of the last frame whose sides were not exchanged

    def __call__(self, person: Person, stamp: float) -> Person:
        """The person of the next frame, with left and right as in the previous frames."""
        before, elapsed = self._joints, stamp - self._stamp
        self._stamp = stamp
        if before is None or not 0 <= elapsed <= PATIENCE_SECONDS:
            return self._restart(person, stamp)
        if not _sides_are_exchanged(before, person.landmarks):
            self._agreed = stamp
        elif stamp - self._agreed > PATIENCE_SECONDS:
            return self._restart(person, stamp)
        else:
            person = _with_sides_exchanged(person)
        gain = 1.0 - exp(-elapsed / SIDE_SECONDS)
        self._joints = before + gain * (_centred(person.landmarks) - before)
        return person

    def _restart(self, person: Person, stamp: float) -> Person:
        self._joints, self._agreed = _centred(person.landmarks), stamp
        return person


class JointPredictor:
    """Predicts one person's joints in the next frame from how they moved before.

    It predicts their positions around their mean, since the whole person may accelerate more than
    the pose changes.
    """

    def __init__(self) -> None:
        self._joints: FloatArray | None = None  # (10, 2) around their mean, pixels
        self._velocities: FloatArray = np.zeros((len(BODY_JOINTS), 2), np.float32)
        self._stamp = -inf

    def update(self, landmarks: FloatArray, stamp: float) -> None:
        """Update positions and velocities by the landmarks (33, 2), pixels, of the newest frame."""
        joints, predicted = _centred(landmarks), self._predict(stamp)
        elapsed = stamp - self._stamp
        if predicted is None or self._joints is None:
            self._joints, self._velocities = joints, np.zeros_like(joints)
        elif elapsed > 0:
            step = joints - predicted
            limit = MAX_STEP * _size(self._joints)
            step *= limit / max(float(np.linalg.norm(step, axis=1).mean()), limit)
            step *= 1.0 - exp(-elapsed / POSITION_SECONDS)
            self._velocities = (
                self._velocities + (1.0 - exp(-elapsed / VELOCITY_SECONDS)) / elapsed * step
            )
            self._joints = predicted + step
        self._stamp = stamp

    def error(self, landmarks: FloatArray, stamp: float) -> float:
        """The prediction error of landmarks (33, 2), whether their sides are exchanged or not.

        Returns:
            The mean distance of the body's joints from their prediction, as a fraction of the
            person's size; 0 without a prediction.
        """
        predicted = self._predict(stamp)
        if predicted is None:
            return 0.0
        both_sides = (landmarks, landmarks[MIRROR])
        distance = min(
            float(np.linalg.norm(_centred(points) - predicted, axis=1).mean())
            for points in both_sides
        )
        return distance / max(_size(predicted), 1.0)

    def _predict(self, stamp: float) -> FloatArray | None:
        """The predicted joints (10, 2) around their mean, pixels; None if nothing is predicted."""
        elapsed = stamp - self._stamp
        if self._joints is None or not 0 <= elapsed <= MAX_PREDICTION_SECONDS:
            return None
        return self._joints + np.float32(elapsed) * self._velocities


class JitterFilter:
    """Smooths one person's landmarks without a lag.

    BlazePose finds the landmarks of each frame anew, so that they jitter by a few thousandths of
    the person's height. This is a critically damped g-h filter (the fading-memory polynomial
    filter of degree one: Morrison, "Introduction to Sequential Smoothing and Prediction", 1969).
    It predicts that each landmark keeps its velocity, so that steady motion passes undelayed.
    """

    def __init__(self) -> None:
        self._positions: FloatArray | None = None  # (33, 2) pixels
        self._velocities: FloatArray | None = None  # (33, 2) pixels per second
        self._stamp = -inf

    def __call__(self, person: Person, stamp: float) -> Person:
        """The person of the next frame, with smoothed landmarks; the first frame as it is."""
        positions, velocities = self._positions, self._velocities
        elapsed = stamp - self._stamp
        self._stamp = stamp
        if positions is None or velocities is None or not 0 <= elapsed <= MAX_JITTER_GAP_SECONDS:
            self._positions = person.landmarks.copy()
            self._velocities = np.zeros_like(person.landmarks)
            return person
        if elapsed == 0:
            return person
        fade = exp(-elapsed / JITTER_SECONDS)
        predicted = positions + np.float32(elapsed) * velocities
        error = person.landmarks - predicted
        self._positions = predicted + np.float32(1 - fade**2) * error
        self._velocities = velocities + np.float32((1 - fade) ** 2 / elapsed) * error
        return replace(person, landmarks=self._positions.copy())


def _with_sides_exchanged(person: Person) -> Person:
    world = person.world_landmarks
    return replace(
        person,
        landmarks=person.landmarks[MIRROR],
        visibility=person.visibility[MIRROR],
        world_landmarks=None if world is None else world[MIRROR],
    )


def _sides_are_exchanged(joints: FloatArray, landmarks: FloatArray) -> bool:
    """Whether landmarks (33, 2) fit reference joints (10, 2) far better with sides exchanged."""
    as_seen = np.linalg.norm(_centred(landmarks) - joints, axis=1).mean()
    exchanged = np.linalg.norm(_centred(landmarks[MIRROR]) - joints, axis=1).mean()
    notable = as_seen > MIN_SWAP_DISTANCE * _size(joints)
    return bool(notable and exchanged < MAX_SWAP_RATIO * as_seen)


def _size(joints: FloatArray) -> float:
    """The longer side of the box around joints (10, 2), pixels."""
    return float(np.ptp(joints, axis=0).max())


def _centred(landmarks: FloatArray) -> FloatArray:
    """The body's joints (10, 2) of landmarks (33, 2) around their mean."""
    joints = landmarks[BODY_JOINTS]
    return joints - joints.mean(axis=0)
