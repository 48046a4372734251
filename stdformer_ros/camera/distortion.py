"""Lens distortion, with the models of sensor_msgs/CameraInfo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.camera.turning import turn_matrix

DistortionModel = Literal["plumb_bob", "rational_polynomial", "equidistant"]

COUNTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
"""How many coefficients each model may have."""

NAMES: dict[str, DistortionModel] = {
    **dict.fromkeys(
        ("", "plumb_bob", "radtan", "radial_tangential", "brown_conrady", "opencv"), "plumb_bob"
    ),
    **dict.fromkeys(("rational_polynomial", "rational", "full_opencv"), "rational_polynomial"),
    **dict.fromkeys(
        ("equidistant", "fisheye", "opencv_fisheye", "kannala_brandt", "kannala_brandt4", "kb4"),
        "equidistant",
    ),
}
"""The models by the names that drivers and calibration tools write; see `Distortion.named`."""

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
            k4, k5, k6[, s1..s4 of a thin prism[, two angles of a tilted sensor]], as in OpenCV) or
            `equidistant` (Kannala and Brandt, 2006: k1..k4, for fisheyes).
        coefficients: in that order.
        turn: degrees by which the lens was turned clockwise after its calibration.
    """

    model: DistortionModel
    coefficients: tuple[float, ...]
    turn: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible models.

        Raises:
            ValueError: if the model is unknown, or the coefficients are too few, too many, too
                large or not finite.
        """
        if self.model not in COUNTS:
            raise ValueError(_unknown(self.model))
        if len(self.coefficients) not in COUNTS[self.model]:
            raise ValueError(_wrong_count(self.model, len(self.coefficients)))
        if not np.all(np.abs(self.coefficients) < MAX_COEFFICIENT):
            raise ValueError(
                f"distortion coefficients must be finite and below {MAX_COEFFICIENT:g}, not "
                f"{self.coefficients}"
            )

    @classmethod
    def named(cls, name: str, coefficients: Sequence[float]) -> Distortion | None:
        """The distortion that a calibration describes; None if all coefficients are zero.

        Drivers fill the coefficients with zeros up to 5, 8, 12 or 14, so zeros at the end are not
        part of the model. In OpenCV's order the coefficients of `plumb_bob` are the first ones of
        `rational_polynomial`: their number decides between these two.

        Args:
            name: of the model, see `NAMES`; the case does not matter, and "-" is "_".
            coefficients: as the calibration gives them.

        Raises:
            ValueError: if the model is unknown or cannot have these coefficients.
        """
        count = max((i + 1 for i, number in enumerate(coefficients) if number), default=0)
        if count == 0:
            return None
        model = NAMES.get(name.strip().lower().replace("-", "_").replace(" ", "_"))
        if model is None:
            raise ValueError(_unknown(name))
        if model != "equidistant":
            model = "plumb_bob" if count <= max(COUNTS["plumb_bob"]) else "rational_polynomial"
        size = min((n for n in COUNTS[model] if n >= count), default=None)
        if size is None or len(coefficients) < min(COUNTS[model]):
            raise ValueError(_wrong_count(model, count if size is None else len(coefficients)))
        return cls(model, (*coefficients[:count], *[0.0] * (size - count)))

    def turned(self, degrees: int) -> Distortion:
        """The same lens after it was turned clockwise by a multiple of 90 degrees."""
        return replace(self, turn=(self.turn + degrees) % 360)

    def distort(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distort points x/z, y/z of a pinhole camera as the lens does: (..., 2) -> (..., 2)."""
        turn = turn_matrix(self.turn)[:2, :2].astype(np.float32)
        return self._distort(points @ turn) @ turn.T

    def undistort(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `distort`, for points (..., 2) at unit depth: (..., 2) -> (..., 2).

        A point that no ray reaches (far outside the image, where the polynomials fold back) stays
        as it is.
        """
        turn = turn_matrix(self.turn)[:2, :2].astype(np.float32)
        return self._undistort(points @ turn) @ turn.T

    def _distort(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
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

    def _undistort(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
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
        error = np.linalg.norm(self._distort(undistorted.astype(np.float32)) - points, axis=-1)
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


def _unknown(model: str) -> str:
    return f"unknown distortion model {model!r} (known: {', '.join(sorted(COUNTS))})"


def _wrong_count(model: str, count: int) -> str:
    return f"{model} has {' or '.join(map(str, COUNTS[model]))} coefficients, not {count}"
