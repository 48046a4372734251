"""sensor_msgs/Image to RGB, with every byte checked before it is believed."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from stdformer_ros.ros.bad_input import BadInput
from stdformer_ros.types import ImageArray

Array = NDArray[np.uint8] | NDArray[np.uint16]

# encoding: (bytes per channel, channels, the array (H, W[, C]) to RGB in the same depth)
_PACKED: dict[str, tuple[int, int, Callable[[Array], Array]]] = {
    "rgb8": (1, 3, lambda a: a),
    "bgr8": (1, 3, lambda a: cv2.cvtColor(a, cv2.COLOR_BGR2RGB)),
    "8UC3": (1, 3, lambda a: cv2.cvtColor(a, cv2.COLOR_BGR2RGB)),
    "rgba8": (1, 4, lambda a: cv2.cvtColor(a, cv2.COLOR_RGBA2RGB)),
    "bgra8": (1, 4, lambda a: cv2.cvtColor(a, cv2.COLOR_BGRA2RGB)),
    "mono8": (1, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_GRAY2RGB)),
    "8UC1": (1, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_GRAY2RGB)),
    "mono16": (2, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_GRAY2RGB)),
    "rgb16": (2, 3, lambda a: a),
    "bgr16": (2, 3, lambda a: cv2.cvtColor(a, cv2.COLOR_BGR2RGB)),
    "bayer_rggb8": (1, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerRGGB2RGB)),
    "bayer_bggr8": (1, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerBGGR2RGB)),
    "bayer_gbrg8": (1, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerGBRG2RGB)),
    "bayer_grbg8": (1, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerGRBG2RGB)),
    "bayer_rggb16": (2, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerRGGB2RGB)),
    "bayer_bggr16": (2, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerBGGR2RGB)),
    "bayer_gbrg16": (2, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerGBRG2RGB)),
    "bayer_grbg16": (2, 1, lambda a: cv2.cvtColor(a, cv2.COLOR_BayerGRBG2RGB)),
    "yuv422": (1, 2, lambda a: cv2.cvtColor(a, cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": (1, 2, lambda a: cv2.cvtColor(a, cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": (1, 2, lambda a: cv2.cvtColor(a, cv2.COLOR_YUV2RGB_YUY2)),
    "yuyv": (1, 2, lambda a: cv2.cvtColor(a, cv2.COLOR_YUV2RGB_YUY2)),
}

# encoding: the array (1.5 H, W), brightness above interleaved half-size colour, to RGB
_PLANAR: dict[str, int] = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
}

_DEPTH = ("16UC1", "32FC1")

MAX_PIXELS = 50_000_000
"""More than any camera has; a message that claims more is an error or an attack."""

ENCODINGS = (*_PACKED, *_PLANAR)
"""What `to_rgb` understands."""


def to_rgb(message: Image) -> ImageArray:
    """The pixels of a colour or grey image.

    Rows may be padded (`step`), 16-bit channels may be of either byte order (`is_bigendian`); they
    keep their upper eight bits. For `nv12` and `nv21`, `height` is that of the picture and the
    data hold 1.5 times as many rows.

    Returns:
        (H, W, 3) uint8 RGB. May share the message's memory.

    Raises:
        BadInput: if the encoding is unknown, the data do not fit the size that is claimed, or
            that is above MAX_PIXELS.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if height == 0 or width == 0:
        raise BadInput("empty", f"the image is empty ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise BadInput(
            "size", f"the image is too large ({width}x{height}, at most {MAX_PIXELS} pixels)"
        )
    if encoding in _PACKED:
        depth, channels, convert = _PACKED[encoding]
        even_width = encoding.startswith(("yuv", "uyvy", "yuyv"))
        if (even_width and width % 2) or (encoding.startswith("bayer") and min(width, height) < 2):
            raise BadInput("size", f"{encoding} cannot be {width}x{height}")
        pixels = _rows(message, height, width * channels, depth)
        if channels > 1:
            pixels = pixels.reshape(height, width, channels)
        rgb = convert(pixels)
        return np.ascontiguousarray(rgb if depth == 1 else (rgb >> 8).astype(np.uint8))
    if encoding in _PLANAR:
        if width % 2 or height % 2:
            raise BadInput("size", f"{encoding} needs even sides, not {width}x{height}")
        pixels = _rows(message, height * 3 // 2, width, 1)
        return cv2.cvtColor(np.ascontiguousarray(pixels), _PLANAR[encoding])
    if encoding in _DEPTH:
        raise BadInput(
            "encoding", f"encoding {encoding} is that of a depth image, not of a colour image"
        )
    return _by_cv_bridge(message)


def _by_cv_bridge(message: Image) -> ImageArray:
    """What only ROS 2's own cv_bridge may know; the package of that name on PyPI is not it."""
    encoding = message.encoding
    try:
        get_package_prefix("cv_bridge")
        from cv_bridge import CvBridge
    except (PackageNotFoundError, ImportError) as error:
        raise BadInput(
            "encoding",
            f"unknown encoding '{encoding}' (known: {', '.join(sorted(ENCODINGS))}; ROS 2's "
            "cv_bridge, where it is installed, is asked for others)",
        ) from error
    expected = message.step * message.height
    if len(message.data) != expected:
        raise BadInput("data", f"{len(message.data)} bytes of data instead of {expected}")
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), np.uint8)
    # It raises what OpenCV, numpy or itself see fit to.
    except Exception as error:
        raise BadInput(
            "encoding", f"cv_bridge cannot turn '{encoding}' into RGB: {error}"
        ) from error


def _rows(message: Image, rows: int, values: int, depth: int) -> Array:
    """The data as (rows, values) of unsigned integers of `depth` bytes, without the padding."""
    needed = values * depth
    if message.step < needed:
        raise BadInput(
            "step",
            f"step {message.step} is too short: a row of {message.width} {message.encoding} "
            f"pixels has {needed} bytes",
        )
    expected = message.step * rows
    if len(message.data) != expected:
        raise BadInput(
            "data",
            f"{len(message.data)} bytes of data where {rows} rows of step {message.step} make "
            f"{expected}",
        )
    data = np.frombuffer(message.data, np.uint8).reshape(rows, message.step)[:, :needed]
    if depth == 1:
        return data
    order = ">u2" if message.is_bigendian else "<u2"
    return np.ascontiguousarray(data).view(order).astype(np.uint16)
