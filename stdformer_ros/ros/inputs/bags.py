"""Read a bag: a source of frames for a run without a node (`io/offline.py`).

The messages are treated exactly as in the node, except that nothing has to be answered in time: an
image gets the depth of its own stamp even if that was recorded later, and the first intrinsics of
the bag hold for the images before them. `ros/outputs/results_bag.py` writes the results to a bag.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from stdformer_ros.io.files import Notify, print_warning, shown
from stdformer_ros.ros.inputs.bag_files import COMPRESSED, IMAGE, INFO, BagError, BagFiles, Topic
from stdformer_ros.ros.inputs.images import DEPTH_ONLY
from stdformer_ros.ros.inputs.intake import DepthIntake, Intake, nanoseconds
from stdformer_ros.ros.log import BadInput, Throttle, Warn
from stdformer_ros.types import Frame

DEPTH_TOLERANCE = 0.05
"""Largest difference in seconds between the stamps of an image and of its depth image."""
LOOK_AHEAD = 1.0
"""So many seconds of the recording are searched for the depth image of an image."""
LOOK_AHEAD_IMAGES = 30
"""Largest number of images that wait meanwhile, so that memory stays bounded."""
NO_DEPTH = "none"
"""In place of a topic: depth is not used, even if there is some."""
KINDS = {IMAGE: Image, COMPRESSED: CompressedImage, INFO: CameraInfo}


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
        path: folder or file of a rosbag2, or a bag of ROS 1.
        image: topic of raw or compressed images; empty: the only colour camera of the bag, raw
            rather than compressed.
        camera_info: topic; empty: the one in the images' namespace, or none.
        depth: topic; empty: the only one of raw depth images, or none; `NO_DEPTH`: none.
        rectified: whether the images are rectified, see `Intake`.
        warn: takes warnings.

    Attributes:
        images: how many there are.
        topics: what is read, in words.

    Raises:
        BagError: if the bag cannot be read, or its topics do not fit.
    """

    def __init__(
        self,
        path: Path,
        image: str = "",
        camera_info: str = "",
        depth: str = "",
        rectified: bool = False,
        warn: Notify = print_warning,
    ) -> None:
        self._files = BagFiles(path)
        self._rectified = rectified
        self._warn = warn
        topics = self._files.topics
        named = (image, camera_info, "" if depth == NO_DEPTH else depth)
        for topic in filter(None, named):
            if topic not in topics:
                raise BagError(f"the bag has no topic {topic}; it has: {', '.join(sorted(topics))}")
        if image and topics[image].kind not in (IMAGE, COMPRESSED):
            raise BagError(f"{image} has messages of {topics[image].kind}, not images")
        colours, depths = self._colour_and_depth()
        self._image = image or _only_camera(colours)
        self._info = camera_info or _camera_info_beside(self._image, topics)
        self._depth = "" if depth == NO_DEPTH else depth or self._only_depth(depths)
        self.images = topics[self._image].count
        self.topics = ", ".join(
            f"{what} {topic}"
            for what, topic in (
                ("images", self._image),
                ("intrinsics", self._info),
                ("depth (must be aligned to the images)", self._depth),
            )
            if topic
        )

    def frames(self) -> Iterator[Frame]:
        """Each usable image, in the order of recording; `source` is a `Recorded`.

        A message that cannot be used is dropped with a warning, see `Intake` and `DepthIntake`. If
        the bag is damaged further on, what is there until then is given.
        """
        throttle = Throttle(self._warn)
        reading = _Reading(
            Intake(self._rectified, throttle),
            DepthIntake(DEPTH_TOLERANCE, _without_lateness(throttle)) if self._depth else None,
            throttle,
        )
        self._take_first_info(reading)
        try:
            for topic, time_ns, message in self._read(reading):
                if topic == self._depth and reading.depths is not None:
                    reading.depths.take(message)
                else:
                    reading.waiting.append((time_ns, topic, message))
                yield from reading.ready(time_ns)
        except BagError as error:
            self._warn(str(error))
        yield from reading.ready(None)
        self._report(reading)

    def _read(self, reading: _Reading) -> Iterator[tuple[str, int, Any]]:
        """The deserialised messages; those that cannot be read are counted."""
        wanted = [topic for topic in (self._image, self._info, self._depth) if topic]
        for topic, time_ns, data in self._files.messages(wanted):
            message = _deserialised(data, self._files.topics[topic])
            if message is None:
                reading.unreadable[topic] += 1
                continue
            reading.read[topic] += 1
            if topic != self._info and not nanoseconds(message.header.stamp):
                reading.throttle(
                    "stamp", f"{topic}: header.stamp is not set (0): the time of recording is used"
                )
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(time_ns, 10**9)
            yield topic, time_ns, message

    def _take_first_info(self, reading: _Reading) -> None:
        """Let the first intrinsics hold for the images that were recorded before them."""
        if not self._info:
            self._warn(
                "no calibration in the bag: assuming a field of view of 60 degrees, so distances "
                "are not measured (metric_depth is false)"
            )
            return
        try:
            message = self._first(self._info)
            if message is not None:
                reading.intake.take_camera_info(message)
        except (BadInput, BagError):
            pass  # the message comes again, and the warning with it

    def _report(self, reading: _Reading) -> None:
        for topic, count in reading.unreadable.items():
            total = count + reading.read[topic]
            self._warn(f"{topic}: {count} of {total} messages could not be read")
        missing = self.images - reading.read[self._image] - reading.unreadable[self._image]
        if missing > 0:
            self._warn(
                f"{shown(self._files.path)}: {missing} of {self.images} images are missing from "
                "the bag"
            )
        if self._depth and reading.matched < reading.given:
            self._warn(f"{self._depth}: depth matched {reading.matched} of {reading.given} images")

    def _first(self, topic: str) -> Any:
        """The first message of a topic, None if there is none that can be read."""
        with closing(self._files.messages([topic])) as messages:
            found = next(messages, None)
        return None if found is None else _deserialised(found[2], self._files.topics[topic])

    def _colour_and_depth(self) -> tuple[list[Topic], list[Topic]]:
        """Topics of images by what their first message holds; topics without any are left out."""
        colours, depths, grey = [], [], []
        for topic in self._files.topics.values():
            if topic.kind not in (IMAGE, COMPRESSED):
                continue
            message = self._first(topic.name)
            if message is None:
                continue
            words = message.encoding if topic.kind == IMAGE else message.format
            encoding = words.split(";")[0].strip().lower()
            if encoding in DEPTH_ONLY or "compresseddepth" in words.lower():
                depths += [topic] if topic.kind == IMAGE else []
            elif encoding.startswith("mono"):
                grey.append(topic)
            else:
                colours.append(topic)
        return colours or grey, depths

    def _only_depth(self, depths: list[Topic]) -> str:
        if len(depths) > 1:
            listed = ", ".join(sorted(topic.name for topic in depths))
            self._warn(
                f"depth is not used, because there are several topics: {listed}; choose the one "
                "that is aligned to the images with --depth-topic"
            )
        return depths[0].name if len(depths) == 1 else ""


