"""Where everybody's joints should be in the next frame, so that senseless landmarks are noticed."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np

from stdformer_ros.perception.landmarks import MIRROR
from stdformer_ros.perception.sides import BODY
from stdformer_ros.types import FloatArray, Person

PLACE_SECONDS, VELOCITY_SECONDS = 0.05, 0.1
"""Time constants with which the places and velocities that are remembered follow what is seen."""
STRIDE = 0.06
"""Farther from where it was expected, in parts of the person's size, a frame does not pull the
memory harder: one senseless frame must not become the measure."""
MAX_GAP_SECONDS = 0.4
"""Of who is unseen for longer nothing is expected."""


@dataclass
class _Memory:
    """The body's landmarks (10, 2) around their mean, their velocities, and when last seen."""

    body: FloatArray
    velocity: FloatArray
    stamp: float

    def expected(self, stamp: float) -> FloatArray:
        return self.body + np.float32(stamp - self.stamp) * self.velocity

    def follow(self, body: FloatArray, stamp: float) -> None:
        elapsed = stamp - self.stamp
        expected = self.expected(stamp)
        step = body - expected
        most = STRIDE * _size(self.body)
        step *= most / max(float(np.linalg.norm(step, axis=1).mean()), most)
        step *= 1.0 - exp(-elapsed / PLACE_SECONDS)
        self.velocity += (1.0 - exp(-elapsed / VELOCITY_SECONDS)) / elapsed * step
        self.body = expected + step
        self.stamp = stamp


class Expectation:
    """Remembers how everybody's body moved, each person by themselves."""

    def __init__(self) -> None:
        self._memory: dict[int, _Memory] = {}

    def take(self, person: Person, stamp: float) -> None:
        """Learn from a person's landmarks of the newest frame."""
        self._memory = {
            i: m for i, m in self._memory.items() if 0 <= stamp - m.stamp <= MAX_GAP_SECONDS
        }
        body = _centred(person.landmarks)
        memory = self._memory.get(person.track_id)
        if memory is None:
            self._memory[person.track_id] = _Memory(body, np.zeros_like(body), stamp)
        elif stamp > memory.stamp:
            memory.follow(body, stamp)

    def surprise(self, track_id: int | None, landmarks: FloatArray, stamp: float) -> float:
        """How far landmarks (33, 2) are from where they were expected, be the sides exchanged or
        not: the mean over the body's joints in parts of the person's size; 0 for a stranger.
        """
        memory = None if track_id is None else self._memory.get(track_id)
        if memory is None or not 0 <= stamp - memory.stamp <= MAX_GAP_SECONDS:
            return 0.0
        expected = memory.expected(stamp)
        either = (landmarks, landmarks[MIRROR])
        away = min(float(np.linalg.norm(_centred(e) - expected, axis=1).mean()) for e in either)
        return away / max(_size(expected), 1.0)

    def forget(self) -> None:
        """Expect nothing of anybody."""
        self._memory.clear()


def _size(body: FloatArray) -> float:
    return float(np.ptp(body, axis=0).max())


def _centred(landmarks: FloatArray) -> FloatArray:
    """The body's landmarks (10, 2) without their common motion."""
    body = landmarks[BODY]
    return body - body.mean(axis=0)
