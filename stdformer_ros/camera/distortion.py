"""Lens distortion, with the models of sensor_msgs/CameraInfo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

DistortionModel = Literal["plumb_bob", "rational_polynomial", "equidistant"]

COUNTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8,),
    "equidistant": (4,),
}
"""How many coefficients each model may have."""

MAX_COEFFICIENT = 1e4
"""No lens has larger ones; with them a distorted point is not a finite number."""
MAX_ITERATIONS = 50
MAX_INVERSION_ERROR = 1e-3
"""At unit depth; if distorting an undistorted point gives a larger error, the inversion failed."""
MAX_ANGLE = np.radians(85.0)
"""Rays farther from the optical axis have no useful point at unit depth."""

_UNIT = np.eye(3)


@dataclass(frozen=True)
class Distortion:
    """How a lens moves the points that a pinhole camera would see, at unit depth.

    Attributes:
        model: `plumb_bob` (Brown and Conrady: k1, k2, p1, p2[, k3]), `rational_polynomial` (and
            k4, k5, k6) or `equidistant` (Kannala and Brandt, 2006: k1..k4, for fisheyes).
        coefficients: in that order.
    """

    model: DistortionModel
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse impossible models.

        Raises:
            ValueError: if the model is unknown, or the coefficients are too few, too many, too
                large or not finite.
        """
        if self.model not in COUNTS:
            raise ValueError(
                f"unknown distortion model {self.model!r} (known: {', '.join(sorted(COUNTS))})"
            )
        if len(self.coefficients) not in COUNTS[self.model]:
            raise ValueError(
                f"{self.model} has {' or '.join(map(str, COUNTS[self.model]))} coefficients, not "
                f"{len(self.coefficients)}"
            )
        if not np.all(np.abs(self.coefficients) < MAX_COEFFICIENT):
            raise ValueError(
                f"distortion coefficients must be finite and below {MAX_COEFFICIENT:g}, not "
                f"{self.coefficients}"
            )

    def distort(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distort points x/z, y/z of a pinhole camera as the lens does: (..., 2) -> (..., 2)."""
        flat = points.reshape(-1, 1, 2).astype(np.float64)
        if not len(flat):
            return points
        if self.model == "equidistant":
            distorted = cv2.fisheye.distortPoints(flat, _UNIT, self._array())
        else:
            rays = np.concatenate([flat, np.ones_like(flat[..., :1])], axis=2)
            zero = np.zeros(3)
            distorted, _ = cv2.projectPoints(rays, zero, zero, _UNIT, self._array())
        return distorted.reshape(points.shape).astype(np.float32)

    def undistort(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `distort`, for points (..., 2) at unit depth: (..., 2) -> (..., 2).

        A point that no ray reaches (far outside the image, where the polynomials fold back) stays
        as it is.
        """
        flat = points.reshape(-1, 1, 2).astype(np.float64)
        if not len(flat):
            return points
        if self.model == "equidistant":
            undistorted = self._undistort_fisheye(flat.reshape(-1, 2))
        else:
            until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, MAX_ITERATIONS, 1e-9)
            found = cv2.undistortPointsIter(flat, _UNIT, self._array(), _UNIT, _UNIT, until)
            undistorted = np.asarray(found)
        undistorted = np.nan_to_num(undistorted.reshape(points.shape), posinf=0, neginf=0)
        error = np.linalg.norm(self.distort(undistorted.astype(np.float32)) - points, axis=-1)
        good = error < MAX_INVERSION_ERROR * (1 + np.linalg.norm(points, axis=-1))
        return np.where(good[..., None], undistorted, points).astype(np.float32)

    def _undistort_fisheye(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undistort points (N, 2) by Newton's method for the angle to the optical axis."""
        k = np.array(self.coefficients)
        radius = np.linalg.norm(points, axis=1)
        angle = np.minimum(radius, MAX_ANGLE)
        powers = np.arange(1, 5) * 2
        for _ in range(MAX_ITERATIONS):
            series = angle[:, None] ** powers
            value = angle * (1 + series @ k) - radius
            slope = 1 + series @ (k * (powers + 1))
            angle = np.clip(angle - value / np.where(slope > 0.1, slope, 0.1), 0.0, MAX_ANGLE)
        return points * (np.tan(angle) / np.maximum(radius, 1e-9))[:, None]

    def _array(self) -> NDArray[np.float64]:
        return np.array(self.coefficients, np.float64)
