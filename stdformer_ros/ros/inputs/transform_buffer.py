"""Where frames are in each other, from /tf and /tf_static.

No Python wheel carries tf2_ros, so that this is a small buffer of our own: it needs the messages
alone, and does what the node asks of it.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial.transform import Rotation, Slerp

from stdformer_ros.ros.inputs.intake import nanoseconds

KEPT_SECONDS = 10.0
BACK_SECONDS = 1.0
"""A transform that is so much older than the newest is of a bag that loops, not a late one."""
AHEAD_SECONDS = 0.2
"""The newest transform is taken for images that are so much newer: /tf may be slower than they."""

Array = NDArray[np.float64]


class TransformError(ValueError):
    """A frame's place is not known; the message says which, and since when."""


@dataclass(frozen=True)
class Transform:
    """From coordinates of one frame to those of another.

    Attributes:
        rotation: (3, 3).
        translation: (3,) metres.
    """

    rotation: Array
    translation: Array

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (..., 3) in the other frame's coordinates."""
        return (points @ self.rotation.T + self.translation).astype(np.float32)

    def then(self, following: Transform) -> Transform:
        """The transform that does this one first, and the following one on its result."""
        return Transform(
            following.rotation @ self.rotation,
            following.rotation @ self.translation + following.translation,
        )

    def inverse(self) -> Transform:
        """The way back."""
        return Transform(self.rotation.T, -self.rotation.T @ self.translation)


@dataclass(order=True)
class _Entry:
    stamp_ns: int
    translation: Array = field(compare=False)
    quaternion: Array = field(compare=False)


@dataclass
class _Link:
    """A frame's place in its parent, over time or for ever."""

    parent: str
    static: bool
    heard: float
    entries: list[_Entry] = field(default_factory=list)

    def add(self, entry: _Entry) -> None:
        """Remember another place; of two with one stamp the later one counts."""
        entries = self.entries
        newest = entries[-1].stamp_ns if entries else entry.stamp_ns
        if self.static or newest - entry.stamp_ns > 1e9 * BACK_SECONDS:
            entries.clear()
        place = bisect_left(entries, entry)
        if place < len(entries) and entries[place].stamp_ns == entry.stamp_ns:
            entries[place] = entry
        else:
            entries.insert(place, entry)
        oldest = entries[-1].stamp_ns - int(1e9 * KEPT_SECONDS)
        while entries[0].stamp_ns < oldest:
            entries.pop(0)

    def at(self, stamp_ns: int, child: str) -> Transform:
        stamps = [entry.stamp_ns for entry in self.entries]
        i = bisect_left(stamps, stamp_ns)
        if self.static or (i < len(stamps) and stamps[i] == stamp_ns):
            return _transform(self.entries[-1 if self.static else i])
        if i == len(stamps):
            late = 1e-9 * (stamp_ns - stamps[-1])
            if late > AHEAD_SECONDS:
                raise TransformError(f"the newest transform of '{child}' is {late:.2f} s too old")
            return _transform(self.entries[-1])
        if i == 0:
            early = 1e-9 * (stamps[0] - stamp_ns)
            raise TransformError(f"the oldest transform of '{child}' is {early:.2f} s too new")
        return _between(self.entries[i - 1], self.entries[i], stamp_ns)


class TransformBuffer:
    """Remembers the last seconds of all transforms.

    Frames that are no longer heard of, such as those of people who have left, are forgotten.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._links: dict[str, _Link] = {}
        self._lock = Lock()
        self._clock = clock
        self._tidied = clock()

    def take(self, transforms: list[TransformStamped], static: bool) -> None:
        """Remember what a message says; broken transforms are left aside."""
        with self._lock:
            for message in transforms:
                self._take(message, static)
            if self._clock() - self._tidied > KEPT_SECONDS:
                self._tidy()

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """From coordinates of `source` to those of `target` at a time.

        Raises:
            TransformError: if the two are not connected, or not at this time.
        """
        with self._lock:
            up, down = self._way_up(source), self._way_up(target)
            meeting = next((frame for frame in up if frame in down), None)
            if meeting is None:
                known = "" if source in self._links or target in self._links else ", nor anything"
                raise TransformError(f"no transform connects '{source}' to '{target}'{known}")
            result = self._climb(up[: up.index(meeting)], stamp_ns)
            return result.then(self._climb(down[: down.index(meeting)], stamp_ns).inverse())

    def _take(self, message: TransformStamped, static: bool) -> None:
        t, r = message.transform.translation, message.transform.rotation
        entry = _Entry(
            nanoseconds(message.header.stamp),
            np.array([t.x, t.y, t.z]),
            np.array([r.x, r.y, r.z, r.w]),
        )
        length = np.linalg.norm(entry.quaternion)
        parent, child = message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/")
        if not np.isfinite(entry.translation).all() or not 0.5 < length < 2.0 or child == parent:
            return
        link = self._links.get(child)
        if link is None or link.parent != parent or link.static != static:
            link = self._links[child] = _Link(parent, static, self._clock())
        link.heard = self._clock()
        link.add(entry)

    def _tidy(self) -> None:
        self._tidied = self._clock()
        self._links = {
            child: link
            for child, link in self._links.items()
            if link.static or self._tidied - link.heard <= KEPT_SECONDS
        }

    def _way_up(self, frame: str) -> list[str]:
        way = [frame]
        while way[-1] in self._links:
            parent = self._links[way[-1]].parent
            if parent in way:
                raise TransformError(f"the transforms of '{frame}' go in a circle")
            way.append(parent)
        return way

    def _climb(self, frames: list[str], stamp_ns: int) -> Transform:
        result = Transform(np.eye(3), np.zeros(3))
        for frame in frames:
            result = result.then(self._links[frame].at(stamp_ns, frame))
        return result


class TransformListener:
    """A buffer that is fed from /tf and /tf_static.

    Raises:
        ValueError: if tf2_msgs is not installed.
    """

    def __init__(self, node: Node) -> None:
        self.buffer = TransformBuffer()
        self._node = node
        kind = tf_message()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(kind, "/tf", lambda m: self._take(m, False), 100),
            node.create_subscription(kind, "/tf_static", lambda m: self._take(m, True), latched),
        ]

    def _take(self, message: Any, static: bool) -> None:
        self.buffer.take(message.transforms, static)

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


def tf_message() -> type:
    """tf2_msgs/TFMessage.

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


def _transform(entry: _Entry) -> Transform:
    return Transform(Rotation.from_quat(entry.quaternion).as_matrix(), entry.translation)


def _between(before: _Entry, after: _Entry, stamp_ns: int) -> Transform:
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    turns = Slerp([0, 1], Rotation.from_quat([before.quaternion, after.quaternion]))
    translation = (1 - share) * before.translation + share * after.translation
    return Transform(turns(share).as_matrix(), translation)
