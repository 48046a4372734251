"""Somebody who stands and faces the camera, as 33 landmarks."""

from __future__ import annotations

import numpy as np

from stdformer_ros.perception.landmarks import MIRROR
from stdformer_ros.types import Person


def somebody(exchanged=False, width=80.0, track_id=0, shift=0.0):
    """A standing person who faces the camera: left at larger x, joints one below the other."""
    landmarks = np.zeros((33, 2), np.float32)
    visibility = np.linspace(0.5, 1.0, 33, dtype=np.float32)
    for k in range(11, 33, 2):
        landmarks[k] = (0.5 * width, 20.0 * (k - 11))
        landmarks[k + 1] = (-0.5 * width, 20.0 * (k - 11))
    landmarks += np.float32(shift)
    if exchanged:
        landmarks, visibility = landmarks[MIRROR], visibility[MIRROR]
    return Person(track_id, 1.0, np.zeros(4, np.float32), landmarks, visibility)
