"""A few synthetic people to learn from, the same at every call of a run."""

from __future__ import annotations

from functools import lru_cache

from helpers.handmade_motion import lively
from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.training.people import subjects as people
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople


@lru_cache(maxsize=1)
def synthetic_batch() -> SyntheticBatch:
    """16 people in sequences that hold as many windows as training asks for."""
    library = MotionLibrary([retarget(lively(80))], frames=WINDOW + people.ANSWERS - 1)
    return SyntheticPeople(library, people.ANSWERS).sample_fixed(16)
