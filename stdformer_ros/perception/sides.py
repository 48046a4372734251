"""Keep left and right apart: undo the frames in which BlazePose exchanges them.

In motion blur or against the light the network now and then takes a front for a back, for a frame
or a few. Nobody turns round in a frame: when the landmarks fit what the frames before let expect
far better with the sides exchanged, they are exchanged. If the network insists, it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp

import numpy as np

from stdformer_ros.types import FloatArray, Person

MIRROR = np.array(
    [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(k for left in range(11, 33, 2) for k in (left + 1, left))]
)
"""The landmark on the other side of the body, by BlazePose's index."""

BODY = [11, 12, 13, 14, 23, 24, 25, 26, 27, 28]  # shoulders, elbows, hips, knees, ankles
CLEARLY = 0.6
"""Exchanged sides must bring the landmarks so much closer, as a part of their distance."""
NOTABLE = 0.06
"""Closer than this, in parts of the person's size, either reading will do (a profile)."""
PATIENCE_SECONDS = 0.4
"""For so long the network is contradicted, or a person remembered whom it does not see."""

PLACE_SECONDS, VELOCITY_SECONDS = 0.05, 0.1
"""Time constants with which the places and velocities that are remembered follow what is seen."""
STRIDE = 0.06
"""Farther from where it was expected, in parts of the person's size, a frame does not pull the
memory harder: one senseless frame must not become the measure."""


@dataclass
class _Memory:
    """The body's landmarks (10, 2) around their mean, their velocities, when last seen, and when
    the network was last believed.
    """

    body: FloatArray
    velocity: FloatArray
    stamp: float
    agreed: float

    @classmethod
    def of(cls, landmarks: FloatArray, stamp: float) -> _Memory:
        body = _centred(landmarks)
        return cls(body, np.zeros_like(body), stamp, stamp)

    def expected(self, stamp: float) -> FloatArray:
        return self.body + np.float32(stamp - self.stamp) * self.velocity

    def follow(self, landmarks: FloatArray, stamp: float) -> None:
        elapsed = stamp - self.stamp
        if elapsed <= 0:
            return
        expected = self.expected(stamp)
        step = _centred(landmarks) - expected
        most = STRIDE * _size(self.body)
        step *= most / max(float(np.linalg.norm(step, axis=1).mean()), most)
        step *= 1.0 - exp(-elapsed / PLACE_SECONDS)
        self.velocity += (1.0 - exp(-elapsed / VELOCITY_SECONDS)) / elapsed * step
        self.body = expected + step
        self.stamp = stamp


class SideKeeper:
    """Remembers on which side everybody's left was, and how everybody moved."""

    def __init__(self) -> None:
        self._memory: dict[int, _Memory] = {}

    def __call__(self, person: Person, stamp: float) -> Person:
        """The person, with left and right as in the frames before."""
        self._memory = {
            i: m for i, m in self._memory.items() if 0 <= stamp - m.stamp <= PATIENCE_SECONDS
        }
        last = self._memory.get(person.track_id)
        if last is None:
            self._memory[person.track_id] = _Memory.of(person.landmarks, stamp)
            return person
        if _are_exchanged(last.expected(stamp), person.landmarks):
            if stamp - last.agreed > PATIENCE_SECONDS:
                self._memory[person.track_id] = _Memory.of(person.landmarks, stamp)
                return person
            person = _with_sides_exchanged(person)
        else:
            last.agreed = stamp
        last.follow(person.landmarks, stamp)
        return person

    def surprise(self, track_id: int | None, landmarks: FloatArray, stamp: float) -> float:
        """How far landmarks (33, 2) are from where they were expected, be the sides exchanged or
        not: the mean over the body's joints in parts of the person's size; 0 for a stranger.
        """
        last = None if track_id is None else self._memory.get(track_id)
        if last is None or not 0 <= stamp - last.stamp <= PATIENCE_SECONDS:
            return 0.0
        expected = last.expected(stamp)
        either = (_distance(expected, landmarks), _distance(expected, landmarks[MIRROR]))
        return min(either) / max(_size(expected), 1.0)

    def forget(self) -> None:
        """Drop what is remembered of everybody."""
        self._memory.clear()


def _with_sides_exchanged(person: Person) -> Person:
    world = person.world_landmarks
    return replace(
        person,
        landmarks=person.landmarks[MIRROR],
        visibility=person.visibility[MIRROR],
        world_landmarks=None if world is None else world[MIRROR],
    )


def _are_exchanged(body: FloatArray, now: FloatArray) -> bool:
    kept, turned = _distance(body, now), _distance(body, now[MIRROR])
    return kept > NOTABLE * _size(body) and turned < CLEARLY * kept


def _distance(body: FloatArray, now: FloatArray) -> float:
    return float(np.linalg.norm(_centred(now) - body, axis=1).mean())


def _size(body: FloatArray) -> float:
    return float(np.ptp(body, axis=0).max())


def _centred(landmarks: FloatArray) -> FloatArray:
    """The body's landmarks (10, 2) without their common motion."""
    body = landmarks[BODY]
    return body - body.mean(axis=0)
