"""A few synthetic people to learn from."""

from __future__ import annotations

from functools import lru_cache

from helpers.handmade_motion import lively
from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.training.data.keypoint_windows import SyntheticKeypoints
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.targets import ANSWERS


@lru_cache(maxsize=1)
def synthetic_batch() -> SyntheticBatch:
    """16 people in sequences as long as those of training; always the same."""
    library = MotionLibrary([retarget(lively(80))], frames=WINDOW + ANSWERS - 1)
    return SyntheticPeople(library, ANSWERS).sample_fixed(16)


def synthetic_keypoints(frames: int, answers: int, future_frames: int) -> SyntheticKeypoints:
    """Keypoints of one lively clip."""
    library = MotionLibrary([retarget(lively(2 * frames + 10))], frames)
    return SyntheticKeypoints(library, answers, future_frames)
