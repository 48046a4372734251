"""Videos as OpenCV cannot write them: MP4 files with edited boxes (ISO 14496-12), damaged files."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

Change = Callable[[bytes], bytes]

STSD_FIELDS, SAMPLE_ENTRY_FIELDS = 8, 78
"""Bytes before the first inner box."""
QUARTER_TURNS = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def write_video(
    path: Path, frames: int = 60, fourcc: str = "mp4v", size: tuple[int, int] = (320, 240)
) -> Path:
    """Frames of noise, so that every one takes many bytes, with a black corner at the top left."""
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 30.0, size)
    assert writer.isOpened()
    for _ in range(frames):
        image = rng.integers(0, 60, (size[1], size[0], 3), np.uint8)
        image[:32, :32] = 0
        writer.write(image)
    writer.release()
    return path


def damaged(path: Path, begin: float, end: float) -> Path:
    """The file with random bytes from one part of its length to another."""
    data = bytearray(path.read_bytes())
    a, b = round(begin * len(data)), round(end * len(data))
    data[a:b] = np.random.default_rng(1).bytes(b - a)
    path.write_bytes(data)
    return path


def with_durations(path: Path, milliseconds: Sequence[int]) -> Path:
    """Shows frame k for so many milliseconds: a variable frame rate."""
    entries = b"".join(struct.pack(">II", 1, duration) for duration in milliseconds)
    table = struct.pack(">II", 0, len(milliseconds)) + entries
    total = struct.pack(">I", sum(milliseconds))
    track = (b"moov", b"trak", b"mdia")
    _edit(path, (*track, b"minf", b"stbl", b"stts"), lambda _: table)
    path.write_bytes(path.read_bytes().replace(b"edts", b"free"))  # it has the old duration
    # Time scale 1000 and the duration: at bytes 12 to 20 of a header of version 0.
    return _edit(
        path, (*track, b"mdhd"), lambda b: b[:12] + struct.pack(">I", 1000) + total + b[20:]
    )


def with_pixel_aspect(path: Path, wide: int, high: int) -> Path:
    """Pixels that are wide : high."""
    box = struct.pack(">I4sII", 16, b"pasp", wide, high)

    def change(stsd: bytes) -> bytes:
        entry = stsd[STSD_FIELDS:]
        size = struct.unpack(">I", entry[:4])[0]
        kept = entry[8 : 8 + SAMPLE_ENTRY_FIELDS]
        inner = _edited(entry[8 + SAMPLE_ENTRY_FIELDS : size], (b"pasp",), lambda _: b"")
        inner = inner.replace(struct.pack(">I4s", 8, b"pasp"), b"")
        return stsd[:STSD_FIELDS] + _box(entry[4:8], kept + inner + box)

    return _edit(path, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"), change)


def turned(path: Path, degrees: int) -> Path:
    """To be shown turned clockwise, as telephones write it that are held upright."""
    a, b, c, d = (value << 16 for value in QUARTER_TURNS[degrees])
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return _edit(path, (b"moov", b"trak", b"tkhd"), lambda box: box[:40] + matrix + box[76:])


def _edit(path: Path, names: Sequence[bytes], change: Change) -> Path:
    path.write_bytes(_edited(path.read_bytes(), names, change))
    return path


def _edited(data: bytes, names: Sequence[bytes], change: Change) -> bytes:
    result = b""
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        content, data = data[8:size], data[size:]
        if name == names[0]:
            content = change(content) if len(names) == 1 else _edited(content, names[1:], change)
        result += _box(name, content)
    return result


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content
