"""The pinhole camera: intrinsics, rays, and from weak perspective to metres."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, radians, tan

ASSUMED_FIELD_OF_VIEW = radians(60.0)


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics of an image of `width` x `height` pixels.

    Attributes:
        fx, fy, cx, cy: focal lengths and principal point in pixels.
        known: False if the intrinsics were assumed, so that distances are only plausible.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    known: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be a camera.

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
        return cls(width, height, focal, focal, 0.5 * width, 0.5 * height, known=False)
