"""What somebody wears: the colours of trunk and thighs, to tell people apart who cross."""

from __future__ import annotations

import numpy as np

from stdformer_ros.types import FloatArray, ImageArray

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE = 11, 12, 23, 24, 25, 26
_GRID = np.linspace(0.2, 0.8, 4, dtype=np.float32)
_ACROSS, _DOWN = (g.reshape(-1, 1) for g in np.meshgrid(_GRID, _GRID))


def clothing(image: ImageArray, landmarks: FloatArray) -> FloatArray:
    """The mean colours (2, 3) of trunk and thighs, RGB in 0..1.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (33, 2) in pixels; samples outside the image are taken at its border.
    """
    shoulders = landmarks[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    hips = landmarks[[LEFT_HIP, RIGHT_HIP]]
    knees = landmarks[[LEFT_KNEE, RIGHT_KNEE]]
    points = np.concatenate([_quad(shoulders, hips), _quad(hips, knees)])
    height, width = image.shape[:2]
    x = np.clip(np.rint(points[:, 0]), 0, width - 1).astype(np.intp)
    y = np.clip(np.rint(points[:, 1]), 0, height - 1).astype(np.intp)
    colours = image[y, x].astype(np.float32) / 255.0
    return colours.reshape(2, -1, 3).mean(axis=1)


def _quad(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """A grid of points (16, 2) inside the quadrilateral between two edges (2, 2)."""
    above = top[0] + _ACROSS * (top[1] - top[0])
    below = bottom[0] + _ACROSS * (bottom[1] - bottom[0])
    return above + _DOWN * (below - above)
