"""Inputs of `cli run` for the fake pipeline, and its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from helpers.fake_pipeline import FILL

ERROR, CTRL_C = 255, 254
"""In place of a number of people: what happens at this image."""


def folder_of_images(folder: Path, people: Sequence[int]) -> Path:
    """Images of 64x48 whose upper left pixel tells the fake pipeline how many people there are."""
    folder.mkdir()
    for number, count in enumerate(people):
        image = np.full((48, 64, 3), FILL, np.uint8)
        # OpenCV writes BGR
        image[0, 0] = (0, count, 0) if count in (ERROR, CTRL_C) else (0, 0, count)
        cv2.imwrite(str(folder / f"{number:03}.png"), image)
    return folder


def load(folder: Path) -> dict[str, NDArray[Any]]:
    with np.load(folder / "humans.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
