"""Read a bag: a source of frames for a run without a node (`io/offline.py`).

The messages are treated exactly as in the node, except that nothing has to be answered in time: an
image gets the depth of its own stamp even if that was recorded later, and the first intrinsics of
the bag hold for the images before them. `ros/outputs/results_bag.py` writes the results to a bag.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
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
FIRST = 30
"""So many messages of a topic are searched for one that can be used, before the bag is read."""
NO_DEPTH = "none"
"""In place of a topic: depth is not used, even if there is some."""
KINDS = {IMAGE: Image, COMPRESSED: CompressedImage, INFO: CameraInfo}
_RECTIFIED = re.compile(r"(^|[/_])rect(ified)?([/_]|$)")


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
        self._files = BagFiles(path, warn)
        self._rectified = rectified
        self._warn = warn
        topics = self._files.topics
        depth_named = "" if depth == NO_DEPTH else depth
        self._require(image, (IMAGE, COMPRESSED), "images")
        self._require(camera_info, (INFO,), "CameraInfo")
        self._require(depth_named, (IMAGE,), "raw depth images")
        colours, depths, packed = self._colour_and_depth()
        if image in (*depths, *packed):
            raise BagError(
                f"{image} holds depth images; colour images are on: {', '.join(colours) or 'none'}"
            )
        self._image = image or _only_camera(colours, topics)
        self._info = camera_info or _camera_info_beside(self._image, topics)
        self._depth = depth_named
        if not depth:
            self._depth = self._only_depth(depths, packed)
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

        A message that cannot be used is dropped with a warning, see `Intake` and `DepthIntake`;
        at the end `warn` is told how many were. So it is with what is damaged or missing.

        Raises:
            BagError: at the end, if no image could be used.
        """
        throttle = Throttle(self._warn)
        depths = None
        if self._depth:
            warn = _without_lateness(throttle)
            depths = DepthIntake(DEPTH_TOLERANCE, warn, kept=LOOK_AHEAD_IMAGES)
        reading = _Reading(Intake(self._rectified, throttle), depths, throttle)
        self._take_first_info(reading.intake)
        assumed = False
        for frame in self._read_frames(reading):
            if not (assumed or frame.camera.known or reading.intake.camera):
                assumed = True
                self._warn_of_assumed()
            yield frame
        self._report(reading)
        if not reading.given:
            raise BagError(f"none of the {self.images} images on {self._image} can be used")

    def _read_frames(self, reading: _Reading) -> Iterator[Frame]:
        for topic, time_ns, message in self._read(reading):
            if topic == self._depth and reading.depths is not None:
                reading.depths.take(message)
            else:
                reading.waiting.append((time_ns, topic, message))
            yield from reading.ready(time_ns)
        yield from reading.ready(None)

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

    def _take_first_info(self, intake: Intake) -> None:
        """Let the first usable intrinsics hold for the images that were recorded before them."""
        for message in self._first(self._info) if self._info else ():
            try:
                intake.take_camera_info(message)
            except BadInput:
                continue  # the message comes again, and the warning with it
            if intake.camera is not None:
                if not self._rectified and _RECTIFIED.search(self._image) and any(message.d):
                    self._warn(
                        f"the images on {self._image} are rectified by their name, but the "
                        f"distortion of {self._info} is applied: if they are, add --rectified"
                    )
                return

    def _warn_of_assumed(self) -> None:
        topics = self._files.topics.values()
        others = sorted(t.name for t in topics if t.kind == INFO and t.name != self._info)
        choose = f"; --camera-info-topic can choose {' or '.join(others)}" if others else ""
        self._warn(
            f"no calibration {f'on {self._info}' if self._info else 'in the bag'}: assuming a "
            "field of view of 60 degrees, so distances are not measured (metric_depth is false)"
            f"{choose}"
        )

    def _report(self, reading: _Reading) -> None:
        if reading.dropped:
            kinds = ", ".join(f"{kind}: {count}" for kind, count in reading.dropped.most_common())
            self._warn(
                f"{self._image}: {reading.dropped.total()} of {self.images} images were dropped "
                f"({kinds})"
            )
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

    def _require(self, topic: str, kinds: tuple[str, ...], what: str) -> None:
        """Check the type of a topic that the user has named.

        Raises:
            BagError: if the bag does not have it, or it has another type.
        """
        topics = self._files.topics
        if topic and topic not in topics:
            raise BagError(f"the bag has no topic {topic}; it has: {', '.join(sorted(topics))}")
        if topic and topics[topic].kind not in kinds:
            raise BagError(f"{topic} has messages of {topics[topic].kind}, not {what}")

    def _first(self, topic: str) -> Generator[Any, None, None]:
        """The messages that can be read among the first ones of a topic."""
        with closing(self._files.messages([topic])) as messages:
            for _, _, data in islice(messages, FIRST):
                message = _deserialised(data, self._files.topics[topic])
                if message is not None:
                    yield message

    def _colour_and_depth(self) -> tuple[list[str], list[str], list[str]]:
        """Topics of colour, raw depth, compressed depth, by what their first message holds.

        Topics without any message that can be read are left out.
        """
        colours: list[str] = []
        grey: list[str] = []
        depths: list[str] = []
        packed: list[str] = []
        for topic in self._files.topics.values():
            if topic.kind not in (IMAGE, COMPRESSED):
                continue
            with closing(self._first(topic.name)) as first:
                message = next(first, None)
            if message is None:
                continue
            words = message.encoding if topic.kind == IMAGE else message.format
            encoding = words.split(";")[0].strip().lower()
            if encoding in DEPTH_ONLY or "compresseddepth" in words.lower():
                (depths if topic.kind == IMAGE else packed).append(topic.name)
            elif encoding.startswith("mono"):
                grey.append(topic.name)
            else:
                colours.append(topic.name)
        return sorted(colours or grey), sorted(depths), sorted(packed)

    def _only_depth(self, depths: list[str], packed: list[str]) -> str:
        if len(depths) > 1:
            self._warn(
                f"depth is not used, because there are several topics: {', '.join(depths)}; choose "
                "the one that is aligned to the images with --depth-topic"
            )
        if packed and not depths:
            self._warn(
                f"depth is not used, because it is compressed: {', '.join(packed)}; "
                "`ros2 run image_transport republish` makes raw images of it"
            )
        return depths[0] if len(depths) == 1 else ""


