"""The transforms between coordinate frames, from /tf and /tf_static.

The node asks a `TransformSource`; `open_transforms` chooses which one:

- `Tf2Transforms`, over the buffer of tf2_ros, where ROS 2's tf2_ros is installed;
- `OwnTransforms`, over our own `TransformBuffer`, where it is not, because no Python wheel contains
  tf2_ros. It needs only the messages of tf2_msgs.

Both behave the same for the node. A lookup never waits. It interpolates between the two transforms
around the image's time. If the image is newer than the newest transform by at most AHEAD_SECONDS,
the motion of the MOTION_SECONDS before that transform is continued. When the time goes back, for
example because a bag is played in a loop, the buffer is emptied.
"""

from __future__ import annotations

import os
import re
from typing import Any, Protocol

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from stdformer_ros.ros.inputs.intake import nanoseconds
from stdformer_ros.ros.inputs.transform_buffer import (
    BACK_SECONDS,
    MOTION_SECONDS,
    Transform,
    TransformBuffer,
    TransformError,
    extrapolated,
    is_valid,
    transform_of,
)

PERSON_FRAME = re.compile(r"(.+_)?human_\d+(_.+)?|body_b\d+")
"""The names of the frames that this node, or another node like it, publishes for people."""


class TransformSource(Protocol):
    """What the node needs to know about transforms."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """From coordinates of `source` to those of `target` at a time, without waiting.

        For a time that is at most AHEAD_SECONDS after the newest transform it is extrapolated; if
        the motion before that transform is not known, the newest transform is used.

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
        if PERSON_FRAME.fullmatch(child.lstrip("/")) or not is_valid(transform):
            return
        stamp_ns = nanoseconds(transform.header.stamp)
        if self._newest_ns.get(child, stamp_ns) - stamp_ns > 1e9 * BACK_SECONDS:
            self._buffer.clear()  # keeps the static transforms
            self._newest_ns.clear()
        self._newest_ns[child] = max(stamp_ns, self._newest_ns.get(child, stamp_ns))
        self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Give a transform of /tf_static to the buffer."""
        if is_valid(transform):
            self._buffer.set_transform_static(transform, authority)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """See `TransformSource`."""
        try:
            try:
                return self._at(target, source, stamp_ns)
            except self._tf2_ros.ExtrapolationException:
                message = self._buffer.lookup_transform(target, source, Time())  # the newest
        except self._tf2_ros.TransformException as error:
            raise TransformError(
                f"no transform connects '{source}' to '{target}': {error}"
            ) from error
        newest_ns = nanoseconds(message.header.stamp)

        def before() -> Transform | None:
            try:
                return self._at(target, source, newest_ns - int(1e9 * MOTION_SECONDS))
            except self._tf2_ros.TransformException:
                return None

        names = f"'{source}' to '{target}'"
        return extrapolated(transform_of(message), before, 1e-9 * (stamp_ns - newest_ns), names)

    def close(self) -> None:
        """See `TransformSource`."""
        self._listener.unregister()

    def _at(self, target: str, source: str, stamp_ns: int) -> Transform:
        # For tf2 the time 0 means the newest transform.
        when = Time(nanoseconds=max(stamp_ns, 1))
        return transform_of(self._buffer.lookup_transform(target, source, when))


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
