"""A rosbag2 through the pipeline, offline: every image is answered, results are a bag again.

The PyPI package `rosbags` reads and writes the container; the messages are treated exactly as in
the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tqdm import tqdm

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.io.humans_file import HumansFile
from stdformer_ros.ros.bad_input import BadInput, Throttle
from stdformer_ros.ros.inputs.depth_intake import DepthIntake
from stdformer_ros.ros.inputs.intake import Intake, nanoseconds
from stdformer_ros.ros.outputs.messages import body_model, human_array
from stdformer_ros.types import Frame, Human

if TYPE_CHECKING:
    from stdformer_ros.pipeline import Pipeline

DEPTH_TOLERANCE = 0.05
IMAGES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
INFO = "sensor_msgs/msg/CameraInfo"


class BagError(RuntimeError):
    """A bag cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class BagTopics:
    """Which topics of a bag to take; empty: the only one of its kind, or none.

    Attributes:
        image: raw or compressed images.
        camera_info: empty: the one beside the images.
        depth: empty: none.
    """

    image: str = ""
    camera_info: str = ""
    depth: str = ""


def process_bag(
    bag: Path, pipeline: Pipeline, folder: Path, topics: BagTopics, *, vertices: bool = False
) -> tuple[int, int, list[Path]]:
    """Follow everybody through a bag.

    Writes `humans.npz` (see `HumansFile`) and the bag `humans` with /stdformer/humans at the
    images' times and /stdformer/body_model.

    Args:
        bag: folder of a rosbag2.
        pipeline: who answers.
        folder: made if it is missing; earlier results in it must not be there.
        topics: which ones to take.
        vertices: whether to keep the meshes.

    Returns:
        How many images were answered, how many different people there were, and the files.

    Raises:
        BagError: if the bag cannot be read, or its topics do not fit.
        OSError: if a file cannot be written.
    """
    rosbag2 = _rosbags()
    estimator, results = pipeline.estimator, folder / "humans"
    if results.exists():
        raise BagError(f"{results} exists already: remove it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    frames = 0
    with ExitStack() as stack:
        try:
            reader = stack.enter_context(rosbag2.Reader(bag))
        except Exception as error:  # of many kinds, by the container's
            raise BagError(f"{bag} cannot be read as a rosbag2: {error}") from error
        source = _BagSource(reader, topics)
        archive = stack.enter_context(HumansFile(folder / "humans.npz", estimator, vertices))
        writer = stack.enter_context(rosbag2.Writer(results, version=9))
        types = _our_types()
        humans_topic = writer.add_connection(
            "/stdformer/humans", "stdformer_ros/msg/HumanArray", typestore=types
        )
        model_topic = writer.add_connection(
            "/stdformer/body_model", "stdformer_ros/msg/BodyModel", typestore=types
        )
        stamps: list[float] = []
        for frame, people in _answers(pipeline, source):
            header, time_ns = source.origin(frame)
            if not frames:
                writer.write(model_topic, time_ns, serialize_message(body_model(estimator)))
            message = human_array(
                header, estimator.name, estimator.joint_names, people, frame.camera, vertices
            )
            writer.write(humans_topic, time_ns, serialize_message(message))
            archive.add(frames, frame.stamp, people)
            stamps.append(frame.stamp)
            frames += 1
        steps = np.diff(stamps)
        archive.save(1.0 / float(np.median(steps)) if len(steps) else 30.0)
        return frames, archive.people, [archive.path, results]


def _answers(pipeline: Pipeline, source: _BagSource) -> Iterator[tuple[Frame, list[Human]]]:
    """The frames that are answered for, with those that a delay still owes at the end."""
    for frame, jumped in source.frames():
        if jumped:
            yield from _owed(pipeline)
            pipeline.reset()
        humans = pipeline(frame)
        if pipeline.answered is not None:
            yield pipeline.answered, humans
    yield from _owed(pipeline)


def _owed(pipeline: Pipeline) -> Iterator[tuple[Frame, list[Human]]]:
    for humans in pipeline.finish():
        assert pipeline.answered is not None
        yield pipeline.answered, humans


class _BagSource:
    """The frames of a bag, and from which messages they come."""

    def __init__(self, reader: Any, topics: BagTopics) -> None:
        self._reader = reader
        kinds = {c.topic: c.msgtype for c in reader.connections}
        self._image = topics.image or _only_image(kinds)
        self._depth = topics.depth
        self._info = topics.camera_info or _beside(self._image, kinds)
        for topic in (self._image, self._info, self._depth):
            if topic and topic not in kinds:
                raise BagError(f"there is no topic {topic}; there is: {', '.join(sorted(kinds))}")
        if kinds[self._image] not in IMAGES:
            raise BagError(f"{self._image} is {kinds[self._image]}, not images")
        self._kind = IMAGES[kinds[self._image]]
        self._origins: dict[int, tuple[Header, int]] = {}

    def origin(self, frame: Frame) -> tuple[Header, int]:
        """The header of a frame's image, and when the bag has recorded it, in nanoseconds."""
        return self._origins.pop(id(frame))

    def frames(self) -> Iterator[tuple[Frame, bool]]:
        """Each usable image, and whether it does not continue those before it."""
        intake, depths = Intake(), DepthIntake(DEPTH_TOLERANCE)
        warn = Throttle(lambda text: tqdm.write(f"warning: {text}"))
        wanted = [c for c in self._reader.connections if c.topic in self._topics()]
        total = sum(c.msgcount for c in wanted if c.topic == self._image)
        with tqdm(total=total, unit=" frames", dynamic_ncols=True) as bar:
            for connection, time_ns, data in self._reader.messages(connections=wanted):
                try:
                    if connection.topic == self._info:
                        intake.take_camera_info(deserialize_message(bytes(data), CameraInfo))
                    elif connection.topic == self._depth:
                        depths.take(deserialize_message(bytes(data), Image))
                    else:
                        bar.update()
                        message = deserialize_message(bytes(data), self._kind)
                        depth = self._depth_of(depths, message.header, warn)
                        frame = intake.frame(message, depth)
                        jumped, intake.jumped = intake.jumped, False
                        self._origins[id(frame)] = message.header, time_ns
                        yield frame, jumped
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
        found = f"{len(images)}: {', '.join(images)}" if images else "none"
        raise BagError(f"name the topic of the images (--image-topic); there is {found}")
    return images[0]


def _beside(image: str, kinds: dict[str, str]) -> str:
    """The CameraInfo in the images' namespace, as drivers place it."""
    base = image.removesuffix("/compressed").rsplit("/", 1)[0]
    for topic in (f"{base}/camera_info", f"{base.rsplit('/', 1)[0]}/camera_info"):
        if kinds.get(topic) == INFO:
            return topic
    return ""


def _rosbags() -> Any:
    try:
        from rosbags import rosbag2
    except ImportError as error:
        raise BagError("bags are read by rosbags; install it with: pip install rosbags") from error
    return rosbag2


def _our_types() -> Any:
    """How our messages are built, for whoever reads the bag without them."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_KILTED)
    folder = Path(get_package_share_directory("stdformer_ros")) / "msg"
    types: dict[str, Any] = {}
    for name in ("Human", "HumanArray", "BodyModel"):
        text = (folder / f"{name}.msg").read_text()
        types |= get_types_from_msg(text, f"stdformer_ros/msg/{name}")
    store.register(types)
    return store
