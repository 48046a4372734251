"""Depth images, and how far away a person's torso is in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHOULDERS_AND_HIPS = (11, 12, 23, 24)
"""Of BlazePose's landmarks: left, right; left, right."""

NEAREST, FARTHEST = 0.15, 30.0
"""Metres; what lies outside was not measured: holes are 0, sky is infinite or a constant."""

GRID = 16
"""The torso is looked at in GRID x GRID places."""
INSET = 0.2
"""The outer part of the torso's quadrilateral, where the background shows, is left out."""
SPREAD = 0.25
"""Metres; the surface of one torso lies within so much of its median."""
MIN_SHARE = 0.3
"""So many of the places must have been measured, and agree."""
MIN_VISIBILITY = 0.5


@dataclass(frozen=True)
class DepthImage:
    """Distances along the optical axis, aligned to a colour image of the same field of view.

    Attributes:
        values: (H, W) uint16 or float32; the resolution may differ from the colour image's.
        metres: how many metres one unit of the values is.
    """

    values: NDArray[np.uint16] | NDArray[np.float32]
    metres: float

    def at(self, pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """The depth where the colour image, of width and height `size`, has these pixels.

        Args:
            pixels: (N, 2).
            size: of the colour image.

        Returns:
            (N,) metres, NaN outside the image and where nothing was measured.
        """
        height, width = self.values.shape
        scale = np.array([width / size[0], height / size[1]])
        places = np.floor((pixels + 0.5) * scale)
        inside = np.all((places >= 0) & (places < (width, height)), axis=1)
        x, y = np.where(inside[:, None], places, 0).astype(int).T
        depth = self.values[y, x].astype(np.float32) * np.float32(self.metres)
        known = inside & np.isfinite(depth) & (depth > NEAREST) & (depth < FARTHEST)
        return np.where(known, depth, np.nan).astype(np.float32)


def torso_depth(
    depth: DepthImage,
    landmarks: NDArray[np.float32],
    visibility: NDArray[np.float32],
    size: tuple[int, int],
) -> float:
    """How far away the visible surface of a torso is.

    The median over a grid between shoulders and hips, of those places that agree with it: holes,
    sky, an arm in front of it and background beside it are outvoted.

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
    agreeing = measured[np.abs(measured - np.median(measured)) < SPREAD]
    if len(agreeing) < MIN_SHARE * len(values):
        return float("nan")
    return float(np.median(agreeing))
