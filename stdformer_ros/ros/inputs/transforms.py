"""The transforms between coordinate frames, from /tf and /tf_static.

The node asks a `TransformSource`; `open_transforms` chooses which one:

- `Tf2Transforms`, over the buffer of tf2_ros, where ROS 2's tf2_ros is installed;
- `OwnTransforms`, over the `TransformBuffer` of this module, where it is not: no Python wheel
  contains tf2_ros. It needs only the messages of tf2_msgs.

Both behave the same for the node. A lookup never waits. It interpolates between the two transforms
around the image's time. If the image is newer than the newest transform by at most AHEAD_SECONDS,
that transform is used unchanged. When the time goes back, for example because a bag is played in a
loop, the buffer is emptied.
"""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import hypot, isfinite
from threading import Lock
from typing import Any, Protocol

import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from scipy.spatial.transform import Rotation, Slerp

from stdformer_ros.ros.inputs.intake import nanoseconds

KEPT_SECONDS = 10.0
"""For how long `TransformBuffer` keeps transforms; it is the same in tf2_ros' buffer."""
BACK_SECONDS = 1.0
"""A transform that is older than the newest one by more than this is not late: time went back."""
AHEAD_SECONDS = 0.2
"""An image may be newer than the newest transform by this: /tf may be slower than the camera."""
PERSON_FRAME = re.compile(r"(.+_)?human_\d+(_.+)?|body_b\d+")
"""The names of the frames that this node, or another node like it, publishes for people."""

Array = NDArray[np.float64]


class TransformError(ValueError):
    """The transform is not known; the message names the frames, and the gap in seconds if any."""


@dataclass(frozen=True)
class Transform:
    """From coordinates of one frame to those of another.

    Attributes:
        rotation: (3, 3), it is applied before the translation.
        translation: (3,) metres.
    """

    rotation: Array
    translation: Array

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (..., 3) in metres, transformed to the other frame's coordinates."""
        return (points @ self.rotation.T + self.translation).astype(np.float32)

    def then(self, following: Transform) -> Transform:
        """The transform that applies this one first, and the following one to its result."""
        return Transform(
            following.rotation @ self.rotation,
            following.rotation @ self.translation + following.translation,
        )

    def inverse(self) -> Transform:
        """From coordinates of the other frame to those of the first."""
        return Transform(self.rotation.T, -self.rotation.T @ self.translation)


class TransformSource(Protocol):
    """What the node needs to know about transforms."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """From coordinates of `source` to those of `target` at a time, without waiting.

        Args:
            target: name of a frame.
            source: name of a frame.
            stamp_ns: the time in nanoseconds.

        Raises:
            TransformError: if the two frames are not connected, or not at this time.
        """

    def close(self) -> None:
        """Stop listening to /tf and /tf_static."""


def open_transforms(node: Node) -> TransformSource:
    """Listen to /tf and /tf_static, with tf2_ros where it is installed, else with our own buffer.

    Raises:
        ValueError: if tf2_msgs is not installed.
    """
    try:
        get_package_prefix("tf2_ros_py")  # the ROS package that contains the module tf2_ros
        import tf2_ros
    except (PackageNotFoundError, ImportError):
        node.get_logger().info("transforms: tf2_ros is not installed, the built-in buffer is used")
        return OwnTransforms(node)
    node.get_logger().info("transforms: tf2_ros is used")
    return Tf2Transforms(node, tf2_ros)


def tf_message() -> Any:
    """The class of tf2_msgs/TFMessage.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        distribution = os.environ.get("ROS_DISTRO", "DISTRO")
        raise ValueError(
            "the parameters tf and target_frame need tf2_msgs; install it with: sudo apt-get "
            f"install ros-{distribution}-tf2-msgs"
        ) from error
    return TFMessage


