"""The files of a bag: folders and files of a rosbag2, bags of ROS 1, also damaged ones.

The PyPI package `rosbags` reads the containers. A folder without `metadata.yaml`, as a recorder
that was killed leaves it, is read file by file.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stdformer_ros.downloads import reason
from stdformer_ros.io.files import BAG_METADATA, Notify, VideoError, bag_suffix, shown
from stdformer_ros.io.picture_folder import natural

ROS1 = ".bag"
SEQ_BYTES = 4
ZSTD = b"\x28\xb5\x2f\xfd"
"""The first bytes of a compressed message; a message itself begins with a zero."""
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
_REMEDY = {
    ".mcap": "if its recording was cut off, `mcap recover FILE -o NEW` repairs it",
    ".db3": "if its recording was cut off, `sqlite3 FILE .recover | sqlite3 NEW` repairs it",
    ROS1: "if its recording was cut off, `rosbag reindex FILE` repairs it",
    "": "if its metadata.yaml is wrong, `ros2 bag reindex FOLDER` makes it anew",
}


class BagError(VideoError):
    """A bag cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: for example /camera/image_raw.
        kind: its messages' type, as in `IMAGE`.
        count: how many messages there are.
    """

    name: str
    kind: str
    count: int


class BagFiles:
    """The messages of a bag, as the wire format of ROS 2, whatever wrote it.

    Args:
        path: a folder, a file, or a folder's metadata.
        warn: told of files that cannot be read, if others can, and of files that are damaged.

    Attributes:
        path: the folder or file.
        topics: by name.

    Raises:
        BagError: if nothing can be read; the message names a remedy.
    """

    def __init__(self, path: Path, warn: Notify) -> None:
        self.path = path.parent if path.name == BAG_METADATA else path
        self.topics: dict[str, Topic] = {}
        self._warn = warn
        self._files: list[Path] = []
        self._damaged: set[Path] = set()
        problems: dict[Path, BagError] = {}
        parts = []
        if self.path.is_dir():
            parts = sorted((p for p in self.path.iterdir() if bag_suffix(p)), key=natural)
        if not parts or (self.path / BAG_METADATA).is_file():
            self._add(self.path, problems)
        if not self._files:
            for part in parts:
                self._add(part, problems)
        if not self._files:
            raise list(problems.values())[-1]
        for problem in problems.values():
            warn(f"{problem}; the rest is read")
        for file in parts or [self.path]:
            if _unread(file) and file not in problems:
                warn(f"{shown(file)}-wal holds messages that are not read: {_remedy(file)}")

    def messages(self, topics: Sequence[str]) -> Generator[tuple[str, int, bytes], None, None]:
        """Topic, time of recording in nanoseconds, and serialised message, in recorded order.

        Where a file is damaged, the rest of it is left out, with a warning. A message that cannot
        be brought into the wire format of ROS 2 is given as no bytes.
        """
        for file in self._files:
            try:
                with self._reader(file) as reader:
                    wanted = [c for c in reader.connections if c.topic in topics]
                    if not wanted:
                        continue
                    with closing(reader.messages(connections=wanted)) as messages:
                        while (message := _next(messages, file)) is not None:
                            connection, time_ns, data = message
                            data = _as_ros2(bytes(data), connection.msgtype, bag_suffix(file))
                            yield connection.topic, time_ns, data
            except BagError as error:
                if file not in self._damaged:
                    self._damaged.add(file)
                    self._warn(str(error))

    def _add(self, file: Path, problems: dict[Path, BagError]) -> None:
        """Count the file's messages; if it cannot be read, `problems` gets the reason."""
        try:
            with self._reader(file) as reader:
                for c in reader.connections:
                    before = self.topics[c.topic].count if c.topic in self.topics else 0
                    self.topics[c.topic] = Topic(c.topic, c.msgtype, before + c.msgcount)
            self._files.append(file)
        except BagError as problem:
            problems[file] = problem

    @contextmanager
    def _reader(self, file: Path) -> Iterator[Any]:
        if file.name.lower().endswith(".zstd"):
            raise BagError(f"{shown(file)} is packed; `unzstd FILE` unpacks it")
        with ExitStack() as stack:
            kind = _import_rosbag1().Reader if bag_suffix(file) == ROS1 else import_rosbag2().Reader
            try:
                reader = kind(stack.enter_context(plainly_named(file)))
                stack.enter_context(reader)
            except Exception as error:  # its type depends on the container's format
                raise BagError(
                    f"{shown(file)} cannot be read as a bag: {reason(error)}; {_remedy(file)}"
                ) from error
            yield reader


@contextmanager
def plainly_named(path: Path) -> Iterator[Path]:
    """A path to the same file or folder that `rosbags` opens, a link if it has to be.

    SQLite takes the path as an address: with `?`, `#` or `%` in it, another file would be opened or
    made, and other bytes than UTF-8 are an error. `rosbags` knows the kinds of files by suffixes in
    small letters.
    """
    text, suffix = os.fspath(path), "" if path.is_dir() else bag_suffix(path)
    is_utf8 = text.encode("utf-8", "replace") == os.fsencode(path)
    if is_utf8 and not set("?#%") & set(text) and path.suffix.lower() == path.suffix:
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / f"bag{suffix}"
        link.symlink_to(path.absolute())
        yield link


def import_rosbag2() -> Any:
    """The module `rosbags.rosbag2`, which reads and writes the container.

    Raises:
        BagError: if it is not installed.
    """
    try:
        from rosbags import rosbag2
    except ImportError as error:
        raise BagError(
            "bags need the package rosbags; install it with: pip install rosbags"
        ) from error
    return rosbag2


def _import_rosbag1() -> Any:
    import_rosbag2()
    from rosbags import rosbag1

    return rosbag1


def _next(messages: Iterator[Any], file: Path) -> Any:
    try:
        return next(messages, None)
    except Exception as error:  # its type depends on the container's format
        raise BagError(f"{shown(file)} is damaged: {reason(error)}; {_remedy(file)}") from error


def _as_ros2(data: bytes, kind: str, suffix: str) -> bytes:
    """A message in the wire format of ROS 2; no bytes if that fails."""
    try:
        if suffix == ROS1:
            # In ROS 1 a header begins with its number, the rest is the same.
            return bytes(_ros2_types().ros1_to_cdr(data[SEQ_BYTES:], kind))
        if data.startswith(ZSTD):  # only the metadata would have said so
            return _decompress(data)
    except Exception:  # of the packages that convert
        return b""
    return data


def _decompress(data: bytes) -> bytes:
    """Zstandard, by what `rosbags` uses for it."""
    return bytes(import_rosbag2().reader.zstd.decompress(data))


def _unread(file: Path) -> bool:
    """Whether SQLite has left messages beside its file, which `rosbags` does not look at."""
    log = file.with_name(f"{file.name}-wal")
    return log.is_file() and log.stat().st_size > 0


def _remedy(file: Path) -> str:
    if _unread(file):
        return (
            "its recording was cut off, and `sqlite3 FILE 'PRAGMA wal_checkpoint(TRUNCATE)'` "
            "completes it"
        )
    return _REMEDY[bag_suffix(file) if file.is_file() else ""]


@cache
def _ros2_types() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_KILTED)