class _Reading:
    """What one pass over a bag has in hand."""

    def __init__(self, intake: Intake, depths: DepthIntake | None, throttle: Throttle) -> None:
        self.intake, self.depths, self.throttle = intake, depths, throttle
        self.waiting: deque[tuple[int, str, Any]] = deque()
        self.read: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.given = self.matched = 0

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
                if not is_info:
                    self.dropped[bad.kind] += 1
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


def _only_camera(colours: list[str], topics: dict[str, Topic]) -> str:
    """The topic of the only camera; raw images rather than the compressed ones beside them."""
    raw = {name for name in colours if topics[name].kind == IMAGE}
    names = [name for name in colours if name in raw or name.rsplit("/", 1)[0] not in raw]
    if not names:
        found = ", ".join(f"{topic.name} ({topic.kind})" for topic in topics.values())
        raise BagError(
            f"the bag has no images of {IMAGE} or {COMPRESSED} that can be read; it has: "
            f"{found or 'nothing'}"
        )
    if len(names) > 1:
        raise BagError(
            f"choose the topic of the images with --image-topic; the bag has {len(names)} topics "
            f"of images: {', '.join(names)}"
        )
    return names[0]


def _camera_info_beside(image: str, topics: dict[str, Topic]) -> str:
    """The CameraInfo in the images' namespace, where drivers publish it; empty if there is none."""
    base = image.removesuffix("/compressed").rsplit("/", 1)[0]
    for name in (f"{base}/camera_info", f"{base.rsplit('/', 1)[0]}/camera_info"):
        if name in topics and topics[name].kind == INFO:
            return name
    return ""