class _Reading:
    """What one pass over a bag has in hand."""

    def __init__(self, intake: Intake, depths: DepthIntake | None, throttle: Throttle) -> None:
        self.intake, self.depths, self.throttle = intake, depths, throttle
        self.waiting: deque[tuple[int, str, Any]] = deque()
        self.read: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        self.given = self.matched = 0
        self._assumed = False

    def ready(self, now_ns: int | None) -> Iterator[Frame]:
        """The frames that need not wait for depth any more.

        Args:
            now_ns: the time of recording up to which the bag was read; None: to its end.
        """
        while self.waiting:
            time_ns, topic, message = self.waiting[0]
            is_info = isinstance(message, CameraInfo)
            if not is_info and now_ns is not None and self._waits(time_ns, now_ns, message):
                return
            self.waiting.popleft()
            try:
                if is_info:
                    self.intake.take_camera_info(message)
                else:
                    yield self._frame(time_ns, message)
            except BadInput as bad:
                self.throttle(bad.kind, f"{topic}: {bad}; message dropped")

    def _waits(self, time_ns: int, now_ns: int, message: Any) -> bool:
        return (
            self.depths is not None
            and not self.depths.arrivals.settled(nanoseconds(message.header.stamp))
            and now_ns - time_ns < 1e9 * LOOK_AHEAD
            and len(self.waiting) <= LOOK_AHEAD_IMAGES
        )

    def _frame(self, time_ns: int, message: Any) -> Frame:
        depth = None
        if self.depths is not None:
            try:
                depth = self.depths.at(nanoseconds(message.header.stamp))
            except BadInput as bad:
                self.throttle(bad.kind, f"depth: {bad}; depth not used")
        frame = self.intake.frame(message, depth)
        self.given += 1
        self.matched += frame.depth is not None
        return replace(frame, source=Recorded(message.header, time_ns))


def _deserialised(data: bytes, topic: Topic) -> Any:
    """The message, None if it is broken."""
    try:
        return deserialize_message(data, KINDS[topic.kind])
    except Exception:  # rclpy passes on whatever its middleware raises
        return None


def _without_lateness(throttle: Throttle) -> Warn:
    """Offline nothing comes late: an image without a later depth image is at the bag's end."""

    def warn(kind: str, text: str) -> None:
        if kind != "depth late":
            throttle(kind, text)

    return warn


def _only_camera(colours: list[Topic]) -> str:
    """The topic of the only camera; raw images rather than the compressed ones beside them."""
    raw = {topic.name for topic in colours if topic.kind == IMAGE}
    names = sorted(
        topic.name
        for topic in colours
        if topic.kind == IMAGE or topic.name.rsplit("/", 1)[0] not in raw
    )
    if len(names) != 1:
        found = f"{len(names)} topics of images: {', '.join(names)}" if names else "no images"
        raise BagError(f"choose the topic of the images with --image-topic; the bag has {found}")
    return names[0]


def _camera_info_beside(image: str, topics: dict[str, Topic]) -> str:
    """The CameraInfo in the images' namespace, where drivers publish it; empty if there is none."""
    base = image.removesuffix("/compressed").rsplit("/", 1)[0]
    for name in (f"{base}/camera_info", f"{base.rsplit('/', 1)[0]}/camera_info"):
        if name in topics and topics[name].kind == INFO:
            return name
    return ""