class Tf2Transforms:
    """A `TransformSource` over tf2_ros.

    tf2_ros' listener gives the transforms to this class, which gives them to tf2_ros' buffer. This
    class stands between the two for three reasons:

    - The buffer is emptied when stamps go back. By itself it notices at most a clock that goes
      back, and a bag can be played in a loop without a clock.
    - The frames of people are left out. The buffer never forgets a frame, and this node publishes
      new frames for each new person, which would fill the memory.
    - Invalid transforms are left out. The buffer accepts infinite translations.

    Args:
        node: whose subscriptions they are.
        tf2_ros: the module.
    """

    def __init__(self, node: Node, tf2_ros: Any) -> None:
        self._tf2_ros = tf2_ros
        self._buffer = tf2_ros.Buffer()  # keeps 10 s
        self._newest_ns: dict[str, int] = {}
        self._listener = tf2_ros.TransformListener(self, node)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Give a transform of /tf to the buffer, which is emptied first if its time went back."""
        child = transform.child_frame_id
        if PERSON_FRAME.fullmatch(child.lstrip("/")) or not _is_valid(transform):
            return
        stamp_ns = nanoseconds(transform.header.stamp)
        if self._newest_ns.get(child, stamp_ns) - stamp_ns > 1e9 * BACK_SECONDS:
            self._buffer.clear()  # keeps the static transforms
            self._newest_ns.clear()
        self._newest_ns[child] = max(stamp_ns, self._newest_ns.get(child, stamp_ns))
        self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Give a transform of /tf_static to the buffer."""
        if _is_valid(transform):
            self._buffer.set_transform_static(transform, authority)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """See `TransformSource`."""
        try:
            try:
                # For tf2 the time 0 means the newest transform.
                when = Time(nanoseconds=max(stamp_ns, 1))
                return _transform_of(self._buffer.lookup_transform(target, source, when))
            except self._tf2_ros.ExtrapolationException:
                newest = self._buffer.lookup_transform(target, source, Time())
        except self._tf2_ros.TransformException as error:
            raise TransformError(
                f"no transform connects '{source}' to '{target}': {error}"
            ) from error
        late = 1e-9 * (stamp_ns - nanoseconds(newest.header.stamp))
        if late < 0:
            raise TransformError(
                f"the oldest transform from '{source}' to '{target}' is newer than the image"
            )
        if late > AHEAD_SECONDS:
            raise TransformError(
                f"the newest transform from '{source}' to '{target}' is {late:.2f} s older than "
                "the image"
            )
        return _transform_of(newest)

    def close(self) -> None:
        """See `TransformSource`."""
        self._listener.unregister()


class OwnTransforms:
    """A `TransformSource` over a `TransformBuffer` that listens to /tf and /tf_static.

    Raises:
        ValueError: if tf2_msgs is not installed.
    """

    def __init__(self, node: Node) -> None:
        self._buffer = TransformBuffer()
        self._node = node
        kind = tf_message()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(kind, "/tf", lambda m: self._take(m, False), 100),
            node.create_subscription(kind, "/tf_static", lambda m: self._take(m, True), latched),
        ]

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """See `TransformSource`."""
        return self._buffer.lookup(target, source, stamp_ns)

    def close(self) -> None:
        """See `TransformSource`."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _take(self, message: Any, static: bool) -> None:
        self._buffer.take(message.transforms, static)


@dataclass(order=True)
class _Entry:
    """A frame's pose in its parent at a time: translation (3,) metres, quaternion x, y, z, w."""

    stamp_ns: int
    translation: Array = field(compare=False)
    quaternion: Array = field(compare=False)


@dataclass
class _Link:
    """A frame's pose in its parent: over time, or one static pose."""

    parent: str
    static: bool
    received_at: float
    entries: list[_Entry] = field(default_factory=list)

    def add(self, entry: _Entry) -> None:
        """Store a pose; it replaces an earlier one with the same stamp."""
        entries = self.entries
        newest = entries[-1].stamp_ns if entries else entry.stamp_ns
        if self.static or newest - entry.stamp_ns > 1e9 * BACK_SECONDS:
            entries.clear()
        i = bisect_left(entries, entry)
        if i < len(entries) and entries[i].stamp_ns == entry.stamp_ns:
            entries[i] = entry
        else:
            entries.insert(i, entry)
        oldest = entries[-1].stamp_ns - int(1e9 * KEPT_SECONDS)
        while entries[0].stamp_ns < oldest:
            entries.pop(0)

    def at(self, stamp_ns: int, child: str) -> Transform:
        """From the frame to its parent.

        Raises:
            TransformError: if the frame's pose at this time is not known.
        """
        stamps = [entry.stamp_ns for entry in self.entries]
        i = bisect_left(stamps, stamp_ns)
        if self.static or (i < len(stamps) and stamps[i] == stamp_ns):
            entry = self.entries[-1 if self.static else i]
            return _transform(entry.translation, entry.quaternion)
        if i == len(stamps):
            late = 1e-9 * (stamp_ns - stamps[-1])
            if late > AHEAD_SECONDS:
                raise TransformError(
                    f"the newest transform from '{child}' to '{self.parent}' is {late:.2f} s older "
                    "than the image"
                )
            return _transform(self.entries[-1].translation, self.entries[-1].quaternion)
        if i == 0:
            early = 1e-9 * (stamps[0] - stamp_ns)
            raise TransformError(
                f"the oldest transform from '{child}' to '{self.parent}' is {early:.2f} s newer "
                "than the image"
            )
        return _between(self.entries[i - 1], self.entries[i], stamp_ns)


