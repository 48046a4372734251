"""From depth messages to the depth image that belongs to a colour image."""

from __future__ import annotations

from collections import deque
from threading import Lock

import numpy as np
from sensor_msgs.msg import Image

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.ros.bad_input import BadInput
from stdformer_ros.ros.inputs.intake import nanoseconds

KEPT = 8
"""So many messages wait for their colour images, which are worked on somewhat later."""

METRES_PER_UNIT = {"16UC1": 0.001, "mono16": 0.001, "32FC1": 1.0}
"""REP 118: millimetres as integers, metres as floats."""

PLAUSIBLE_METRES = 200.0
"""A depth image whose median is beyond this is not in metres."""


def depth_of(message: Image) -> DepthImage:
    """A depth image.

    Raises:
        BadInput: if the encoding is none of depth, the data do not fit the size that is claimed, or
            floats are not metres.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if encoding not in METRES_PER_UNIT:
        raise BadInput(
            "encoding", f"encoding '{encoding}' is not one of depth (16UC1 in mm, 32FC1 in m)"
        )
    if height == 0 or width == 0:
        raise BadInput("empty", f"the depth image is empty ({width}x{height})")
    depth = 4 if encoding == "32FC1" else 2
    if message.step < width * depth:
        raise BadInput("step", f"step {message.step} is too short for {width} {encoding} pixels")
    if len(message.data) != message.step * height:
        raise BadInput(
            "data",
            f"{len(message.data)} bytes of data where {height} rows of step {message.step} make "
            f"{message.step * height}",
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, message.step)[:, : width * depth]
    kind = f"{'>' if message.is_bigendian else '<'}{'f' if depth == 4 else 'u'}{depth}"
    values = np.ascontiguousarray(rows).view(kind)
    if depth == 4:
        _require_metres(values)
    return DepthImage(values, METRES_PER_UNIT[encoding])


class DepthIntake:
    """Keeps the newest depth messages and finds the one of a colour image's time.

    Args:
        tolerance: seconds that may lie between the two stamps.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance_ns = int(1e9 * tolerance)
        self._kept: deque[tuple[int, Image]] = deque(maxlen=KEPT)
        self._lock = Lock()

    def take(self, message: Image) -> None:
        """Remember a message; what it holds is looked at when an image asks for it."""
        with self._lock:
            self._kept.append((nanoseconds(message.header.stamp), message))

    def at(self, stamp_ns: int) -> DepthImage | None:
        """The depth image nearest to a time, None if none is near enough.

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


def _require_metres(values: np.ndarray) -> None:
    sample = values[:: max(1, len(values) // 32), :: max(1, values.shape[1] // 32)]
    known = sample[np.isfinite(sample) & (sample > 0)]
    if len(known) and np.median(known) > PLAUSIBLE_METRES:
        raise BadInput(
            "units",
            f"32FC1 depth must be in metres (REP 118), but half of it is beyond "
            f"{np.median(known):.0f}: are these millimetres?",
        )
