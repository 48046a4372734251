"""Pictures of real people."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.io.video import read_video
from stdformer_ros.types import ImageArray

FIRST = 60
"""From this frame on there are two people in the sample clip."""


def upright_pictures(video: Path, count: int) -> list[ImageArray]:
    """Consecutive frames of the sample clip, 884x496 RGB."""
    frames = islice(read_video(video), FIRST, FIRST + count)
    return [
        np.asarray(cv2.resize(f.image, (884, 496), interpolation=cv2.INTER_AREA), np.uint8)
        for f in frames
    ]
