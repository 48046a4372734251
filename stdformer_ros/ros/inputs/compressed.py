"""sensor_msgs/CompressedImage to RGB: JPEG, PNG, WebP and TIFF.

The size is read from the picture's header and limited before any memory is allocated for the
pixels: a few kilobytes can claim to be a picture of gigabytes.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from stdformer_ros.ros.inputs.images import BAYER, DEPTH_ONLY, MAX_PIXELS, demosaiced
from stdformer_ros.ros.log import BadInput
from stdformer_ros.types import ImageArray

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The markers of a JPEG file that are followed by the picture's size."""
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3
_AS_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_UNDECODED = 128
"""The grey of the blocks of a JPEG that were never decoded."""
_BLOCKS = b"\x5a" * 64
_FILLING = _BLOCKS + b"".join(bytes((0xFF, 0xD0 + i)) + _BLOCKS for i in range(8))
"""Decoded as blocks of a JPEG, it is not grey; with all restart marks, because one may be due."""


def decompressed(message: CompressedImage) -> ImageArray:
    """The pixels of a compressed picture.

    The first bytes of the data decide of which kind it is. Of `format`, only the encoding before
    the semicolon is read: if it is a Bayer mosaic and the picture has one channel, it is the mosaic
    itself. A JPEG without its end mark, as some drivers send it, is decoded if it is whole.

    Returns:
        (H, W, 3) uint8 RGB, also for grey and 16-bit pictures.

    Raises:
        BadInput: if the data are of no known kind, are depth, are broken or cut off, or hold more
            than MAX_PIXELS.
    """
    original = message.format.split(";")[0].strip().lower()
    if "compresseddepth" in message.format.lower() or original in DEPTH_ONLY:
        raise BadInput("format", f"'{message.format}' is a depth image, not a colour image")
    data = bytes(message.data)
    size = _size(data)
    if size is None:
        raise BadInput(
            "format",
            f"{len(data)} bytes that claim to be '{message.format}' are no JPEG, PNG, WebP or TIFF "
            "picture",
        )
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise BadInput("size", f"a picture of {width}x{height} is empty or too large")
    flags = cv2.IMREAD_UNCHANGED if original in BAYER else _AS_COLOUR
    picture = _jpeg(data, flags) if data.startswith(_JPEG) else _decoded(data, flags)
    if picture is not None and original in BAYER:
        if picture.ndim == 2 and picture.dtype in (np.uint8, np.uint16):
            return demosaiced(picture, original)
        picture = _decoded(data, _AS_COLOUR)  # the sender has made colours of the mosaic
    if picture is None:
        raise BadInput("data", f"the {width}x{height} picture of {len(data)} bytes is broken")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _jpeg(data: bytes, flags: int) -> Any:
    """A JPEG with or without its end mark, and with the zeros that drivers fill their buffers with.

    Raises:
        BadInput: if it is cut off.
    """
    if not data.endswith(_JPEG_END):
        data = _with_end(data)
    picture = _decoded(data, flags)
    if picture is not None and (picture[-8:, -8:] == _UNDECODED).all():
        # Behind a whole picture nothing more is read; in one that is cut off it changes the rest.
        filled = _decoded(data[:-2].rstrip(b"\xff") + _FILLING + _JPEG_END, flags)
        if filled is None or not np.array_equal(picture, filled):
            height, width = picture.shape[:2]
            raise BadInput("data", f"the {width}x{height} picture of {len(data)} bytes is cut off")
    return picture


def _with_end(data: bytes) -> bytes:
    """The JPEG up to its end mark, or with one if it lacks it."""
    if data.endswith(b"\0"):
        data = data.rstrip(b"\0") + b"\0"  # one may belong to the picture
    end = data.rfind(_JPEG_END)
    if end < data.rfind(_JPEG_SCAN):  # before the last scan it is the end of a preview
        end = len(data)
    return data[:end].rstrip(b"\xff") + _JPEG_END


def _decoded(data: bytes, flags: int) -> Any:
    """The picture as OpenCV decodes it, None if it cannot."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadInput("data", f"the picture is broken: {error}") from error


def _size(data: bytes) -> tuple[int, int] | None:
    """Width and height, or None if the data are of no known kind."""
    if data.startswith(_PNG):
        return _png_size(data)
    if data.startswith(_JPEG):
        return _jpeg_size(data)
    if data[:4] in _TIFF:
        return _tiff_size(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_size(data)
    return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    """From the first chunk."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the segment that starts the frame."""
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


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """From the first directory; the entries are sorted by their tags."""
    order = _TIFF[data[:4]]
    if len(data) < 8:
        return None
    directory = struct.unpack(f"{order}I", data[4:8])[0]
    if directory + 2 > len(data):
        return None
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    found = {}
    for place in range(directory + 2, min(directory + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, place)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            found[tag] = struct.unpack_from(
                f"{order}{'H' if kind == _TIFF_SHORT else 'I'}", data, place + 8
            )[0]
    if len(found) < 2:
        return None
    return found[_TIFF_WIDTH], found[_TIFF_HEIGHT]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """From the first chunk, of which there are three kinds."""
    if len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None
