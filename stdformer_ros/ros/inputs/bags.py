"""Read a rosbag2: a source of frames for a run without a node (`io/offline.py`).

The PyPI package `rosbags` reads the container; the messages are treated exactly as in the node.
`ros/outputs/results_bag.py` writes the results to a bag.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tqdm import tqdm

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.io.files import VideoError
from stdformer_ros.ros.inputs.intake import DepthIntake, Intake, nanoseconds
from stdformer_ros.ros.log import BadInput, Throttle
from stdformer_ros.types import Frame

DEPTH_TOLERANCE = 0.05
"""Largest difference in seconds between the stamps of an image and of its depth image."""
IMAGES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
INFO = "sensor_msgs/msg/CameraInfo"


class BagError(VideoError):
    """A bag cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Recorded:
    """The `source` of a frame from a bag.

    Attributes:
        header: of the image.
        time_ns: when the image was recorded, in nanoseconds.
    """

    header: Header
    time_ns: int


class Bag:
    """The images of a bag, with their intrinsics and depth.

    Args:
        path: folder of a rosbag2.
        image: topic of raw or compressed images; empty: the only one in the bag.
        camera_info: topic; empty: the one in the images' namespace, or none.
        depth: topic; empty: none.

    Attributes:
        images: how many there are.

    Raises:
        BagError: if the bag cannot be read, or its topics do not fit.
    """

    def __init__(self, path: Path, image: str = "", camera_info: str = "", depth: str = "") -> None:
        self._path = path
        self._rosbag2 = import_rosbag2()
        try:
            with self._rosbag2.Reader(path) as reader:
                topics = [(c.topic, c.msgtype, c.msgcount) for c in reader.connections]
        except Exception as error:  # its type depends on the container's format
            raise BagError(f"{path} cannot be read as a rosbag2: {error}") from error
        kinds = {topic: kind for topic, kind, _ in topics}
        self._image = image or _only_image(kinds)
        self._info = camera_info or _camera_info_beside(self._image, kinds)
        self._depth = depth
        self.images = sum(count for topic, _, count in topics if topic == self._image)
        for topic in self._topics():
            if topic not in kinds:
                raise BagError(f"the bag has no topic {topic}; it has: {', '.join(sorted(kinds))}")
        if kinds[self._image] not in IMAGES:
            raise BagError(f"{self._image} has messages of {kinds[self._image]}, not images")
        self._kind = IMAGES[kinds[self._image]]

    def frames(self) -> Iterator[Frame]:
        """Each usable image, in the order of recording; `source` is a `Recorded`.

        A message that cannot be used is dropped with a warning, see `Intake` and `DepthIntake`.
        """
        warn = Throttle(lambda text: tqdm.write(f"warning: {text}"))
        intake, depths = Intake(warn=warn), DepthIntake(DEPTH_TOLERANCE, warn)
        with self._rosbag2.Reader(self._path) as reader:
            wanted = [c for c in reader.connections if c.topic in self._topics()]
            for connection, time_ns, data in reader.messages(connections=wanted):
                try:
                    if connection.topic == self._info:
                        intake.take_camera_info(deserialize_message(bytes(data), CameraInfo))
                    elif connection.topic == self._depth:
                        depths.take(deserialize_message(bytes(data), Image))
                    else:
                        message = deserialize_message(bytes(data), self._kind)
                        depth = self._depth_of(depths, message.header, warn)
                        frame = intake.frame(message, depth)
                        yield replace(frame, source=Recorded(message.header, time_ns))
                except BadInput as bad:
                    warn(bad.kind, f"{connection.topic}: {bad}; message dropped")

    def _topics(self) -> set[str]:
        return {topic for topic in (self._image, self._info, self._depth) if topic}

    def _depth_of(self, depths: DepthIntake, header: Header, warn: Throttle) -> DepthImage | None:
        try:
            return depths.at(nanoseconds(header.stamp))
        except BadInput as bad:
            warn(bad.kind, f"{self._depth}: {bad}; depth not used")
            return None


def _only_image(kinds: dict[str, str]) -> str:
    images = sorted(topic for topic, kind in kinds.items() if kind in IMAGES)
    if len(images) != 1:
        found = f"{len(images)} topics of images: {', '.join(images)}" if images else "no images"
        raise BagError(f"choose the topic of the images with --image-topic; the bag has {found}")
    return images[0]


def _camera_info_beside(image: str, kinds: dict[str, str]) -> str:
    """The CameraInfo in the images' namespace, where drivers publish it; empty if there is none."""
    base = image.removesuffix("/compressed").rsplit("/", 1)[0]
    for topic in (f"{base}/camera_info", f"{base.rsplit('/', 1)[0]}/camera_info"):
        if kinds.get(topic) == INFO:
            return topic
    return ""


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
