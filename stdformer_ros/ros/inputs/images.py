"""Image messages to arrays: colour, compressed colour, and depth.

Sizes and lengths in a message are checked before they are used, because anybody who can publish on
the topic decides what arrives. The three parts:

1. `to_rgb`: sensor_msgs/Image to RGB.
2. `decompressed`: sensor_msgs/CompressedImage to RGB. The size is read from the file's header and
   limited before any memory is allocated for the pixels.
3. `depth_of`: sensor_msgs/Image to a `DepthImage`.
"""

from __future__ import annotations

import struct
from typing import Any, cast

import cv2
import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.ros.log import BadInput
from stdformer_ros.types import ImageArray

Array = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 50_000_000
"""More than any camera has; a larger size in a message is an error or an attack."""

# encoding: (bytes per channel, channels, OpenCV's conversion of the array (H, W[, C]) to RGB or
# None if it is RGB)
_PACKED: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "8UC3": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": (1, 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": (1, 1, cv2.COLOR_BayerGRBG2RGB),
    "bayer_rggb16": (2, 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr16": (2, 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg16": (2, 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg16": (2, 1, cv2.COLOR_BayerGRBG2RGB),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
}

# encoding: OpenCV's conversion to RGB of the array (1.5 H, W): the Y plane, and below it the
# interleaved U and V of half the resolution
_PLANAR: dict[str, int] = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
}

ENCODINGS = (*_PACKED, *_PLANAR)
"""The encodings that `to_rgb` converts without cv_bridge."""

_DEPTH_ONLY = ("16UC1", "32FC1")

METRES_PER_UNIT = {"16UC1": 0.001, "mono16": 0.001, "32FC1": 1.0}
"""REP 118: millimetres as integers, metres as floats."""

PLAUSIBLE_METRES = 200.0
"""A depth image whose median is greater than this is not in metres."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The markers of a JPEG file that are followed by the picture's size."""


def to_rgb(message: Image) -> ImageArray:
    """The pixels of a colour or grey image.

    Rows may be padded (`step`). 16-bit channels may be of either byte order (`is_bigendian`); their
    upper eight bits are kept. For `nv12` and `nv21`, `height` is that of the picture and the data
    hold 1.5 times as many rows. ROS 2's cv_bridge, where it is installed, converts the encodings
    that are not in ENCODINGS.

    Returns:
        (H, W, 3) uint8 RGB. May share the message's memory.

    Raises:
        BadInput: if the encoding is unknown, the data do not fit the size that is claimed, or
            that size is above MAX_PIXELS.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if height == 0 or width == 0:
        raise BadInput("empty", f"the image is empty ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise BadInput(
            "size", f"the image is too large ({width}x{height}, at most {MAX_PIXELS} pixels)"
        )
    if encoding in _PACKED:
        depth, channels, code = _PACKED[encoding]
        even_width = encoding.startswith(("yuv", "uyvy", "yuyv"))
        if (even_width and width % 2) or (encoding.startswith("bayer") and min(width, height) < 2):
            raise BadInput("size", f"an image of encoding {encoding} cannot be {width}x{height}")
        pixels = _rows(message, height, width * channels, depth)
        if channels > 1:
            pixels = cast(Array, pixels.reshape(height, width, channels))
        rgb = pixels if code is None else cast(Array, cv2.cvtColor(pixels, code))
        return np.ascontiguousarray(rgb if depth == 1 else rgb >> 8, np.uint8)
    if encoding in _PLANAR:
        if width % 2 or height % 2:
            raise BadInput(
                "size", f"an image of encoding {encoding} needs even sides, not {width}x{height}"
            )
        rows = np.ascontiguousarray(_row_bytes(message, height * 3 // 2, width))
        return np.asarray(cv2.cvtColor(rows, _PLANAR[encoding]), np.uint8)
    if encoding in _DEPTH_ONLY:
        raise BadInput(
            "encoding", f"encoding {encoding} is that of a depth image, not of a colour image"
        )
    return _by_cv_bridge(message)


def decompressed(message: CompressedImage) -> ImageArray:
    """The pixels of a JPEG or PNG picture.

    The first bytes of the data decide which of the two it is; `format` is not read.

    Returns:
        (H, W, 3) uint8 RGB, also for grey and 16-bit pictures.

    Raises:
        BadInput: if the data are neither JPEG nor PNG, are broken, or hold more than MAX_PIXELS.
    """
    data = bytes(message.data)
    size = _png_size(data) if data.startswith(_PNG) else _jpeg_size(data)
    if size is None:
        raise BadInput(
            "format",
            f"{len(data)} bytes that claim to be '{message.format}' are neither a JPEG nor a PNG "
            "picture",
        )
    width, height = size
    # A few kilobytes can claim to be a picture of gigabytes.
    if not 0 < width * height <= MAX_PIXELS:
        raise BadInput("size", f"a picture of {width}x{height} is empty or too large")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadInput("data", f"the picture is broken: {error}") from error
    if picture is None:
        raise BadInput("data", f"the {width}x{height} picture of {len(data)} bytes is broken")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def depth_of(message: Image) -> DepthImage:
    """A depth image, (H, W) in millimetres (integers) or metres (floats).

    Raises:
        BadInput: if the encoding is not that of a depth image, the data do not fit the size that is
            claimed, or floats are not metres.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if encoding not in METRES_PER_UNIT:
        raise BadInput(
            "encoding", f"encoding '{encoding}' is not for depth (use 16UC1 in mm, 32FC1 in m)"
        )
    if height == 0 or width == 0:
        raise BadInput("empty", f"the depth image is empty ({width}x{height})")
    size = 4 if encoding == "32FC1" else 2
    rows = _row_bytes(message, height, width * size)
    kind = f"{'>' if message.is_bigendian else '<'}{'f' if size == 4 else 'u'}{size}"
    values = np.ascontiguousarray(rows).view(kind)
    if size == 4:
        _require_metres(values)
    return DepthImage(values, METRES_PER_UNIT[encoding])


