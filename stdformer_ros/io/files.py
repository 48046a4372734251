"""Files that a user names: what OpenCV can open, how a name is printed, what is no file at all."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

Notify = Callable[[str], None]
"""Takes one warning; see `print_warning`."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_BAG = re.compile(r"(\.mcap|\.db3|\.bag)(\.zstd|\.active)?$", re.IGNORECASE)
BAG_METADATA = "metadata.yaml"
"""The file that a recorder writes into the folder of a rosbag2 when it ends."""


class VideoError(RuntimeError):
    """A source of frames cannot be read; the message says which one, why, and what to do."""


def print_warning(text: str) -> None:
    """Print one warning to the standard error, above a progress bar if there is one."""
    tqdm.write(f"warning: {text}", file=sys.stderr)


def shown(path: Path | str) -> str:
    """The path as it can be printed in one line: other characters become escape sequences."""
    readable = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in readable)


@contextmanager
def openable(path: Path) -> Iterator[str]:
    """A name by which FFmpeg and OpenCV open the file; after opening it is not needed any more.

    FFmpeg takes the beginning of a relative name like `12:30.mp4` for a protocol, so the name is
    absolute. OpenCV crashes on bytes that are not UTF-8, so such a file gets a link of another name
    for the time of the context.
    """
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        suffix = path.suffix if path.suffix.isascii() else ""
        with tempfile.TemporaryDirectory() as folder:
            link = os.path.join(folder, f"file{suffix}")
            os.symlink(absolute, link)
            yield link
    else:
        yield absolute


def bag_suffix(path: Path) -> str:
    """What a bag's file is by its name: ".mcap", ".db3", ".bag" of ROS 1, or "" for other files.

    A packed file (`.db3.zstd`) and one of a recorder that was killed (`.bag.active`) count, too.
    """
    match = _BAG.search(path.name)
    return match[1].lower() if match else ""


def is_bag(path: Path) -> bool:
    """Whether the path is a bag of ROS 1 or 2: a file, a folder of files, or its metadata."""
    if path.is_dir():
        return (path / BAG_METADATA).is_file() or any(map(bag_suffix, path.iterdir()))
    return path.is_file() and (path.name == BAG_METADATA or bag_suffix(path) != "")


def require_recording(path: Path) -> None:
    """Check that there is a file or a folder.

    Raises:
        VideoError: if not; for the address of a stream and for a webcam it says what reads them.
    """
    text = str(path)
    if path.is_file() or path.is_dir():
        return
    if _ADDRESS.match(text):
        raise VideoError(
            f"{shown(path)} is the address of a stream, not a file; record it first (ffmpeg -i "
            "ADDRESS -t 60 -c copy clip.mp4), or let a camera driver publish it and start the node"
        )
    if path.is_char_device() or text.isdigit():
        number = "".join(filter(str.isdigit, path.name)) or "0"
        raise VideoError(
            f"{shown(path)} is a camera, not a file; ./run demo --camera {number} follows people "
            "live"
        )
    if path.is_symlink():
        raise VideoError(f"{shown(path)} is a link to a file that does not exist")
    raise VideoError(f"there is no video file or folder of images at {shown(path.absolute())}")
