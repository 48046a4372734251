"""sensor_msgs/CompressedImage to RGB. The size is read and capped before memory is given to it."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from stdformer_ros.ros.bad_input import BadInput
from stdformer_ros.ros.inputs.images import MAX_PIXELS
from stdformer_ros.types import ImageArray

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The markers of a JPEG that are followed by the picture's size."""


def decompressed(message: CompressedImage) -> ImageArray:
    """The pixels of a JPEG or PNG picture.

    What the bytes are counts, not what `format` says of them.

    Returns:
        (H, W, 3) uint8 RGB; grey and 16-bit pictures too.

    Raises:
        BadInput: if it is neither, is broken, or is larger than MAX_PIXELS.
    """
    data = bytes(message.data)
    size = _png_size(data) if data.startswith(_PNG) else _jpeg_size(data)
    if size is None:
        raise BadInput(
            "format",
            f"{len(data)} bytes that claim to be '{message.format}' are no JPEG or PNG picture",
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


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, by the first chunk."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, by the segment that starts the frame."""
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
