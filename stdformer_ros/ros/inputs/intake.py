"""Convert camera messages to a Frame, or say why a message cannot be used.

`Intake` joins each image with the newest intrinsics (`camera_of` reads them from a CameraInfo) and
compares its stamp and size with those of the image before it. `DepthIntake` finds the depth image
that was taken at the same time as a colour image.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import Lock

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.camera.distortion import Distortion
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.compressed import decompressed
from stdformer_ros.ros.inputs.images import depth_of, to_rgb
from stdformer_ros.ros.log import BadInput
from stdformer_ros.types import Frame

MAX_RATIO = 100.0
"""Largest ratio of focal length to image size (a field of view of half a degree), and of image size
to focal length (almost 180 degrees)."""

KEPT = 8
"""Number of depth messages that are kept, because a colour image is processed some time after it
has arrived."""


def seconds(stamp: Time) -> float:
    """A stamp in seconds."""
    return float(stamp.sec + 1e-9 * stamp.nanosec)


def nanoseconds(stamp: Time) -> int:
    """A stamp in whole nanoseconds."""
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


def camera_of(info: CameraInfo, rectified: bool = False) -> Camera | None:
    """The intrinsics of a CameraInfo, or None if it says that the camera is not calibrated.

    A driver without calibration sends a K of zeros (by the definition of sensor_msgs/CameraInfo).

    Args:
        info: the message.
        rectified: whether the images are rectified: then the projection P is used instead of K,
            and there is no distortion.

    Raises:
        BadInput: if no camera can have these numbers.
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


class Intake:
    """Checks each image against those before it and joins it with the camera's intrinsics.

    Attributes:
        camera: the newest usable intrinsics, None before the first.

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
        """Store the intrinsics; unusable ones leave the earlier ones in place.

        Raises:
            BadInput: if no camera can have these numbers.
        """
        self.camera = camera_of(info, self._rectified) or self.camera

    def frame(self, message: Image | CompressedImage, depth: DepthImage | None = None) -> Frame:
        """The image as a Frame, with the depth that belongs to it and the header as its `source`.

        An image that is older than the one before it, or has another size, is refused. Later images
        are compared with the refused one, and the next frame is `discontinuous`.

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


class DepthIntake:
    """Keeps the newest depth messages and finds the one that was taken with a colour image.

    This is not message_filters' ApproximateTimeSynchronizer, because that holds an image back until
    a depth image of its time has arrived. With it the node would answer later, would not answer at
    all while depth is missing, and would queue images that newer ones should replace. Here an
    image is processed as soon as the worker is free, with the depth that has arrived by then, or
    without depth.

    Args:
        tolerance: largest difference between the two stamps, in seconds.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance_ns = int(1e9 * tolerance)
        self._kept: deque[tuple[int, Image]] = deque(maxlen=KEPT)
        self._lock = Lock()

    def take(self, message: Image) -> None:
        """Store a message; it is only converted when an image needs it."""
        with self._lock:
            self._kept.append((nanoseconds(message.header.stamp), message))

    def at(self, stamp_ns: int) -> DepthImage | None:
        """The depth image nearest to a time in nanoseconds, None if none is near enough.

        Raises:
            BadInput: if there is one, but it cannot be used.
        """
        with self._lock:
            near = [
                (abs(own - stamp_ns), i)
                for i, (own, _) in enumerate(self._kept)
                if abs(own - stamp_ns) <= self._tolerance_ns
            ]
            if not near:
                return None
            _, message = self._kept[min(near)[1]]
        return depth_of(message)


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


def _distortion_of(info: CameraInfo) -> Distortion | None:
    """The distortion of the lens, None if there is none.

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
