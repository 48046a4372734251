"""Keep left and right apart: undo the frames in which BlazePose exchanges them.

In motion blur or against the light the network now and then takes a front for a back, for a frame
or a few. Nobody turns round in a frame: when the landmarks fit the last ones far better with the
sides exchanged, they are exchanged. If the network insists, it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp

import numpy as np

from stdformer_ros.perception.landmarks import MIRROR
from stdformer_ros.types import FloatArray, Person

BODY = [11, 12, 13, 14, 23, 24, 25, 26, 27, 28]  # shoulders, elbows, hips, knees, ankles
CLEARLY = 0.6
"""Exchanged sides must bring the landmarks so much closer, as a part of their distance."""
NOTABLE = 0.06
"""Closer than this, in parts of the person's size, either reading will do (a profile)."""
PATIENCE_SECONDS = 0.4
"""For so long the network is contradicted, or a person remembered whom it does not see."""


MEMORY_SECONDS = 0.1
"""Time constant of what is remembered: one senseless frame must not become the measure."""


@dataclass
class _Memory:
    """The body's landmarks (10, 2) around their mean, low-passed; when last seen, and believed."""

    body: FloatArray
    stamp: float
    agreed: float


class SideKeeper:
    """Remembers on which side everybody's left was."""

    def __init__(self) -> None:
        self._memory: dict[int, _Memory] = {}

    def __call__(self, person: Person, stamp: float) -> Person:
        """The person, with left and right as in the frames before."""
        self._memory = {
            i: m for i, m in self._memory.items() if 0 <= stamp - m.stamp <= PATIENCE_SECONDS
        }
        last = self._memory.get(person.track_id)
        if last is None:
            self._memory[person.track_id] = _Memory(_centred(person.landmarks), stamp, stamp)
            return person
        agreed = stamp
        if _are_exchanged(last.body, person.landmarks):
            if stamp - last.agreed > PATIENCE_SECONDS:
                self._memory[person.track_id] = _Memory(_centred(person.landmarks), stamp, stamp)
                return person
            person = _with_sides_exchanged(person)
            agreed = last.agreed
        gain = 1.0 - exp((last.stamp - stamp) / MEMORY_SECONDS)
        body = last.body + gain * (_centred(person.landmarks) - last.body)
        self._memory[person.track_id] = _Memory(body, stamp, agreed)
        return person

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
    size = float(np.ptp(body, axis=0).max())
    kept = np.linalg.norm(_centred(now) - body, axis=1).mean()
    turned = np.linalg.norm(_centred(now[MIRROR]) - body, axis=1).mean()
    return bool(kept > NOTABLE * size and turned < CLEARLY * kept)


def _centred(landmarks: FloatArray) -> FloatArray:
    """The body's landmarks (10, 2) without their common motion."""
    body = landmarks[BODY]
    return body - body.mean(axis=0)
