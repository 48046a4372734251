"""The pinhole camera: intrinsics, rays, projection, and weak perspective in metres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, radians, tan

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.camera.distortion import Distortion
from stdformer_ros.camera.turning import turned_pixels

ASSUMED_FIELD_OF_VIEW = radians(60.0)
"""Radians over the longer side, assumed for an image without calibration."""


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics of an image of `width` x `height` pixels.

    Attributes:
        fx, fy, cx, cy: focal lengths and principal point in pixels.
        known: False if the intrinsics were assumed; then distances are only a rough guess.
        distortion: of the lens; None for a rectified image.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    known: bool = True
    distortion: Distortion | None = None

    def __post_init__(self) -> None:
        """Refuse impossible intrinsics.

        Raises:
            ValueError: if the size or a focal length is not positive, or a number is not finite.
        """
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not all(isfinite(n) for n in numbers) or min(self.fx, self.fy) <= 0:
            raise ValueError(
                f"camera intrinsics must be finite with positive focal lengths, not "
                f"fx={self.fx}, fy={self.fy}, cx={self.cx}, cy={self.cy}"
            )
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"image size must be positive, not {self.width}x{self.height}")

    @classmethod
    def assumed(cls, width: int, height: int) -> Camera:
        """Intrinsics for an image without calibration: 60 degrees over the longer side."""
        focal = 0.5 * max(width, height) / tan(0.5 * ASSUMED_FIELD_OF_VIEW)
        # The middle of the image, in coordinates that begin at the centre of the first pixel.
        centre = 0.5 * (width - 1), 0.5 * (height - 1)
        return cls(width, height, focal, focal, *centre, known=False)

    def turned(self, degrees: int) -> Camera:
        """The camera of the image after it was turned clockwise by a multiple of 90 degrees."""
        size, focal = (self.width, self.height), (self.fx, self.fy)
        cx, cy = turned_pixels(np.array([self.cx, self.cy]), size, degrees).tolist()
        (width, height), (fx, fy) = (size[::-1], focal[::-1]) if degrees % 180 else (size, focal)
        lens = None if self.distortion is None else self.distortion.turned(degrees)
        return replace(
            self, width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy, distortion=lens
        )

    def rays(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixels (..., 2) to x/z, y/z (..., 2) in the camera frame; the distortion is removed."""
        centre = np.array([self.cx, self.cy], np.float32)
        rays = ((pixels - centre) / np.array([self.fx, self.fy], np.float32)).astype(np.float32)
        return rays if self.distortion is None else self.distortion.undistort(rays)

    def difference(self, other: Camera) -> float:
        """How far the rays of two cameras are apart, for images of the same size.

        Returns:
            The largest difference over 3 x 3 pixels from corner to corner, as a fraction of the
            largest coordinate of these rays: 0.01 for focal lengths that differ by 1 %.
        """
        x, y = np.linspace(0, self.width - 1, 3), np.linspace(0, self.height - 1, 3)
        pixels = np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)
        ours, theirs = self.rays(pixels), other.rays(pixels)
        return float(np.abs(ours - theirs).max() / max(np.abs(ours).max(), 1e-9))

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (..., 3) in metres in the camera frame, z > 0, to pixels (..., 2)."""
        centre = np.array([self.cx, self.cy], np.float32)
        focal = np.array([self.fx, self.fy], np.float32)
        rays = points[..., :2] / points[..., 2:]
        if self.distortion is not None:
            rays = self._distorted(rays)
        return (rays * focal + centre).astype(np.float32)

    def _distorted(self, rays: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rays (..., 2), distorted unless they are far outside the image.

        There the polynomials of all models except `equidistant` fold back into the image.
        """
        assert self.distortion is not None
        distorted = self.distortion.distort(rays)
        if self.distortion.model == "equidistant":
            return distorted
        size = np.array([self.width, self.height], np.float32)
        focal = np.array([self.fx, self.fy], np.float32)
        pixels = rays * focal + np.array([self.cx, self.cy], np.float32)
        near = np.all((pixels > -0.5 * size) & (pixels < 1.5 * size), axis=-1, keepdims=True)
        return np.where(near, distorted, rays).astype(np.float32)


def weak_perspective_to_metres(weak: torch.Tensor, half_size: torch.Tensor) -> torch.Tensor:
    """The position of a body's origin, from the weak-perspective camera of a view centred on it.

    A point X of the body is at s (X + t) in the view's range of [-1, 1]. So at the origin's depth
    half of the view is 1 / s metres wide; at unit depth it is `half_size`: z = 1 / (s half_size).

    Args:
        weak: (B, 3) s, tx, ty; s > 0 in 1/m, tx and ty in metres.
        half_size: (B,) tangent of half the view's angle.

    Returns:
        (B, 3) metres in the view's coordinates.
    """
    depth = 1.0 / (weak[:, :1] * half_size[:, None])
    return torch.cat([weak[:, 1:], depth], dim=-1)
