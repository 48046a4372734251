"""One camera of an active node: its subscriptions, checks, publishing and statistics.

An image's header travels as the frame's `source` and comes back with the answer.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from math import isfinite
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.config import NodeSettings
from stdformer_ros.hints import Absence
from stdformer_ros.ros.inputs.arrivals import Arrivals
from stdformer_ros.ros.inputs.intake import DepthIntake, Intake, nanoseconds
from stdformer_ros.ros.inputs.transform_buffer import TransformError
from stdformer_ros.ros.log import BadInput, ThrottledLog
from stdformer_ros.ros.outputs.diagnostics import Statistics, Thresholds, camera_status
from stdformer_ros.ros.outputs.publishers import OVERRIDABLE, Outputs
from stdformer_ros.types import Answer, Frame, Human

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

INFO_WAIT = 0.5
"""So long, in seconds, the first image waits for the first CameraInfo, if somebody publishes it."""
INFO_LAG = 0.05
"""So long, in seconds from its arrival, an image waits for the CameraInfo of its stamp, if the one
before it had such a CameraInfo: drivers publish it after the image, and it may tell of a zoom."""
UNSTAMPED = "image stamps are not set (0): the times of arrival are used"


class CameraStream:
    """Turns the messages of one camera into frames, and answers into messages; counts both.

    Args:
        node: whose subscriptions they are.
        camera: its name, which its topics begin with; empty if there is only one camera.
        outputs: publishes its humans.
        settings: the node's parameters.
        log: where warnings and errors go.
        offer: called with each image in the executor's thread.

    Attributes:
        settings: the node's parameters; the session replaces them when `live` ones change.
    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        outputs: Outputs,
        settings: NodeSettings,
        log: ThrottledLog,
        offer: Callable[[Image | CompressedImage], None],
    ) -> None:
        self.camera = camera
        self._node = node
        self._outputs = outputs
        self.settings = settings
        self._log = log
        self._offer = offer
        self._statistics = Statistics()
        self._absence = Absence(settings.rotate)
        self._intake = Intake(settings.rectified, self._warn_of_input)
        self._intake_lock = Lock()
        self._info_heard = Event()
        self._info_until: float | None = None  # monotonic; until then images wait for a CameraInfo
        self._infos: Arrivals[None] = Arrivals()
        self._stamp_ns = 0  # of the previous image
        self._depth: DepthIntake | None = None
        if settings.depth:
            self._depth = DepthIntake(settings.depth_tolerance, self._warn_of_input)
        self._said: set[str] = set()
        self._unstamped = False
        self._subscriptions: list[Subscription] = []
        self._latched = False
        prefix = f"{camera}/" if camera else ""
        self._image_topic = node.resolve_topic_name(f"{prefix}image")
        if settings.image_transport == "compressed":  # as image_transport names it
            self._image_topic += "/compressed"
        self._info_topic = node.resolve_topic_name(f"{prefix}camera_info")
        self._depth_topic = node.resolve_topic_name(f"{prefix}depth")
        self.listen()

    def listen(self) -> None:
        """Take images from now on."""
        self._statistics = Statistics()
        self._absence = Absence(self.settings.rotate)
        if self._intake.camera is None:
            self._info_heard.clear()
            self._info_until = None
        self._infos.open()
        kind = CompressedImage if self.settings.image_transport == "compressed" else Image
        self._subscribe(kind, self._image_topic, self._on_image, depth=1)
        self._subscribe(CameraInfo, self._info_topic, self._on_camera_info, depth=5)
        self.hear_latched_info()
        if self._depth is not None:
            self._depth.arrivals.open()
            self._subscribe(Image, self._depth_topic, self._on_depth, depth=5)

    def hear_latched_info(self) -> None:
        """Also hear a CameraInfo that was published once, before this node was there.

        A publisher may keep its last message for later subscribers (transient local). Only a
        reliable, transient local subscription gets that message, and it hears no other publishers;
        these would warn of it in their logs. So it comes in addition to the usual subscription, as
        soon as there is such a publisher. Call this in the executor's thread, now and then.
        """
        if self._latched or not self._subscriptions:
            return
        publishers = self._node.get_publishers_info_by_topic(self._info_topic)
        if any(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers):
            self._latched = True
            self._subscriptions.append(
                self._node.create_subscription(
                    CameraInfo,
                    self._info_topic,
                    self._on_camera_info,
                    QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
                    # or this node would warn of the other publishers
                    event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                )
            )

    def wait(self, message: Image | CompressedImage) -> None:
        """Wait, within bounds, for the CameraInfo and the depth of the newest image.

        `close` ends this at once.
        """
        if self._info_until is None:
            expected = self._node.count_publishers(self._info_topic) > 0
            self._info_until = time.monotonic() + (INFO_WAIT if expected else 0.0)
        self._info_heard.wait(max(0.0, self._info_until - time.monotonic()))
        arrived = time.monotonic() - self._statistics.silence()
        before, self._stamp_ns = self._stamp_ns, nanoseconds(message.header.stamp)
        if before in self._infos:
            self._infos.wait(self._stamp_ns, arrived + INFO_LAG)
        if self._depth is not None:
            self._depth.arrivals.wait(self._stamp_ns, arrived + self.settings.depth_wait)

    def read(self, message: Image | CompressedImage) -> Frame | None:
        """The image as a frame; None, with a warning, if it cannot be used."""
        try:
            depth = self._depth_at(message.header)
            with self._intake_lock:
                frame = self._intake.frame(message, depth)
        except BadInput as bad:
            self._statistics.bad_image(refused=True)
            self._warn(f"image {bad.kind}", f"{self._image_topic}: {bad}; frame dropped")
            return None
        self._warn_if_assumed(frame)
        return frame

    def publish(self, answer: Answer) -> None:
        """Publish the humans of a frame that was read here, with the header of its image."""
        frame, humans, header = answer.frame, answer.humans, answer.frame.source
        assert isinstance(header, Header)
        if hint := self._absence.after(len(humans)):
            self._warn("nobody", f"{self._image_topic}: {hint}")
        self._check_depth(frame, humans)
        try:
            self._outputs.publish(header, frame, humans)
        except TransformError as error:
            self._statistics.bad_image(refused=False)
            self._warn("transform", f"{error}; the people of this image are not published")
            return
        age = self._node.get_clock().now() - Time.from_msg(header.stamp)
        self._statistics.answer(len(humans), 1e-9 * age.nanoseconds)

    def fail(self, error: BaseException) -> None:
        """Log that an image could not be answered, and count it."""
        self._statistics.bad_image(refused=False)
        trace = "".join(traceback.format_exception(error))
        self._log.error(
            f"{self.camera} {type(error).__name__}",
            f"{self._image_topic}: frame failed with {error!r}\n{trace}",
        )

    def check_silence(self) -> None:
        """Warn if no image has come for `image_timeout` seconds, unless the camera is disabled."""
        if not self._subscriptions:
            return
        silence = self._statistics.silence()
        if silence > self.settings.image_timeout:
            topic = self._image_topic
            publishers = self._node.count_publishers(topic)
            self._warn(
                "silence", f"{topic}: no image for {silence:.1f} s ({publishers} publishers)"
            )

    def status(
        self, dropped: int, values: dict[str, str], restrictions: Sequence[str]
    ) -> DiagnosticStatus:
        """The camera's part of the diagnostics; see `camera_status` for the arguments."""
        settings = self.settings
        name = f"{self._node.get_fully_qualified_name()}: {self.camera or 'people'}"
        if not self._subscriptions:
            return DiagnosticStatus(
                level=DiagnosticStatus.OK, name=name, message="disabled by ~/enable"
            )
        thresholds = Thresholds(
            settings.image_timeout, settings.latency_warn, settings.latency_error, settings.min_fps
        )
        return camera_status(
            name,
            self._statistics,
            dropped,
            thresholds,
            {**values, "image topic": self._image_topic},
            [*restrictions, *([UNSTAMPED] if self._unstamped else [])],
        )

    def close(self) -> None:
        """Stop listening, and waiting."""
        self._info_heard.set()
        self._infos.close()
        if self._depth is not None:
            self._depth.arrivals.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._latched = False

    def clear(self) -> None:
        """Remove everybody from RViz and from the topics of REP-155."""
        self._outputs.clear()

    def _subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], depth: int
    ) -> None:
        profile = QoSProfile(
            depth=depth, reliability=ReliabilityPolicy[self.settings.image_reliability.upper()]
        )
        self._subscriptions.append(
            self._node.create_subscription(
                kind, topic, callback, profile, qos_overriding_options=OVERRIDABLE
            )
        )

    def _depth_at(self, header: Header) -> DepthImage | None:
        if self._depth is None:
            return None
        try:
            return self._depth.at(nanoseconds(header.stamp))
        except BadInput as bad:
            self._warn(f"depth {bad.kind}", f"{self._depth_topic}: {bad}; depth not used")
            return None

    def _check_depth(self, frame: Frame, humans: Sequence[Human]) -> None:
        for human in humans:
            depth = human.person.torso_depth
            if frame.depth is not None and isfinite(depth) and not human.body.measured_depth:
                self._warn(
                    "depth differs",
                    f"{self._depth_topic}: the torso of person {human.person.track_id} is at "
                    f"{depth:.2f} m in the depth image, but {human.body.joints[0, 2]:.2f} m are "
                    "estimated: depth not used; are its units right (16UC1 in mm, 32FC1 in m), "
                    "and is it aligned to the image?",
                )

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._statistics.image()
        if not self._info_heard.is_set() and self._info_until is None:  # the first image
            self.hear_latched_info()
        self._unstamped = self._stamp_if_missing(message.header)
        if self._unstamped:
            self._warn_once(
                "stamp",
                f"{self._image_topic}: header.stamp is never set (it is 0): the time of arrival is "
                "used, so latencies and the match with depth and /tf are less exact; set it in "
                "the driver",
            )
        self._offer(message)

    def _on_depth(self, message: Image) -> None:
        assert self._depth is not None
        self._stamp_if_missing(message.header)
        self._depth.take(message)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            with self._intake_lock:
                self._intake.take_camera_info(message)
        except BadInput as bad:
            self._warn(f"camera_info {bad.kind}", f"{self._info_topic}: {bad}; ignored")
        self._infos.take(nanoseconds(message.header.stamp), None)
        self._info_heard.set()

    def _stamp_if_missing(self, header: Header) -> bool:
        """Give a header without a stamp the time of now; whether it had none."""
        if nanoseconds(header.stamp):
            return False
        header.stamp = self._node.get_clock().now().to_msg()
        return nanoseconds(header.stamp) > 0  # simulated time may begin at 0

    def _warn(self, kind: str, text: str) -> None:
        self._log.warn(f"{self.camera} {kind}", text)

    def _warn_of_input(self, kind: str, text: str) -> None:
        topic = self._depth_topic if kind.startswith("depth") else self._info_topic
        self._warn(kind, f"{topic}: {text}")

    def _warn_once(self, kind: str, text: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._node.get_logger().warning(text)

    def _warn_if_assumed(self, frame: Frame) -> None:
        if not frame.camera.known and self._intake.camera is None:
            self._warn_once(
                "assumed",
                f"no calibration on {self._info_topic}: assuming a field of view of "
                "60 degrees, so distances are not measured (metric_depth is false)",
            )
