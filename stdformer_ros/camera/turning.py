"""Turn images, pixels and coordinates by quarter turns, for cameras that are not mounted upright.

Degrees are those by which the image is turned clockwise: 0, 90, 180 or 270. Pixels have their
origin at the centre of the upper left pixel, so that every turn is exact.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_OPENCV = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


def turned_image(image: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """The image (H, W, 3) turned clockwise, contiguous in memory."""
    if not degrees % 360:
        return image
    # more than ten times as fast as a copy of np.rot90's view (1280x720)
    return np.asarray(cv2.rotate(image, _OPENCV[degrees % 360]), np.uint8)


def turned_pixels(
    pixels: NDArray[np.floating], size: tuple[int, int], degrees: int
) -> NDArray[np.float32]:
    """Where the pixels (..., 2) of an image of this width and height are after it was turned."""
    first, last = np.zeros(2), np.array(size) - 1.0
    turn = turn_matrix(degrees)[:2, :2]
    corner = np.minimum(turn @ first, turn @ last)  # it becomes the origin
    return (pixels @ turn.T - corner).astype(np.float32)


def turned_box(
    box: NDArray[np.floating], size: tuple[int, int], degrees: int
) -> NDArray[np.float32]:
    """The box (4,) x0, y0, x1, y1 in pixels of an image of this size, after it was turned."""
    corners = turned_pixels(box.reshape(2, 2), size, degrees)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def turn_matrix(degrees: int) -> NDArray[np.float64]:
    """From coordinates of a camera (x right, y down, z ahead) to those of the turned one: (3, 3).

    Where the image is turned clockwise, so are the directions of everything in it: what was up is
    right after 90 degrees.
    """
    cos, sin = {0: (1.0, 0.0), 90: (0.0, 1.0), 180: (-1.0, 0.0), 270: (0.0, -1.0)}[degrees % 360]
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
