"""A rosbag2 as the source of a run, and a bag of its results.

`Bag` gives the frames of a recorded bag, `ResultsBag` writes the answers as messages. Both stand
beside the video source and the file sinks of `io/offline.py`. The PyPI package `rosbags` reads and
writes the container; the messages are treated exactly as in the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tqdm import tqdm

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.io.video import VideoError
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.ros.inputs.intake import DepthIntake, Intake, nanoseconds
from stdformer_ros.ros.log import BadInput, Throttle
from stdformer_ros.ros.outputs.messages import body_model, human_array
from stdformer_ros.types import Answer, Frame

DEPTH_TOLERANCE = 0.05
"""Seconds between an image and the depth image that belongs to it."""
IMAGES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
INFO = "sensor_msgs/msg/CameraInfo"


class BagError(VideoError):
    """A bag cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Recorded:
    """The source of a bag's frame: the header of its image, and when the bag has recorded it."""

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
        self._rosbag2 = _rosbag2()
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
                raise BagError(f"there is no topic {topic}; there is: {', '.join(sorted(kinds))}")
        if kinds[self._image] not in IMAGES:
            raise BagError(f"{self._image} is {kinds[self._image]}, not images")
        self._kind = IMAGES[kinds[self._image]]

    def frames(self) -> Iterator[Frame]:
        """Each usable image, in the order of recording; `source` is a `Recorded`.

        A message that cannot be used is dropped with a warning, see `Intake` and `DepthIntake`.
        """
        intake, depths = Intake(), DepthIntake(DEPTH_TOLERANCE)
        warn = Throttle(lambda text: tqdm.write(f"warning: {text}"))
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


class ResultsBag:
    """A sink (see `offline.Sink`) that writes /stdformer/humans and /stdformer/body_model.

    Each message has its image's header and recording time, so that the results can be played
    together with the recorded bag.

    Args:
        path: folder of the new rosbag2.
        estimator: whose answers they are.
        vertices: whether to write the meshes.

    Raises:
        BagError: if there is something at `path` already.
    """

    def __init__(self, path: Path, estimator: Estimator, vertices: bool) -> None:
        if path.exists():
            raise BagError(f"{path} exists already: remove it, or choose another folder")
        self.path = path
        self._estimator = estimator
        self._vertices = vertices
        self._files = ExitStack()
        self._writer: Any = None
        self._humans: Any = None

    def __enter__(self) -> ResultsBag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Complete the bag; without any answer there is none."""
        self._files.close()

    def add(self, answer: Answer) -> None:
        """Write the humans of a frame that comes from a `Bag`."""
        recorded, estimator = answer.frame.source, self._estimator
        assert isinstance(recorded, Recorded)
        if self._writer is None:
            self._open(recorded.time_ns)
        message = human_array(
            recorded.header,
            estimator.name,
            estimator.joint_names,
            answer.humans,
            answer.frame.camera,
            self._vertices,
        )
        self._writer.write(self._humans, recorded.time_ns, serialize_message(message))

    def _open(self, time_ns: int) -> None:
        """Begin the bag with the body model, at the time of the first image."""
        self._writer = self._files.enter_context(_rosbag2().Writer(self.path, version=9))
        types = _our_types()
        self._humans = self._writer.add_connection(
            "/stdformer/humans", "stdformer_ros/msg/HumanArray", typestore=types
        )
        model = self._writer.add_connection(
            "/stdformer/body_model", "stdformer_ros/msg/BodyModel", typestore=types
        )
        self._writer.write(model, time_ns, serialize_message(body_model(self._estimator)))


def _only_image(kinds: dict[str, str]) -> str:
    images = sorted(topic for topic, kind in kinds.items() if kind in IMAGES)
    if len(images) != 1:
        found = f"{len(images)}: {', '.join(images)}" if images else "none"
        raise BagError(f"name the topic of the images (--image-topic); there is {found}")
    return images[0]


def _camera_info_beside(image: str, kinds: dict[str, str]) -> str:
    """The CameraInfo in the images' namespace, where drivers publish it; empty if there is none."""
    base = image.removesuffix("/compressed").rsplit("/", 1)[0]
    for topic in (f"{base}/camera_info", f"{base.rsplit('/', 1)[0]}/camera_info"):
        if kinds.get(topic) == INFO:
            return topic
    return ""


def _rosbag2() -> Any:
    try:
        from rosbags import rosbag2
    except ImportError as error:
        raise BagError("bags are read by rosbags; install it with: pip install rosbags") from error
    return rosbag2


def _our_types() -> Any:
    """The definitions of our messages, for readers of the bag that do not have them."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_KILTED)
    folder = Path(get_package_share_directory("stdformer_ros")) / "msg"
    types: dict[str, Any] = {}
    for name in ("Human", "HumanArray", "BodyModel"):
        text = (folder / f"{name}.msg").read_text()
        types |= get_types_from_msg(text, f"stdformer_ros/msg/{name}")
    store.register(types)
    return store
