"""Depth images, and the depth of a person's torso in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SHOULDERS_AND_HIPS = (11, 12, 23, 24)
"""Indices of BlazePose's landmarks: left and right shoulder, left and right hip."""

NEAREST, FARTHEST = 0.15, 30.0
"""Metres; values outside count as not measured: holes are 0, sky is infinite or a constant."""

GRID = 16
"""The torso's depth is read at GRID x GRID points."""
INSET = 0.2
"""Fraction of the torso's quadrilateral left out at each edge, because background shows there."""
SPREAD = 0.25
"""Metres; points farther from the median than this are not on the torso's surface."""
MIN_SHARE = 0.3
"""At least this fraction of the points must be measured, and must be on the torso's surface."""
MIN_VISIBILITY = 0.5
"""The torso counts as hidden if the mean visibility of shoulders and hips is lower."""


@dataclass(frozen=True)
class DepthImage:
    """Distances along the optical axis, aligned to a colour image of the same field of view.

    Attributes:
        values: (H, W) uint16 or float32; the resolution may differ from the colour image's.
        metres: the length in metres of one unit of the values.
    """

    values: NDArray[np.uint16] | NDArray[np.float32]
    metres: float

    def turned(self, degrees: int) -> DepthImage:
        """The depth image turned clockwise by a multiple of 90 degrees."""
        return replace(self, values=np.rot90(self.values, -degrees // 90))

    def at(self, pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """The depth at these pixels of the colour image.

        Args:
            pixels: (N, 2) of the colour image.
            size: width and height of the colour image.

        Returns:
            (N,) metres, NaN outside the image and where nothing was measured.
        """
        height, width = self.values.shape
        scale = np.array([width / size[0], height / size[1]])
        cells = np.floor((pixels + 0.5) * scale)
        inside = np.all((cells >= 0) & (cells < (width, height)), axis=1)
        x, y = np.where(inside[:, None], cells, 0).astype(int).T
        depth = self.values[y, x].astype(np.float32) * np.float32(self.metres)
        known = inside & np.isfinite(depth) & (depth > NEAREST) & (depth < FARTHEST)
        return np.where(known, depth, np.nan).astype(np.float32)


def torso_depth(
    depth: DepthImage,
    landmarks: NDArray[np.float32],
    visibility: NDArray[np.float32],
    size: tuple[int, int],
) -> float:
    """The depth of a torso's visible surface.

    The depth is read on a grid between shoulders and hips; the result is the median of those points
    that are near the median of all. So holes, sky, an arm in front of the torso and background
    beside it have no effect.

    Args:
        depth: aligned to the colour image.
        landmarks: (33, 2) BlazePose landmarks in pixels of the colour image.
        visibility: (33,) 0..1.
        size: width and height of the colour image.

    Returns:
        Metres along the optical axis; NaN where the torso is hidden or was not measured.
    """
    corners = landmarks[list(SHOULDERS_AND_HIPS)]
    if visibility[list(SHOULDERS_AND_HIPS)].mean() < MIN_VISIBILITY:
        return float("nan")
    across, down = np.meshgrid(*[np.linspace(INSET, 1 - INSET, GRID)] * 2)
    u, v = across.reshape(-1, 1), down.reshape(-1, 1)
    left_shoulder, right_shoulder, left_hip, right_hip = corners
    above = (1 - u) * left_shoulder + u * right_shoulder
    below = (1 - u) * left_hip + u * right_hip
    values = depth.at(((1 - v) * above + v * below).astype(np.float32), size)
    measured = values[np.isfinite(values)]
    if len(measured) < MIN_SHARE * len(values):
        return float("nan")
    surface = measured[np.abs(measured - np.median(measured)) < SPREAD]
    if len(surface) < MIN_SHARE * len(values):
        return float("nan")
    return float(np.median(surface))
