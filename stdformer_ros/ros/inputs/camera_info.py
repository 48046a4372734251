"""Intrinsics from sensor_msgs/CameraInfo, for the size that the image has.

What a CameraInfo says and cannot be used, and every guess, is told to a `Warn`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sensor_msgs.msg import CameraInfo

from stdformer_ros.camera.distortion import Distortion
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.log import BadInput, Warn, ignore

MAX_RATIO = 100.0
"""Largest ratio of focal length to image size (a field of view of half a degree), and of image size
to focal length (almost 180 degrees)."""

MAX_STRETCH = 0.01
"""The ratios of the sides of image and intrinsics may differ by this and one pixel of rounding."""


@dataclass(frozen=True)
class Intrinsics:
    """A camera, and how many of its pixels the driver combines into one of the image.

    Attributes:
        camera: for the part of the sensor that is sent, without binning.
        binning: horizontal and vertical.
    """

    camera: Camera
    binning: tuple[int, int] = (1, 1)

    def for_image(self, width: int, height: int, warn: Warn = ignore) -> Camera:
        """The camera for an image of `width` x `height`, which may have been resized.

        If the sides of the image have another ratio, the intrinsics are stretched, with a warning.
        If the image is upright and the intrinsics are not (or the reverse), nothing is known of
        how they belong together: the result is `Camera.assumed`.
        """
        camera = self.camera
        stretch = min(
            stretch_between((camera.width / x, camera.height / y), (width, height))
            for x, y in {self.binning, (1, 1)}  # some drivers give the size after binning
        )
        if stretch > 1.0 + MAX_STRETCH + 1.0 / min(width, height):
            sizes = f"for {camera.width}x{camera.height} pixels, but the image has {width}x{height}"
            if (camera.width - camera.height) * (width - height) < 0:
                warn(
                    "turned",
                    f"the intrinsics are {sizes}: the sides are exchanged. They are not used; "
                    "calibrate with images as they are sent",
                )
                return Camera.assumed(width, height)
            warn(
                "aspect",
                f"the intrinsics are {sizes}: they are stretched, and distances may be wrong by "
                f"{100 * (stretch - 1):.0f} %; calibrate with images of this size, or let the "
                "driver give the region of interest",
            )
        return scaled(camera, width, height)


def intrinsics_of(
    info: CameraInfo, rectified: bool = False, warn: Warn = ignore
) -> Intrinsics | None:
    """The intrinsics of a CameraInfo, or None if it says that the camera is not calibrated.

    A driver without calibration sends a K of zeros (by the definition of sensor_msgs/CameraInfo).
    A distortion that cannot be used is left out with a warning.

    Args:
        info: the message.
        rectified: whether the images are rectified: then the projection P is used instead of K,
            and there is no distortion.
        warn: told of what is left out or guessed.

    Raises:
        BadInput: if no camera can have these numbers.
    """
    k = tuple(info.k)
    if rectified and any(info.p):
        k = (*info.p[0:3], *info.p[4:7], *info.p[8:11])
    elif rectified and any(k):
        warn("projection", "P is all zeros, but the images are rectified: K is used instead")
    if not any(k):
        return None
    try:
        x, y, width, height = _part_of(info, warn)
        camera = Camera(
            width,
            height,
            fx=k[0],
            fy=k[4],
            cx=k[2] - x,
            cy=k[5] - y,
            distortion=None if rectified else _distortion_of(info, warn),
        )
        _require_plausible(camera)
    except ValueError as error:
        raise BadInput("intrinsics", str(error)) from None
    return Intrinsics(camera, (info.binning_x or 1, info.binning_y or 1))


def scaled(camera: Camera, width: int, height: int) -> Camera:
    """The same camera for an image that was resized to `width` x `height`.

    Pixel coordinates begin at the centre of the upper left pixel, but resizing scales about the
    corner of the image, which is half a pixel away. So the principal point is scaled about that
    corner.
    """
    if (width, height) == (camera.width, camera.height):
        return camera
    x, y = width / camera.width, height / camera.height
    return replace(
        camera,
        width=width,
        height=height,
        fx=camera.fx * x,
        fy=camera.fy * y,
        cx=(camera.cx + 0.5) * x - 0.5,
        cy=(camera.cy + 0.5) * y - 0.5,
    )


def stretch_between(size: tuple[float, float], other: tuple[float, float]) -> float:
    """How much the ratios of the sides of two images differ: a factor from 1."""
    x, y = other[0] / size[0], other[1] / size[1]
    return max(x / y, y / x)


def _part_of(info: CameraInfo, warn: Warn) -> tuple[int, int, int, int]:
    """Where the part of the sensor that is sent begins (x, y), its width and height.

    They are in pixels before binning, by the definition of sensor_msgs/CameraInfo.

    Raises:
        ValueError: if the part is not on the sensor.
    """
    roi = info.roi
    width, height = roi.width or info.width, roi.height or info.height  # 0 means all of it
    if roi.x_offset + width <= info.width and roi.y_offset + height <= info.height:
        return roi.x_offset, roi.y_offset, width, height
    part = f"the region of interest {width}x{height} at ({roi.x_offset}, {roi.y_offset})"
    if (width, height) == (info.width, info.height):
        warn(
            "region",
            f"{part} is as large as the calibrated image: it was calibrated itself, and its offset "
            "is not used",
        )
        return 0, 0, width, height
    raise ValueError(f"{part} is not inside the sensor's {info.width}x{info.height} pixels")


def _require_plausible(camera: Camera) -> None:
    """Refuse intrinsics that put people kilometres away or overflow float32.

    Raises:
        ValueError: if the focal lengths or the principal point do not fit the image's size.
    """
    for focal, centre, size in (
        (camera.fx, camera.cx, camera.width),
        (camera.fy, camera.cy, camera.height),
    ):
        if not size / MAX_RATIO < focal < size * MAX_RATIO or abs(centre) > size * MAX_RATIO:
            raise ValueError(
                f"focal length {focal:g} and principal point {centre:g} do not fit an image of "
                f"{size} pixels"
            )


def _distortion_of(info: CameraInfo, warn: Warn) -> Distortion | None:
    """The distortion of the lens; None if there is none, or none that can be used."""
    try:
        distortion = Distortion.named(info.distortion_model, info.d)
    except ValueError as error:
        warn(
            "distortion",
            f"{error}: K is used without the distortion, so positions are less exact towards the "
            "edges of the image; use a rectified image with rectified:=true, or a known model",
        )
        return None
    if distortion is not None and not info.distortion_model.strip():
        warn(
            "distortion name",
            f"distortion_model is empty, but D has {len(info.d)} numbers: taken as "
            f"{distortion.model}",
        )
    return distortion