def _by_cv_bridge(message: Image) -> ImageArray:
    """The pixels, converted by ROS 2's cv_bridge (not by the PyPI package of the same name)."""
    encoding = message.encoding
    try:
        get_package_prefix("cv_bridge")
        from cv_bridge import CvBridge
    except (PackageNotFoundError, ImportError) as error:
        raise BadInput(
            "encoding",
            f"unknown encoding '{encoding}' (known: {', '.join(sorted(ENCODINGS))}; others are "
            "left to ROS 2's cv_bridge, which is not installed)",
        ) from error
    expected = message.step * message.height
    if len(message.data) != expected:
        raise BadInput("data", f"{len(message.data)} bytes of data instead of {expected}")
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), np.uint8)
    # cv_bridge raises exceptions of OpenCV, of numpy, and its own.
    except Exception as error:
        raise BadInput(
            "encoding", f"cv_bridge cannot convert encoding '{encoding}' to RGB: {error}"
        ) from error


def _rows(message: Image, rows: int, values: int, depth: int) -> Array:
    """The data as (rows, values) of unsigned integers of `depth` bytes, without the padding."""
    data = _row_bytes(message, rows, values * depth)
    if depth == 1:
        return data
    order = ">u2" if message.is_bigendian else "<u2"
    return np.ascontiguousarray(data).view(order).astype(np.uint16)


def _row_bytes(message: Image, rows: int, needed: int) -> NDArray[np.uint8]:
    """The data as (rows, needed) bytes, without the padding.

    Raises:
        BadInput: if `step` is shorter than a row, or the data are not as long as `step` says.
    """
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
            f"{len(message.data)} bytes of data, but {rows} rows of step {message.step} need "
            f"{expected}",
        )
    return np.frombuffer(message.data, np.uint8).reshape(rows, message.step)[:, :needed]


def _require_metres(values: NDArray[Any]) -> None:
    """Refuse depths in millimetres, found by the median of about 32 x 32 samples."""
    sample = values[:: max(1, len(values) // 32), :: max(1, values.shape[1] // 32)]
    known = sample[np.isfinite(sample) & (sample > 0)]
    if len(known) and np.median(known) > PLAUSIBLE_METRES:
        raise BadInput(
            "units",
            f"32FC1 depth must be in metres (REP 118), but its median is {np.median(known):.0f}: "
            "are these millimetres?",
        )


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, from the first chunk."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, from the segment that starts the frame."""
    if not data.startswith(_JPEG):
        return None
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in _JPEG_SIZES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return None
