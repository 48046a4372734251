"""From camera messages to a Frame, or the reason why not."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo, Image

from stdformer_ros.camera import Camera
from stdformer_ros.ros.bad_input import BadInput
from stdformer_ros.ros.images import to_rgb
from stdformer_ros.types import Frame

MAX_RATIO = 100.0
"""Between focal length and image size: a field of view of half a degree, or of all but one."""


def camera_of(info: CameraInfo) -> Camera | None:
    """The intrinsics of a CameraInfo, or None if it says that the camera is not calibrated.

    A driver without calibration sends K filled with zeros (sensor_msgs/CameraInfo defines K[0] = 0
    so).

    Raises:
        BadInput: if the numbers cannot be those of a camera.
    """
    if not any(info.k):
        return None
    try:
        camera = Camera(
            info.width, info.height, fx=info.k[0], fy=info.k[4], cx=info.k[2], cy=info.k[5]
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


def scaled(camera: Camera, width: int, height: int) -> Camera:
    """The same camera for an image that was resized to `width` x `height`.

    Pixels have their origin at the centre of the upper left one, so the principal point scales
    about the image's corner, half a pixel away.
    """
    if (width, height) == (camera.width, camera.height):
        return camera
    x, y = width / camera.width, height / camera.height
    return Camera(
        width,
        height,
        fx=camera.fx * x,
        fy=camera.fy * y,
        cx=(camera.cx + 0.5) * x - 0.5,
        cy=(camera.cy + 0.5) * y - 0.5,
        known=camera.known,
    )


def seconds(stamp: object) -> float:
    """A builtin_interfaces/Time as seconds."""
    return stamp.sec + 1e-9 * stamp.nanosec  # type: ignore[attr-defined]


class Intake:
    """Checks each image against those before it and joins it with the camera's intrinsics.

    Attributes:
        camera: the newest usable intrinsics, None as long as there were none.
        jumped: True if the newest frame does not continue the one before it (time went back, or
            the image has changed its size), so that what was remembered of it is void.
    """

    def __init__(self) -> None:
        self.camera: Camera | None = None
        self.jumped = False
        self._stamp_ns: int | None = None
        self._size: tuple[int, int] | None = None

    def take_camera_info(self, info: CameraInfo) -> None:
        """Remember the intrinsics; unusable ones leave the earlier ones in place.

        Raises:
            BadInput: if the numbers cannot be those of a camera.
        """
        self.camera = camera_of(info) or self.camera

    def frame(self, message: Image) -> Frame:
        """The image as a Frame.

        An image whose size or time does not continue the one before it is refused once; the next
        one continues from there.

        Raises:
            BadInput: if the image cannot be used.
        """
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        before, self._stamp_ns = self._stamp_ns, stamp_ns
        if before is not None and stamp_ns == before:
            raise BadInput("repeated stamp", f"the stamp {seconds(stamp):.3f} s repeats")
        if before is not None and stamp_ns < before:
            self.jumped = True
            raise BadInput(
                "stamp back",
                f"the stamp went back from {1e-9 * before:.3f} to {seconds(stamp):.3f} s",
            )
        image = to_rgb(message)
        old, self._size = self._size, (message.width, message.height)
        if old is not None and old != self._size:
            self.jumped = True
            raise BadInput(
                "changed size",
                f"the image changed its size from {old[0]}x{old[1]} to "
                f"{message.width}x{message.height}",
            )
        camera = (
            Camera.assumed(message.width, message.height)
            if self.camera is None
            else scaled(self.camera, message.width, message.height)
        )
        return Frame(image, seconds(stamp), camera)
