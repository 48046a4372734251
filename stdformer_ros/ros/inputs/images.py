"""sensor_msgs/Image to arrays: colour with `to_rgb`, depth with `depth_of`.

Sizes and lengths in a message are checked before they are used, because anybody who can publish on
the topic decides what arrives. Compressed pictures are read in `compressed.py`.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.ros.log import BadInput
from stdformer_ros.types import ImageArray

Array = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 50_000_000
"""More than any camera has; a larger size in a message is an error or an attack."""

# Encodings are compared in small letters: drivers write them in any.
# encoding: (bytes per channel, channels, OpenCV's conversion of the array (H, W[, C]) to RGB or
# None if it is RGB)
_PACKED: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "8uc3": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "8uc4": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "8uc1": (1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "16uc3": (2, 3, cv2.COLOR_BGR2RGB),
    "rgba16": (2, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": (2, 4, cv2.COLOR_BGRA2RGB),
    "16uc4": (2, 4, cv2.COLOR_BGRA2RGB),
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
BAYER = tuple(encoding for encoding in _PACKED if encoding.startswith("bayer_"))

# encoding: OpenCV's conversion to RGB of the array (1.5 H, W): the Y plane, and below it U and V of
# half the resolution, interleaved or one after the other; and the length of a row of U and V,
# padding included, in rows of Y
_PLANAR: dict[str, tuple[int, float]] = {
    "nv12": (cv2.COLOR_YUV2RGB_NV12, 1.0),
    "nv21": (cv2.COLOR_YUV2RGB_NV21, 1.0),
    "i420": (cv2.COLOR_YUV2RGB_I420, 0.5),
    "yv12": (cv2.COLOR_YUV2RGB_YV12, 0.5),
}

_NV24 = "nv24"
# ITU-R BT.601, as in OpenCV's conversions of YUV video: rows are R, G, B; columns Y, U, V, 1.
_YUV_TO_RGB = np.array(
    [
        [1.164, 0.0, 1.596, -1.164 * 16 - 1.596 * 128],
        [1.164, -0.391, -0.813, -1.164 * 16 + (0.391 + 0.813) * 128],
        [1.164, 2.018, 0.0, -1.164 * 16 - 2.018 * 128],
    ]
)

ENCODINGS = (*_PACKED, *_PLANAR, _NV24)
"""The encodings that `to_rgb` converts without cv_bridge, in small letters."""

DEPTH_ONLY = ("16uc1", "32fc1")
"""Encodings of depth images, in small letters."""

METRES_PER_UNIT = {"16uc1": 0.001, "mono16": 0.001, "32fc1": 1.0}
"""REP 118: millimetres as integers, metres as floats."""

PLAUSIBLE_METRES = 200.0
"""A depth image whose median is greater than this is not in metres."""


def to_rgb(message: Image) -> ImageArray:
    """The pixels of a colour or grey image.

    Rows may be padded (`step`). 16-bit channels may be of either byte order (`is_bigendian`); their
    upper eight bits are kept. For planes of YUV (`nv12`, `nv21`, `i420`, `yv12`, `nv24`), `height`
    is that of the picture, and the data hold 1.5 times as many rows, for `nv24` three times. ROS
    2's cv_bridge, where it is installed, converts the encodings that are not in ENCODINGS.

    Returns:
        (H, W, 3) uint8 RGB. May share the message's memory.

    Raises:
        BadInput: if the encoding is unknown, the data do not fit the size that is claimed, or
            that size is above MAX_PIXELS.
    """
    encoding, height, width = message.encoding.strip().lower(), message.height, message.width
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
        return _converted(pixels, code)
    if encoding in _PLANAR:
        if width % 2 or height % 2:
            raise BadInput(
                "size", f"an image of encoding {encoding} needs even sides, not {width}x{height}"
            )
        code, colour_row = _PLANAR[encoding]
        planes = _planes(message, height * 3 // 2, colour_row)
        return np.asarray(cv2.cvtColor(planes, code), np.uint8)
    if encoding == _NV24:
        planes = _planes(message, height * 3, 2.0)
        yuv = np.dstack([planes[:height], planes[height:].reshape(height, width, 2)])
        # cv2.transform rounds and keeps values within 0 .. 255
        return np.asarray(cv2.transform(yuv, _YUV_TO_RGB), np.uint8)
    if encoding in DEPTH_ONLY:
        raise BadInput(
            "encoding",
            f"encoding {message.encoding} is that of a depth image, not of a colour image",
        )
    return _by_cv_bridge(message)


def demosaiced(mosaic: Array, encoding: str) -> ImageArray:
    """A Bayer mosaic (H, W) of 8 or 16 bits as (H, W, 3) uint8 RGB.

    Args:
        mosaic: at least 2 x 2.
        encoding: one of `BAYER`.

    Raises:
        BadInput: if the mosaic is too small.
    """
    if min(mosaic.shape) < 2:
        height, width = mosaic.shape
        raise BadInput("size", f"an image of encoding {encoding} cannot be {width}x{height}")
    return _converted(mosaic, _PACKED[encoding][2])


def _converted(pixels: Array, code: int | None) -> ImageArray:
    """RGB of 8 bits by one of OpenCV's conversions; of 16 bits the upper eight are kept."""
    rgb = pixels if code is None else cast(Array, cv2.cvtColor(pixels, code))
    return np.ascontiguousarray(rgb if rgb.dtype == np.uint8 else rgb >> 8, np.uint8)


def depth_of(message: Image) -> DepthImage:
    """A depth image, (H, W) in millimetres (integers) or metres (floats).

    Raises:
        BadInput: if the encoding is not that of a depth image, the data do not fit the size that is
            claimed, or floats are not metres.
    """
    encoding, height, width = message.encoding.strip().lower(), message.height, message.width
    if encoding not in METRES_PER_UNIT:
        raise BadInput(
            "encoding",
            f"encoding '{message.encoding}' is not for depth (use 16UC1 in mm, 32FC1 in m)",
        )
    if height == 0 or width == 0:
        raise BadInput("empty", f"the depth image is empty ({width}x{height})")
    size = 4 if encoding == "32fc1" else 2
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


def _planes(message: Image, rows: int, colour_row: float) -> NDArray[np.uint8]:
    """The planes of YUV as (rows, width) bytes, without the padding.

    Args:
        message: the image.
        rows: how many rows of Y have the length of all data.
        colour_row: the length of a row of U and V, padding included, in rows of Y.

    Raises:
        BadInput: see `_row_bytes`.
    """
    height, width, step = message.height, message.width, message.step
    data = _row_bytes(message, rows, width, padding=True)
    if step == width:
        return data
    if (step * colour_row) % 1:
        raise BadInput("step", f"encoding {message.encoding} needs an even step, not {step}")
    colours = data[height:].reshape(-1, int(step * colour_row))[:, : int(width * colour_row)]
    return np.concatenate([data[:height, :width].ravel(), colours.ravel()]).reshape(rows, width)


def _row_bytes(message: Image, rows: int, needed: int, padding: bool = False) -> NDArray[np.uint8]:
    """The data as (rows, needed) bytes, without the padding; with it as (rows, step).

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
    data = np.frombuffer(message.data, np.uint8).reshape(rows, message.step)
    return data if padding else data[:, :needed]


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
