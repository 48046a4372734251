"""Landmarks without their tremor, and without a lag.

Each frame's landmarks are found anew, so that they tremble by a few thousandths of the person's
height. A short memory of where a landmark was and went takes much of that away; as it foresees that
the landmark goes on at its pace, steady motion passes through it undelayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp

import numpy as np

from stdformer_ros.types import FloatArray, Person

MEMORY_SECONDS = 0.03
"""Time constant of the memory. It takes away nearly half of the tremor at 60 frames a second, a
fifth at 30.
"""
MAX_GAP_SECONDS = 0.25
"""Who is unseen for longer begins with a new memory."""


@dataclass
class _Memory:
    """Where the landmarks are (33, 2), how fast they go in pixels per second, and since when."""

    places: FloatArray
    velocities: FloatArray
    stamp: float


class LandmarkSteadier:
    """Smooths everybody's landmarks, each person by themselves.

    A critically damped g-h filter (the fading-memory polynomial filter of degree one: Morrison,
    "Introduction to Sequential Smoothing and Prediction", 1969).
    """

    def __init__(self) -> None:
        self._memory: dict[int, _Memory] = {}

    def __call__(self, person: Person, stamp: float) -> Person:
        """The person with steadier landmarks; a first sight is answered as it is."""
        self._memory = {
            i: m for i, m in self._memory.items() if 0 <= stamp - m.stamp <= MAX_GAP_SECONDS
        }
        memory = self._memory.get(person.track_id)
        if memory is None:
            places = person.landmarks.copy()
            self._memory[person.track_id] = _Memory(places, np.zeros_like(places), stamp)
            return person
        seconds = stamp - memory.stamp
        if seconds <= 0:
            return person
        fade = exp(-seconds / MEMORY_SECONDS)
        foreseen = memory.places + np.float32(seconds) * memory.velocities
        off = person.landmarks - foreseen
        memory.places = foreseen + np.float32(1 - fade**2) * off
        memory.velocities = memory.velocities + np.float32((1 - fade) ** 2 / seconds) * off
        memory.stamp = stamp
        return replace(person, landmarks=memory.places.copy())

    def forget(self) -> None:
        """Drop what is remembered of everybody."""
        self._memory.clear()
