"""Frames from pictures: a folder of them in their natural order, or a single one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.files import Notify, VideoError, shown
from stdformer_ros.types import Frame, ImageArray

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".jp2", ".tif", ".tiff"),
    *(".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".sr", ".ras"),
)
"""Files with these names are taken for pictures; all of them can be read by OpenCV."""

_NAMED = 3
"""So many files are named in a warning about several."""


def is_picture(path: Path) -> bool:
    """Whether the name is that of a single picture; a GIF may be a film and is none."""
    return path.suffix.lower() in PICTURE_SUFFIXES and path.suffix.lower() != ".gif"


def pictures_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder in natural order (`frame_2` before `frame_10`).

    Returns:
        The files; and what has the name of a picture, but is hidden, empty, a folder, or a link to
        nothing.
    """
    named = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
    named.sort(key=natural)
    usable = [p for p in named if not p.name.startswith(".") and p.is_file() and p.stat().st_size]
    return usable, [path for path in named if path not in set(usable)]


def read_pictures(
    paths: Sequence[Path], fps: float, warn: Notify, left_out: Sequence[Path] = ()
) -> Iterator[Frame]:
    """The pictures as frames with stamps 0, 1 / fps, 2 / fps ... seconds.

    Pictures are turned as their EXIF data say. One that cannot be decoded is left out, and its time
    passes without a frame. A frame of another size than the one before it is `discontinuous`. At
    the end `warn` is told what was left out, together with the files `left_out`.

    Raises:
        VideoError: at once, if none of them can be decoded.
    """
    frames = _frames(paths, fps, warn, left_out)
    first = next(frames, None)
    if first is None:
        raise VideoError(
            f"{shown(paths[0])} cannot be decoded as an image ({paths[0].stat().st_size} bytes)"
            + (f", nor can the {len(paths) - 1} other pictures beside it" if paths[1:] else "")
        )
    return _chained(first, frames)


def decode(path: Path) -> ImageArray | None:
    """The picture (H, W, 3), uint8 RGB, turned by its EXIF data; None if it cannot be decoded."""
    try:
        # OpenCV itself crashes if a name is not UTF-8.
        bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _frames(
    paths: Sequence[Path], fps: float, warn: Notify, left_out: Sequence[Path]
) -> Iterator[Frame]:
    size = None
    skipped = list(left_out)
    for number, path in enumerate(paths):
        image = decode(path)
        if image is None:
            skipped.append(path)
            continue
        height, width = image.shape[:2]
        frame = Frame(image, number / fps, Camera.assumed(width, height))
        yield frame if size in (None, (width, height)) else replace(frame, discontinuous=True)
        size = (width, height)
    if skipped:
        names = ", ".join(shown(path.name) for path in skipped[:_NAMED])
        warn(
            f"{len(skipped)} of {len(paths) + len(left_out)} pictures were left out, since they "
            f"are hidden, empty, damaged, or no files: {names}"
            + (" ..." if len(skipped) > _NAMED else "")
        )


def _chained(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from rest


def natural(path: Path) -> list[tuple[int, str]]:
    """A key to sort files by their names; digits count as the number that they form."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
