"""One camera of an active node: its messages in, its humans out, and how it is doing."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stdformer_ros.ros.bad_input import BadInput, Voice
from stdformer_ros.ros.diagnostics import Statistics, camera_status
from stdformer_ros.ros.intake import Intake
from stdformer_ros.ros.outputs import Outputs
from stdformer_ros.ros.parameters import Parameters
from stdformer_ros.types import Frame, Human

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

NEWEST_IMAGE = QoSProfile(
    depth=1,
    reliability=qos_profile_sensor_data.reliability,
    durability=qos_profile_sensor_data.durability,
    history=qos_profile_sensor_data.history,
)


class CameraStream:
    """Subscriptions, checks, answers and statistics of one camera.

    Args:
        node: whose subscriptions they are.
        camera: name of the camera, which its topics begin with; empty for the only one.
        outputs: where its humans go.
        settings: the node's parameters.
        voice: what says that something is wrong.
        offer: called with each image in the executor's thread.
    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        outputs: Outputs,
        settings: Parameters,
        voice: Voice,
        offer: Callable[[Image], None],
    ) -> None:
        self.camera = camera
        self._node = node
        self._outputs = outputs
        self._settings = settings
        self._voice = voice
        self._offer = offer
        self._statistics = Statistics()
        self._intake = Intake()
        self._intake_lock = Lock()
        self._says_assumed = True
        self._waiting: deque[tuple[Header, Frame]] = deque()
        prefix = f"{camera}/" if camera else ""
        self._camera_info = node.create_subscription(
            CameraInfo, f"{prefix}camera_info", self._on_camera_info, qos_profile_sensor_data
        )
        self._image = node.create_subscription(
            Image, f"{prefix}image", self._on_image, NEWEST_IMAGE
        )

    def read(self, message: Image) -> tuple[Frame, bool] | None:
        """The image as a frame, and whether it does not continue those before it.

        None if it cannot be used, which has been said then.
        """
        try:
            with self._intake_lock:
                frame = self._intake.frame(message)
                jumped, self._intake.jumped = self._intake.jumped, False
        except BadInput as bad:
            self._statistics.rejected += 1
            self._warn(f"image {bad.kind}", f"{self._image.topic_name}: {bad}; frame dropped")
            return None
        if jumped:
            self._waiting.clear()
        self._waiting.append((message.header, frame))
        self._say_if_assumed(frame)
        return frame, jumped

    def publish(self, answered: Frame, humans: Sequence[Human]) -> None:
        """The humans of a frame that was read, with the header of its image."""
        header, frame = self._waiting.popleft()
        while frame is not answered:
            header, frame = self._waiting.popleft()
        self._outputs.publish(header, frame, humans)
        age = self._node.get_clock().now() - Time.from_msg(header.stamp)
        self._statistics.answer(len(humans), 1e-9 * age.nanoseconds)

    def fail(self, error: Exception) -> None:
        """Say that an image could not be answered, and begin anew with the next one."""
        self._statistics.failed += 1
        self._waiting.clear()
        trace = "".join(traceback.format_exception(error))
        self._voice.error(
            f"{self.camera} {type(error).__name__}",
            f"{self._image.topic_name}: frame failed with {error!r}\n{trace}",
        )

    def check_silence(self) -> None:
        """Warn if no image has come for long."""
        silence = self._statistics.silence()
        if silence > self._settings.image_timeout:
            topic = self._image.topic_name
            publishers = self._node.count_publishers(topic)
            self._warn(
                "silence", f"{topic}: no image for {silence:.1f} s ({publishers} publishers)"
            )

    def status(
        self, dropped: int, values: dict[str, str], restrictions: Sequence[str]
    ) -> DiagnosticStatus:
        """How this camera is doing; see `camera_status` for the arguments."""
        return camera_status(
            f"{self._node.get_fully_qualified_name()}: {self.camera or 'people'}",
            self._statistics,
            dropped,
            self._settings.image_timeout,
            {**values, "image topic": self._image.topic_name},
            restrictions,
        )

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._image)
        self._node.destroy_subscription(self._camera_info)

    def clear(self) -> None:
        """Take everybody out of RViz."""
        self._outputs.clear()

    def _on_image(self, message: Image) -> None:
        self._statistics.image()
        self._offer(message)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            with self._intake_lock:
                self._intake.take_camera_info(message)
        except BadInput as bad:
            self._warn(f"camera_info {bad.kind}", f"{self._camera_info.topic_name}: {bad}; ignored")

    def _warn(self, kind: str, text: str) -> None:
        self._voice.warn(f"{self.camera} {kind}", text)

    def _say_if_assumed(self, frame: Frame) -> None:
        if not frame.camera.known and self._says_assumed:
            self._says_assumed = False
            self._node.get_logger().warning(
                f"no calibration on {self._camera_info.topic_name}: assuming a field of view of "
                "60 degrees, so distances are not measured (metric_depth is false)"
            )
