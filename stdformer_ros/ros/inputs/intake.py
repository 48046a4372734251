"""Convert camera messages to a Frame, or say why a message cannot be used.

`Intake` joins each image with its intrinsics and depth, and compares its stamp, size and
intrinsics with those of the image before it. `DepthIntake` finds the depth image that was taken at
the same time as a colour image.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.arrivals import KEPT, Arrival, Arrivals
from stdformer_ros.ros.inputs.camera_info import (
    MAX_STRETCH,
    Intrinsics,
    intrinsics_of,
    stretch_between,
)
from stdformer_ros.ros.inputs.compressed import decompressed
from stdformer_ros.ros.inputs.images import depth_of, to_rgb
from stdformer_ros.ros.log import BadInput, Warn, ignore
from stdformer_ros.types import Frame

MAX_JITTER = 0.005
"""Intrinsics that differ less than this (`Camera.difference`) from those in use are not applied: a
driver that estimates them again and again would otherwise seem to move everybody."""

MAX_AHEAD_NS = 1_000_000_000
"""A CameraInfo is of a later time than the image if it is newer by less than this; by more, its
stamps are of another clock."""


def seconds(stamp: Time) -> float:
    """A stamp in seconds."""
    return float(stamp.sec + 1e-9 * stamp.nanosec)


def nanoseconds(stamp: Time) -> int:
    """A stamp in whole nanoseconds."""
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


class Intake:
    """Checks each image against those before it and joins it with the camera's intrinsics.

    Args:
        rectified: whether the images are rectified, see `intrinsics_of`.
        warn: told of what is left out or guessed, once for each CameraInfo and size of the image.
    """

    def __init__(self, rectified: bool = False, warn: Warn = ignore) -> None:
        self._rectified = rectified
        self._warn = warn
        # The last few different ones, each with the stamp of its first CameraInfo.
        self._history: deque[tuple[int, Intrinsics]] = deque(maxlen=4)
        self._told: object = None  # what the newest usable CameraInfo said
        self._discontinuous = False
        self._stamp_ns: int | None = None
        self._size: tuple[int, int] | None = None
        self._fitted: tuple[object, Camera] | None = None
        self._camera: Camera | None = None  # of the previous frame
        self._depth_size: tuple[int, ...] = ()

    @property
    def camera(self) -> Camera | None:
        """The newest usable intrinsics, for the size of their calibration; None before them."""
        return self._history[-1][1].camera if self._history else None

    def take_camera_info(self, info: CameraInfo) -> None:
        """Store the intrinsics; unusable ones leave the earlier ones in place.

        Raises:
            BadInput: if no camera can have these numbers.
        """
        told = _content(info)
        if told == self._told:
            return
        intrinsics = intrinsics_of(info, self._rectified, self._warn)
        self._told = told
        if intrinsics is not None:
            self._history.append((nanoseconds(info.header.stamp), intrinsics))
        elif self._history:
            self._warn("uncalibrated", "K is all zeros now; the earlier intrinsics stay in use")

    def frame(self, message: Image | CompressedImage, depth: DepthImage | None = None) -> Frame:
        """The image as a Frame, with the depth that belongs to it and the header as its `source`.

        An image that is older than the one before it, or has another size, is refused. Later images
        are compared with the refused one, and the next frame is `discontinuous`. So is a frame
        whose intrinsics have changed.

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
        camera = self._steady(self._camera_for(stamp_ns, width, height))
        depth = self._aligned(depth, width, height)
        discontinuous, self._discontinuous = self._discontinuous, False
        return Frame(image, seconds(stamp), camera, depth, message.header, discontinuous)

    def _camera_for(self, stamp_ns: int, width: int, height: int) -> Camera:
        """The intrinsics of this time for this size, or assumed ones.

        Those of a CameraInfo that is newer than the image are not yet the image's.
        """
        if not self._history:
            return Camera.assumed(width, height)
        intrinsics = next(
            (
                intrinsics
                for told_ns, intrinsics in reversed(self._history)
                if not 0 < told_ns - stamp_ns < MAX_AHEAD_NS
            ),
            self._history[0][1],
        )
        known = (intrinsics, width, height)
        if self._fitted is None or self._fitted[0] != known:
            self._fitted = known, intrinsics.for_image(width, height, self._warn)
        return self._fitted[1]

    def _steady(self, camera: Camera) -> Camera:
        """The previous frame's camera, unless this one differs by more than jitter."""
        before, self._camera = self._camera, camera
        if before is None or before == camera:
            return camera
        if (before.width, before.height) != (camera.width, camera.height):
            return camera  # the next frame is discontinuous anyway
        if before.known == camera.known and camera.difference(before) < MAX_JITTER:
            self._camera = before
            return before
        self._discontinuous = True
        self._warn(
            "intrinsics changed",
            f"the intrinsics changed from {_described(before)} to {_described(camera)}: windows, "
            "filters and velocities start anew",
        )
        return camera

    def _aligned(self, depth: DepthImage | None, width: int, height: int) -> DepthImage | None:
        """The depth, unless its sides have another ratio than the image's."""
        if depth is None:
            return None
        rows, columns = size = depth.values.shape
        stretch = stretch_between((columns, rows), (width, height))
        if stretch <= 1.0 + MAX_STRETCH + 1.0 / min(width, height, *size):
            return depth
        if size != self._depth_size:
            self._depth_size = size
            self._warn(
                "depth aspect",
                f"the depth image has {columns}x{rows} pixels, but the image {width}x{height}: it "
                "cannot be aligned to the image, and is not used; distances are estimated. Take "
                "the depth topic that the driver aligns to the colour image",
            )
        return None


