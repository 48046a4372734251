"""The files of a bag: rosbag2 folders and files, ROS 1 bags, and which of their topics to take.

The PyPI package `rosbags` reads the containers. A folder without `metadata.yaml`, as a recorder
that was killed leaves it, is read file by file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stdformer_ros.downloads import reason
from stdformer_ros.io.files import VideoError, shown
from stdformer_ros.io.picture_folder import natural

STORAGES = (".mcap", ".db3")
"""Ends of the names of a rosbag2's files."""
ROS1 = ".bag"
SEQ_BYTES = 4
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


def storage_files(path: Path) -> list[Path]:
    """What has to be opened: the bag itself, or the files of a folder without metadata."""
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        return sorted((p for p in path.iterdir() if p.suffix in STORAGES), key=natural)
    return [path]


class BagFiles:
    """The messages of a bag, as the wire format of ROS 2, whatever wrote it.

    Args:
        path: a folder or a file.

    Attributes:
        topics: by name.

    Raises:
        BagError: if it cannot be read; the message names a remedy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = storage_files(path)
        self.topics: dict[str, Topic] = {}
        for file in self._files:
            with self._reader(file) as reader:
                for c in reader.connections:
                    counted = self.topics.get(c.topic, Topic(c.topic, c.msgtype, 0))
                    self.topics[c.topic] = Topic(c.topic, c.msgtype, counted.count + c.msgcount)

    def messages(self, topics: Sequence[str]) -> Generator[tuple[str, int, bytes], None, None]:
        """Topic, time of recording in nanoseconds, and serialised message, in recorded order.

        Raises:
            BagError: if the bag is damaged further on.
        """
        for file in self._files:
            with self._reader(file) as reader:
                wanted = [c for c in reader.connections if c.topic in topics]
                if not wanted:
                    continue
                with closing(reader.messages(connections=wanted)) as messages:
                    while (message := self._next(messages, file)) is not None:
                        connection, time_ns, data = message
                        if file.suffix == ROS1:
                            # In ROS 1 a header begins with its number, the rest is the same.
                            data = _ros2_types().ros1_to_cdr(data[SEQ_BYTES:], connection.msgtype)
                        yield connection.topic, time_ns, bytes(data)

    @staticmethod
    def _next(messages: Iterator[Any], file: Path) -> Any:
        try:
            return next(messages, None)
        except Exception as error:  # its type depends on the container's format
            raise BagError(
                f"{shown(file)} is damaged: {reason(error)}; {_REMEDY[file.suffix]}"
            ) from error

    @contextmanager
    def _reader(self, file: Path) -> Iterator[Any]:
        with ExitStack() as stack:
            try:
                reader = _import_reader(file)(file)
                stack.enter_context(reader)
            except BagError:
                raise
            except Exception as error:  # its type depends on the container's format
                suffix = file.suffix if file.is_file() else ""
                raise BagError(
                    f"{shown(file)} cannot be read as a bag: {reason(error)}; "
                    f"{_REMEDY.get(suffix, _REMEDY[''])}"
                ) from error
            yield reader


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


def _import_reader(file: Path) -> Any:
    if file.suffix != ROS1:
        return import_rosbag2().Reader
    import_rosbag2()
    from rosbags import rosbag1

    return rosbag1.Reader


@cache
def _ros2_types() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_KILTED)
