"""A buffer of the transforms of /tf and /tf_static, and what it answers: `Transform`.

It needs ROS only for the messages that it takes.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import hypot, isfinite
from threading import Lock

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from stdformer_ros.ros.inputs.intake import nanoseconds

KEPT_SECONDS = 10.0
"""For how long `TransformBuffer` keeps transforms; it is the same in tf2_ros' buffer."""
BACK_SECONDS = 1.0
"""A transform that is older than the newest one by more than this is not late: time went back."""
AHEAD_SECONDS = 0.2
"""An image may be newer than the newest transform by this: /tf may be slower than the camera."""
MOTION_SECONDS = 0.1
"""Velocities of frames are computed from their motion over this time."""

Array = NDArray[np.float64]


class TransformError(ValueError):
    """The transform is not known; the message names the frames, and the gap in seconds if any."""


@dataclass(frozen=True)
class Transform:
    """From coordinates of one frame to those of another.

    Attributes:
        rotation: (3, 3), it is applied before the translation.
        translation: (3,) metres.
        extrapolated: by how many seconds this is newer than the newest known transform.
    """

    rotation: Array
    translation: Array
    extrapolated: float = 0.0

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

    def continued(self, before: Transform, seconds: float) -> Transform:
        """The transform some time later, if it moves on as in the MOTION_SECONDS since `before`."""
        share = seconds / MOTION_SECONDS
        turn = Rotation.from_matrix(self.rotation @ before.rotation.T).as_rotvec()
        return Transform(
            Rotation.from_rotvec(share * turn).as_matrix() @ self.rotation,
            self.translation + share * (self.translation - before.translation),
            extrapolated=seconds,
        )


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
        """From the frame to its parent, at a time that is not after the newest pose.

        Raises:
            TransformError: if the frame's pose at this time is not known.
        """
        stamps = [entry.stamp_ns for entry in self.entries]
        i = bisect_left(stamps, stamp_ns)
        if self.static or (i < len(stamps) and stamps[i] == stamp_ns):
            entry = self.entries[-1 if self.static else i]
            return _transform(entry.translation, entry.quaternion)
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
            up, down = up[: up.index(common)], down[: down.index(common)]
            moving = [link for frame in (*up, *down) if not (link := self._links[frame]).static]
            newest_ns = min((link.entries[-1].stamp_ns for link in moving), default=stamp_ns)

            def at(time_ns: int) -> Transform:
                return self._chain(up, time_ns).then(self._chain(down, time_ns).inverse())

            def before() -> Transform | None:
                try:
                    return at(newest_ns - int(1e9 * MOTION_SECONDS))
                except TransformError:
                    return None

            if stamp_ns <= newest_ns:
                return at(stamp_ns)
            late = 1e-9 * (stamp_ns - newest_ns)
            return extrapolated(at(newest_ns), before, late, f"'{source}' to '{target}'")

    def _take(self, message: TransformStamped, static: bool) -> None:
        t, r = message.transform.translation, message.transform.rotation
        entry = _Entry(
            nanoseconds(message.header.stamp),
            np.array([t.x, t.y, t.z]),
            np.array([r.x, r.y, r.z, r.w]),
        )
        parent, child = message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/")
        if not is_valid(message) or child == parent:
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


def extrapolated(
    newest: Transform, before: Callable[[], Transform | None], late: float, names: str
) -> Transform:
    """The transform for an image that is newer than the newest one.

    Args:
        newest: the newest transform.
        before: returns that of MOTION_SECONDS before it, None if it is not known.
        late: by how many seconds the image is newer.
        names: of the frames, for the error.

    Raises:
        TransformError: if that is too much, or if the image is older instead.
    """
    if late < 0:
        raise TransformError(f"the oldest transform from {names} is newer than the image")
    if late > AHEAD_SECONDS:
        raise TransformError(
            f"the newest transform from {names} is {late:.2f} s older than the image"
        )
    return newest.continued(before() or newest, late)


def is_valid(message: TransformStamped) -> bool:
    """Whether the translation is finite and the quaternion's norm is between 0.5 and 2."""
    t, r = message.transform.translation, message.transform.rotation
    return all(map(isfinite, (t.x, t.y, t.z))) and 0.5 < hypot(r.x, r.y, r.z, r.w) < 2.0


def transform_of(message: TransformStamped) -> Transform:
    """From coordinates of the message's child frame to those of its frame."""
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