class TransformBuffer:
    """Keeps all transforms of the last KEPT_SECONDS.

    A frame without a new transform in that time, such as that of a person who has left, is
    forgotten.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._links: dict[str, _Link] = {}
        self._lock = Lock()
        self._clock = clock
        self._tidied = clock()

    def take(self, transforms: Sequence[TransformStamped], static: bool) -> None:
        """Store the transforms of a message, except invalid ones (not finite, or not a rotation).

        Args:
            transforms: of the message.
            static: whether they are valid at all times, as those of /tf_static.
        """
        with self._lock:
            for message in transforms:
                self._take(message, static)
            if self._clock() - self._tidied > KEPT_SECONDS:
                self._tidy()

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """From coordinates of `source` to those of `target` at a time.

        Raises:
            TransformError: if the two frames are not connected, or not at this time.
        """
        with self._lock:
            up, down = self._ancestors(source), self._ancestors(target)
            common = next((frame for frame in up if frame in down), None)
            if common is None:
                unknown = [f"'{frame}'" for frame in (source, target) if not self._knows(frame)]
                reason = f": /tf does not mention {' or '.join(unknown)}" if unknown else ""
                raise TransformError(f"no transform connects '{source}' to '{target}'{reason}")
            result = self._chain(up[: up.index(common)], stamp_ns)
            return result.then(self._chain(down[: down.index(common)], stamp_ns).inverse())

    def _take(self, message: TransformStamped, static: bool) -> None:
        t, r = message.transform.translation, message.transform.rotation
        entry = _Entry(
            nanoseconds(message.header.stamp),
            np.array([t.x, t.y, t.z]),
            np.array([r.x, r.y, r.z, r.w]),
        )
        parent, child = message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/")
        if not _is_valid(message) or child == parent:
            return
        link = self._links.get(child)
        if link is None or link.parent != parent or link.static != static:
            link = self._links[child] = _Link(parent, static, self._clock())
        link.received_at = self._clock()
        link.add(entry)

    def _tidy(self) -> None:
        self._tidied = self._clock()
        self._links = {
            child: link
            for child, link in self._links.items()
            if link.static or self._tidied - link.received_at <= KEPT_SECONDS
        }

    def _knows(self, frame: str) -> bool:
        return frame in self._links or any(link.parent == frame for link in self._links.values())

    def _ancestors(self, frame: str) -> list[str]:
        """The frame, its parent, the parent's parent ... up to the root."""
        frames = [frame]
        while frames[-1] in self._links:
            parent = self._links[frames[-1]].parent
            if parent in frames:
                raise TransformError(f"the transforms from '{frame}' to its parents form a circle")
            frames.append(parent)
        return frames

    def _chain(self, frames: Sequence[str], stamp_ns: int) -> Transform:
        """From the first of the frames to the last one's parent."""
        result = Transform(np.eye(3), np.zeros(3))
        for frame in frames:
            result = result.then(self._links[frame].at(stamp_ns, frame))
        return result


def _is_valid(message: TransformStamped) -> bool:
    """Whether the translation is finite and the quaternion's norm is between 0.5 and 2."""
    t, r = message.transform.translation, message.transform.rotation
    return all(map(isfinite, (t.x, t.y, t.z))) and 0.5 < hypot(r.x, r.y, r.z, r.w) < 2.0


def _transform_of(message: TransformStamped) -> Transform:
    t, r = message.transform.translation, message.transform.rotation
    return _transform(np.array([t.x, t.y, t.z]), np.array([r.x, r.y, r.z, r.w]))


def _transform(translation: Array, quaternion: Array) -> Transform:
    """From a translation (3,) and a quaternion x, y, z, w."""
    return Transform(Rotation.from_quat(quaternion).as_matrix(), translation)


def _between(before: _Entry, after: _Entry, stamp_ns: int) -> Transform:
    """The transform at a time between two others: linear in translation, slerp in rotation."""
    fraction = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    rotations = Slerp([0, 1], Rotation.from_quat([before.quaternion, after.quaternion]))
    translation = (1 - fraction) * before.translation + fraction * after.translation
    return Transform(rotations(fraction).as_matrix(), translation)
