"""Replaces tf2_ros, which no Python wheel contains: the part of its API that the node uses.

Names, arguments, exceptions and behaviour are those of ROS 2's tf2_ros (Humble to Kilted): a
lookup never extrapolates, the time 0 means the newest common time, static transforms hold at any
time and survive `clear`, and a transform that is older than CACHE_SECONDS is ignored.
`environment` lets another process import this module as tf2_ros.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from scipy.spatial.transform import Rotation, Slerp

CACHE_SECONDS = 10.0


class TransformException(Exception):
    pass


class LookupException(TransformException):
    pass


class ConnectivityException(TransformException):
    pass


class ExtrapolationException(TransformException):
    pass


class Buffer:
    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._cache_ns = 1e9 * CACHE_SECONDS if cache_time is None else cache_time.nanoseconds
        self._static: dict[str, TransformStamped] = {}
        self._moving: dict[str, dict[int, TransformStamped]] = {}

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        self._static.pop(transform.child_frame_id, None)
        stamps = self._moving.setdefault(transform.child_frame_id, {})
        stamp = _nanoseconds(transform)
        if not stamps or stamp >= max(stamps) - self._cache_ns:
            stamps[stamp] = transform
        for old in [s for s in stamps if s < max(stamps) - self._cache_ns]:
            del stamps[old]

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        self._moving.pop(transform.child_frame_id, None)
        self._static[transform.child_frame_id] = transform

    def clear(self) -> None:
        for stamps in self._moving.values():
            stamps.clear()

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration | None = None
    ) -> TransformStamped:
        up, down = self._ancestors(source_frame), self._ancestors(target_frame)
        for frame, ancestors in ((target_frame, down), (source_frame, up)):
            if len(ancestors) == 1 and not self._is_parent(frame):
                raise LookupException(f'"{frame}" passed to lookupTransform does not exist.')
        common = next((frame for frame in up if frame in down), None)
        if common is None:
            raise ConnectivityException(
                f"Could not find a connection between '{target_frame}' and '{source_frame}'"
            )
        up, down = up[: up.index(common)], down[: down.index(common)]
        stamp = time.nanoseconds or self._newest_common([*up, *down])
        matrix = np.linalg.inv(self._chain(down, stamp)) @ self._chain(up, stamp)
        message = TransformStamped(child_frame_id=source_frame)
        message.header.frame_id = target_frame
        message.header.stamp = Time(nanoseconds=stamp).to_msg()
        t, r = message.transform.translation, message.transform.rotation
        t.x, t.y, t.z = matrix[:3, 3].tolist()
        r.x, r.y, r.z, r.w = Rotation.from_matrix(matrix[:3, :3]).as_quat().tolist()
        return message

    def _is_parent(self, frame: str) -> bool:
        moving = [next(iter(stamps.values())) for stamps in self._moving.values() if stamps]
        return any(m.header.frame_id == frame for m in (*moving, *self._static.values()))

    def _ancestors(self, frame: str) -> list[str]:
        frames = [frame]
        while True:
            if frames[-1] in self._static:
                frames.append(self._static[frames[-1]].header.frame_id)
            elif self._moving.get(frames[-1]):
                frames.append(next(iter(self._moving[frames[-1]].values())).header.frame_id)
            else:
                return frames

    def _newest_common(self, frames: list[str]) -> int:
        return min((max(self._moving[f]) for f in frames if f in self._moving), default=0)

    def _chain(self, frames: list[str], stamp: int) -> np.ndarray:
        matrix = np.eye(4)
        for frame in frames:
            matrix = self._matrix(frame, stamp) @ matrix
        return matrix

    def _matrix(self, frame: str, stamp: int) -> np.ndarray:
        if frame in self._static:
            return _matrix(self._static[frame])
        stamps = self._moving[frame]
        if not min(stamps) <= stamp <= max(stamps):
            when, what = ("future", "latest") if stamp > max(stamps) else ("past", "earliest")
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the {when}, the {what} data is another"
            )
        before, after = max(s for s in stamps if s <= stamp), min(s for s in stamps if s >= stamp)
        first, last = _matrix(stamps[before]), _matrix(stamps[after])
        if before == after:
            return first
        share = (stamp - before) / (after - before)
        matrix = (1 - share) * first + share * last
        turns = Rotation.from_matrix([first[:3, :3], last[:3, :3]])
        matrix[:3, :3] = Slerp([0, 1], turns)(share).as_matrix()
        return matrix


class TransformListener:
    def __init__(self, buffer: Buffer, node: Node, *, spin_thread: bool = False) -> None:
        from tf2_msgs.msg import TFMessage

        assert not spin_thread, "the stand-in has no thread"
        self.buffer, self.node = buffer, node
        self.group = ReentrantCallbackGroup()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf_sub = node.create_subscription(
            TFMessage, "/tf", self.callback, 100, callback_group=self.group
        )
        self.tf_static_sub = node.create_subscription(
            TFMessage, "/tf_static", self.static_callback, latched, callback_group=self.group
        )

    def unregister(self) -> None:
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)

    def callback(self, data: object) -> None:
        for transform in data.transforms:  # type: ignore[attr-defined]
            self.buffer.set_transform(transform, "default_authority")

    def static_callback(self, data: object) -> None:
        for transform in data.transforms:  # type: ignore[attr-defined]
            self.buffer.set_transform_static(transform, "default_authority")


def environment(folder: Path, before: dict[str, str]) -> dict[str, str]:
    """The environment of a process that finds this module as tf2_ros, as if ROS had brought it."""
    (folder / "tf2_ros.py").write_text("from helpers.tf2_ros_stand_in import *\n")
    index = folder / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "tf2_ros_py").touch()
    return before | {
        name: f"{folder}:{before.get(name, '')}".rstrip(":")
        for name in ("PYTHONPATH", "AMENT_PREFIX_PATH")
    }


def _nanoseconds(message: TransformStamped) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def _matrix(message: TransformStamped) -> np.ndarray:
    t, r = message.transform.translation, message.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([r.x, r.y, r.z, r.w]).as_matrix()
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix
