"""The synthetic people that a run learns from and those that it is judged by."""

from __future__ import annotations

from pathlib import Path

from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.training.people.motion_library import MotionLibrary, read_motion
from stdformer_ros.training.people.synthetic import SyntheticPeople

HELD_OUT = ("cmu_03_", "cmu_07_", "cmu_10_", "cmu_12_")
"""Subjects never trained on, to steer by."""

ANSWERS = 3
"""Neighbouring windows per sequence, so that velocities and accelerations can be compared."""


def people_of(folder: Path, device: str) -> tuple[SyntheticPeople, SyntheticPeople]:
    """People who move like the training subjects, and like the held-out ones."""
    seen, unseen = read_motion(folder, exclude=HELD_OUT), read_motion(folder, only=HELD_OUT)
    frames = WINDOW + ANSWERS - 1
    return (
        SyntheticPeople(MotionLibrary(seen, frames, device), ANSWERS, device),
        SyntheticPeople(MotionLibrary(unseen, frames, device), ANSWERS, device),
    )