class DepthIntake:
    """Finds the depth image that was taken with a colour image.

    Args:
        tolerance: largest difference between the two stamps, in seconds.
        warn: told if an image has no depth, or depth of another time than is still to come.
        clock: see `Arrivals`.
        kept: see `Arrivals`.

    Attributes:
        arrivals: the newest messages; an image may wait for its own there.
    """

    def __init__(
        self,
        tolerance: float,
        warn: Warn = ignore,
        clock: Callable[[], float] = time.monotonic,
        kept: int = KEPT,
    ) -> None:
        self.arrivals: Arrivals[Image] = Arrivals(clock, kept)
        self._tolerance = tolerance
        self._warn = warn
        self._asked = self._missing = self._late = 0

    def take(self, message: Image) -> None:
        """Store a message; it is only converted when an image needs it."""
        self.arrivals.take(nanoseconds(message.header.stamp), message)

    def at(self, stamp_ns: int) -> DepthImage | None:
        """The depth image nearest to a time in nanoseconds, None if none is near enough.

        Raises:
            BadInput: if there is one, but it cannot be used.
        """
        self._asked += 1
        nearest, awaited = self.arrivals.nearest(stamp_ns), self.arrivals.awaited(stamp_ns)
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > 1e9 * self._tolerance:
            self._missing += 1
            self._warn(
                "depth missing",
                f"no depth image within {self._tolerance:g} s of the image: "
                f"{_offset(nearest, stamp_ns)}; {self._missing} of {self._asked} images had none; "
                "distances are estimated",
            )
            return None
        if awaited:
            self._late += 1
            self._warn(
                "depth late",
                "the depth image of the image's time has not come yet: "
                f"{_offset(nearest, stamp_ns)} and is used; so it was for {self._late} of "
                f"{self._asked} images; raise depth_wait",
            )
        return depth_of(nearest.item)


def _content(info: CameraInfo) -> object:
    """Everything but the header, to compare; the same for messages that mean the same."""
    roi = info.roi
    numbers = (info.width, info.height, info.binning_x, info.binning_y)
    part = (roi.x_offset, roi.y_offset, roi.width, roi.height)
    # as bytes, because NaN differs from itself
    arrays = [array.tobytes() for array in (info.d, info.k, info.p)]
    return numbers, part, info.distortion_model, arrays


def _described(camera: Camera) -> str:
    """The intrinsics in a few words."""
    numbers = f"fx {camera.fx:.2f}, fy {camera.fy:.2f}, cx {camera.cx:.2f}, cy {camera.cy:.2f}"
    lens = "" if camera.distortion is None else f", {camera.distortion.model}"
    return f"({numbers}{lens}{'' if camera.known else ', assumed'})"


def _offset(nearest: Arrival[Image] | None, stamp_ns: int) -> str:
    """How far the nearest depth image is from a time."""
    if nearest is None:
        return "none has come"
    offset = 1e-9 * (nearest.stamp_ns - stamp_ns)
    far = f"{1e3 * abs(offset):.0f} ms" if abs(offset) < 10.0 else f"{abs(offset):.1f} s"
    clocks = ": do both drivers use the same clock?" if abs(offset) > 10.0 else ""
    return f"the nearest is {far} {'older' if offset < 0 else 'newer'}{clocks}"
