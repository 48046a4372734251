"""Crops to learn from: rendered ones, and recorded ones in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.handmade_motion import lively
from stdformer_ros.training.data.crop_windows import (
    SHAPES,
    MeshBatch,
    SyntheticCrops,
)
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget


def rendered_crops(count: int, window: int) -> MeshBatch:
    """`count` windows of rendered people, always the same."""
    library = MotionLibrary([retarget(lively(40))], window)
    return SyntheticCrops(library).sample_fixed(count)


def write_sequence(folder: Path, frames: int, start: float = 0.0) -> None:
    """Write the files of a recorded sequence; all values are the frame's number plus `start`."""
    folder.mkdir(parents=True)
    for name, shape in SHAPES.items():
        number = start + np.arange(frames).reshape(-1, *[1] * len(shape))
        kind = np.uint8 if name == "images" else np.float16
        np.save(folder / f"{name}.npy", np.broadcast_to(number, (frames, *shape)).astype(kind))
