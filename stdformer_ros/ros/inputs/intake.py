"""From camera messages to a Frame, or the reason why not."""

from __future__ import annotations

from dataclasses import replace

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.camera.distortion import Distortion
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.bad_input import BadInput
from stdformer_ros.ros.inputs.compressed_images import decompressed
from stdformer_ros.ros.inputs.images import to_rgb
from stdformer_ros.types import Frame

MAX_RATIO = 100.0
"""Between focal length and image size: a field of view of half a degree, or of all but one."""


def camera_of(info: CameraInfo, rectified: bool = False) -> Camera | None:
    """The intrinsics of a CameraInfo, or None if it says that the camera is not calibrated.

    A driver without calibration sends K filled with zeros (sensor_msgs/CameraInfo defines K[0] = 0
    so).

    Args:
        info: the message.
        rectified: whether the images are rectified: then P holds, and nothing is distorted.

    Raises:
        BadInput: if the numbers cannot be those of a camera.
    """
    k = (*info.p[0:3], *info.p[4:7], *info.p[8:11]) if rectified else info.k
    if not any(k):
        return None
    # The part of the sensor that is sent; 0 means all of it.
    roi = info.roi
    width, height = roi.width or info.width, roi.height or info.height
    try:
        camera = Camera(
            width,
            height,
            fx=k[0],
            fy=k[4],
            cx=k[2] - roi.x_offset,
            cy=k[5] - roi.y_offset,
            distortion=None if rectified else _distortion_of(info),
        )
        _require_plausible(camera)
        return camera
    except ValueError as error:
        raise BadInput("intrinsics", str(error)) from None


def _require_plausible(camera: Camera) -> None:
    """Refuse what would put people kilometres away, or nowhere in float32.

    Raises:
        ValueError: if the focal lengths or the principal point do not fit the image's size.
    """
    for focal, centre, size in (
        (camera.fx, camera.cx, camera.width),
        (camera.fy, camera.cy, camera.height),
    ):
        if not size / MAX_RATIO < focal < size * MAX_RATIO or abs(centre) > size * MAX_RATIO:
            raise ValueError(
                f"focal length {focal:g} and principal point {centre:g} cannot be those of "
                f"{size} pixels"
            )


def _distortion_of(info: CameraInfo) -> Distortion | None:
    """How the lens distorts, None if it does not.

    Raises:
        ValueError: if the model is unknown or does not fit its coefficients.
    """
    coefficients = tuple(info.d)
    if not any(coefficients):
        return None
    # What calibrations call plumb_bob with eight numbers is OpenCV's rational model.
    model = info.distortion_model
    if model == "plumb_bob" and len(coefficients) == 8:
        model = "rational_polynomial"
    return Distortion({"fisheye": "equidistant"}.get(model, model), coefficients)


def scaled(camera: Camera, width: int, height: int) -> Camera:
    """The same camera for an image that was resized to `width` x `height`.

    Pixels have their origin at the centre of the upper left one, so the principal point scales
    about the image's corner, half a pixel away.
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


def seconds(stamp: object) -> float:
    """A builtin_interfaces/Time as seconds."""
    return stamp.sec + 1e-9 * stamp.nanosec  # type: ignore[attr-defined]


def nanoseconds(stamp: object) -> int:
    """A builtin_interfaces/Time as whole nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec  # type: ignore[attr-defined]


class Intake:
    """Checks each image against those before it and joins it with the camera's intrinsics.

    Attributes:
        camera: the newest usable intrinsics, None as long as there were none.

    Args:
        rectified: whether the images are rectified, see `camera_of`.
    """

    def __init__(self, rectified: bool = False) -> None:
        self._rectified = rectified
        self.camera: Camera | None = None
        self._discontinuous = False
        self._stamp_ns: int | None = None
        self._size: tuple[int, int] | None = None

    def take_camera_info(self, info: CameraInfo) -> None:
        """Remember the intrinsics; unusable ones leave the earlier ones in place.

        Raises:
            BadInput: if the numbers cannot be those of a camera.
        """
        self.camera = camera_of(info, self._rectified) or self.camera

    def frame(self, message: Image | CompressedImage, depth: DepthImage | None = None) -> Frame:
        """The image as a Frame, with the depth that belongs to it and the header as its `source`.

        An image that is older than the one before it, or of another size, is refused; the frame of
        the next good image is `discontinuous`, and the stream continues from there.

        Raises:
            BadInput: if the image cannot be used.
        """
        stamp = message.header.stamp
        stamp_ns = nanoseconds(stamp)
        before, self._stamp_ns = self._stamp_ns, stamp_ns
        if before is not None and stamp_ns == before:
            raise BadInput("repeated stamp", f"the stamp {seconds(stamp):.3f} s repeats")
        if before is not None and stamp_ns < before:
            self._discontinuous = True
            raise BadInput(
                "stamp back",
                f"the stamp went back from {1e-9 * before:.3f} to {seconds(stamp):.3f} s",
            )
        image = to_rgb(message) if isinstance(message, Image) else decompressed(message)
        height, width = image.shape[:2]
        old, self._size = self._size, (width, height)
        if old is not None and old != self._size:
            self._discontinuous = True
            raise BadInput(
                "changed size",
                f"the image changed its size from {old[0]}x{old[1]} to {width}x{height}",
            )
        camera = (
            Camera.assumed(width, height)
            if self.camera is None
            else scaled(self.camera, width, height)
        )
        discontinuous, self._discontinuous = self._discontinuous, False
        return Frame(image, seconds(stamp), camera, depth, message.header, discontinuous)
