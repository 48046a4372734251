"""Convert camera messages to a Frame, or say why a message cannot be used.

`Intake` joins each image with the newest intrinsics and its depth, and compares its stamp, size and
intrinsics with those of the image before it. `DepthIntake` finds the depth image that was taken at
the same time as a colour image.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.camera.pinhole import Camera
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

KEPT = 8
"""Number of depth messages that are kept, because a colour image is processed some time after it
has arrived."""
SILENCE = 0.5
"""After this time in seconds without a depth image, or three periods of a slow one, no image waits
for depth any more."""
JITTER = 0.25
"""By this fraction of its period a depth image may come later than expected."""


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
        self._intrinsics: Intrinsics | None = None
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
        return None if self._intrinsics is None else self._intrinsics.camera

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
        if intrinsics is None and self._intrinsics is not None:
            self._warn("uncalibrated", "K is all zeros now; the earlier intrinsics stay in use")
        self._intrinsics = intrinsics or self._intrinsics

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
        camera = self._steady(self._camera_for(width, height))
        depth = self._aligned(depth, width, height)
        discontinuous, self._discontinuous = self._discontinuous, False
        return Frame(image, seconds(stamp), camera, depth, message.header, discontinuous)

    def _camera_for(self, width: int, height: int) -> Camera:
        """The newest intrinsics for this size, or assumed ones."""
        if self._intrinsics is None:
            return Camera.assumed(width, height)
        known = (self._intrinsics, width, height)
        if self._fitted is None or self._fitted[0] != known:
            self._fitted = known, self._intrinsics.for_image(width, height, self._warn)
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


@dataclass(frozen=True)
class _Arrival:
    """A depth message: its stamp in nanoseconds, and when it came by the intake's clock."""

    stamp_ns: int
    at: float
    message: Image


class DepthIntake:
    """Keeps the newest depth messages and finds the one that was taken with a colour image.

    A depth image often comes some milliseconds after its colour image, so an image may `wait` for
    it, within a bound. This is not message_filters' ApproximateTimeSynchronizer, which holds an
    image back until its depth has arrived: the node would not answer at all while depth is missing,
    and would queue images that newer ones should replace. A reader that does not run in real time
    reads on until an image's depth is `settled`.

    All methods may be called from any thread.

    Args:
        tolerance: largest difference between the two stamps, in seconds.
        warn: told if an image has no depth, or depth of another time than is still to come.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, tolerance: float, warn: Warn = ignore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tolerance = tolerance
        self._warn = warn
        self._clock = clock
        self._kept: deque[_Arrival] = deque(maxlen=KEPT)
        self._changed = threading.Condition()
        self._open = True
        self._asked = self._missing = self._late = 0

    def take(self, message: Image) -> None:
        """Store a message; it is only converted when an image needs it."""
        with self._changed:
            stamp_ns = nanoseconds(message.header.stamp)
            self._kept.append(_Arrival(stamp_ns, self._clock(), message))
            self._changed.notify_all()

    def settled(self, stamp_ns: int) -> bool:
        """Whether the depth image nearest to a time in nanoseconds has arrived.

        It has if one has exactly this stamp, or if the newest one is of a later time.
        """
        with self._changed:
            if not self._kept:
                return False
            stamps = [kept.stamp_ns for kept in self._kept]
            return stamps[-1] >= stamp_ns or stamp_ns in stamps

    def expected(self, stamp_ns: int, until: float) -> bool:
        """Whether the depth image nearest to a time in nanoseconds is still to come, and in time.

        The stamps and arrivals of the kept messages show that. None is expected if none has ever
        come, if none has come for a while, if they lag behind too much, or if their stamps are of
        another clock.

        Args:
            stamp_ns: the time.
            until: when it must have come, in seconds of the clock.
        """
        with self._changed:
            if not self._open or not self._awaited(stamp_ns):
                return False
            newest = self._kept[-1].at
            period = _median_step([kept.at for kept in self._kept])
            due = newest + (self._ahead(stamp_ns) - JITTER) * period
            return due <= until and self._clock() - newest <= max(SILENCE, 3.0 * period)

    def wait(self, stamp_ns: int, until: float) -> None:
        """Wait as long as the depth image of this time is `expected`, at most until `until`."""
        with self._changed:
            while self.expected(stamp_ns, until):
                rest = until - self._clock()
                if rest <= 0.0 or not self._changed.wait(rest):
                    return

    def at(self, stamp_ns: int) -> DepthImage | None:
        """The depth image nearest to a time in nanoseconds, None if none is near enough.

        Raises:
            BadInput: if there is one, but it cannot be used.
        """
        with self._changed:
            self._asked += 1
            nearest = min(self._kept, key=lambda kept: abs(kept.stamp_ns - stamp_ns), default=None)
            if nearest is None or abs(nearest.stamp_ns - stamp_ns) > 1e9 * self._tolerance:
                self._missing += 1
                self._warn(
                    "depth missing",
                    f"no depth image within {self._tolerance:g} s of the image: "
                    f"{_offset(nearest, stamp_ns)}; {self._missing} of {self._asked} images had "
                    "none; distances are estimated",
                )
                return None
            if self._awaited(stamp_ns):
                self._late += 1
                self._warn(
                    "depth late",
                    f"the depth image of the image's time has not come yet: "
                    f"{_offset(nearest, stamp_ns)} and is used; so it was for {self._late} of "
                    f"{self._asked} images; raise depth_wait",
                )
        return depth_of(nearest.message)

    def close(self) -> None:
        """Forget everything; from now on nobody waits, until `open`."""
        with self._changed:
            self._open = False
            self._kept.clear()
            self._changed.notify_all()

    def open(self) -> None:
        """Let images wait again."""
        with self._changed:
            self._open = True
            self._asked = self._missing = self._late = 0

    def _awaited(self, stamp_ns: int) -> bool:
        """Whether the nearest depth image is one that is still to come."""
        return bool(self._kept) and not self.settled(stamp_ns) and self._ahead(stamp_ns) > 0

    def _ahead(self, stamp_ns: int) -> int:
        """By how many depth images a time is ahead of the newest one, rounded to the nearest."""
        if len(self._kept) == 1:
            return 1  # the next one may be of any time
        period = _median_step([kept.stamp_ns for kept in self._kept])
        return round((stamp_ns - self._kept[-1].stamp_ns) / period) if period else 0


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


def _offset(nearest: _Arrival | None, stamp_ns: int) -> str:
    """How far the nearest depth image is from a time."""
    if nearest is None:
        return "none has come"
    offset = 1e-9 * (nearest.stamp_ns - stamp_ns)
    far = f"{1e3 * abs(offset):.0f} ms" if abs(offset) < 10.0 else f"{abs(offset):.1f} s"
    clocks = ": do both drivers use the same clock?" if abs(offset) > 10.0 else ""
    return f"the nearest is {far} {'older' if offset < 0 else 'newer'}{clocks}"


def _median_step(values: list[float] | list[int]) -> float:
    """The median of the positive differences of consecutive values, 0 without any."""
    steps = [b - a for a, b in pairwise(values) if b > a]
    return float(median(steps)) if steps else 0.0
