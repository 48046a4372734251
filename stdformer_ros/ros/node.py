"""The lifecycle node: camera topics in, humans out. Run as `python -m stdformer_ros.ros.node`."""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stdformer_ros.ros.bad_input import BadInput, Throttle
from stdformer_ros.ros.diagnostics import Statistics, diagnostics
from stdformer_ros.ros.intake import Intake
from stdformer_ros.ros.outputs import Outputs
from stdformer_ros.ros.parameters import (
    Parameters,
    check_change,
    declare_parameters,
    read_parameters,
)
from stdformer_ros.ros.stopping import stop_requests
from stdformer_ros.ros.worker import NewestWorker
from stdformer_ros.types import Frame

if TYPE_CHECKING:
    from stdformer_ros.pipeline import Pipeline

NEWEST_IMAGE = QoSProfile(
    depth=1,
    reliability=qos_profile_sensor_data.reliability,
    durability=qos_profile_sensor_data.durability,
    history=qos_profile_sensor_data.history,
)

Build = Callable[[Parameters], "Pipeline"]


def build(parameters: Parameters) -> Pipeline:
    """The pipeline that the parameters ask for.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is wrong and what to do.
    """
    # Here and not above: the networks' libraries take seconds to import, in which the node could
    # neither answer nor be stopped.
    from stdformer_ros.pipeline import build_pipeline

    return build_pipeline(
        parameters.model,
        landmarks=parameters.landmarks,
        detect_every=parameters.detect_every,
        max_people=parameters.max_people,
        mesh_level=parameters.mesh_level,
        device=parameters.device,
        checkpoint=parameters.checkpoint or None,
        mesh_sampling=parameters.mesh_sampling or None,
        joint_regressor=parameters.joint_regressor or None,
        smpl=parameters.smpl or None,
    )


class HumanNode(LifecycleNode):
    """Publishes the humans of every image that it has time for.

    The executor's thread only stores the newest image; a `NewestWorker` checks it, runs the
    pipeline and publishes.

    Args:
        build: makes the pipeline on configure.
    """

    def __init__(self, build: Build = build) -> None:
        super().__init__("stdformer")
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._build = build
        # A lambda each: rclpy allows a place in the code only one severity.
        self._warn = Throttle(lambda text: self.get_logger().warning(text))
        self._error = Throttle(lambda text: self.get_logger().error(text))
        self._settings = Parameters()
        self._pipeline: Pipeline | None = None
        self._outputs: Outputs | None = None
        self._active: _Active | None = None

    def start(self) -> bool:
        """With `autostart`, configure and activate.

        Returns:
            False if that was asked for and has failed.
        """
        if not read_parameters(self).autostart:
            return True
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Build the pipeline and the publishers."""
        try:
            self._settings = read_parameters(self)
            self._pipeline = self._build(self._settings)
        # Whatever is wrong with models and files must end here as a failed transition.
        except Exception as error:
            self.get_logger().error(f"cannot configure: {error}")
            self.get_logger().debug(traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
        self._outputs = Outputs(self, self._pipeline.estimator, self._settings.publish_vertices)
        self.get_logger().info(
            f"configured: {self._pipeline.estimator.name} on {self._settings.device}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera."""
        result = super().on_activate(state)
        assert self._pipeline is not None
        assert self._outputs is not None
        self._pipeline.reset()
        self._outputs.announce()
        self._active = _Active(
            self, self._pipeline, self._outputs, self._settings, self._warn, self._error
        )
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and working, and take everybody out of RViz."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give models and publishers back."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that raised: back to unconfigured."""
        self._stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before the publishers go."""
        self._stop()
        super().destroy_node()

    def _stop(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.close()

    def _release(self) -> None:
        outputs, self._outputs, self._pipeline = self._outputs, None, None
        if outputs is not None:
            outputs.destroy()

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        return check_change(changes, configured=self._pipeline is not None)


class _Active:
    """What exists only while the node is active: subscriptions, timer, worker and their state."""

    def __init__(
        self,
        node: HumanNode,
        pipeline: Pipeline,
        outputs: Outputs,
        parameters: Parameters,
        warn: Throttle,
        error: Throttle,
    ) -> None:
        self._node = node
        self._pipeline = pipeline
        self._outputs = outputs
        self._settings = parameters
        self._warn = warn
        self._error = error
        self._statistics = Statistics()
        self._intake = Intake()
        self._intake_lock = Lock()
        self._says_assumed = True
        delay = pipeline.estimator.delay_frames
        self._recent: deque[tuple[Header, Frame]] = deque(maxlen=delay + 1)
        self._worker: NewestWorker[Image] = NewestWorker(self._process)
        self._camera_info = node.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, qos_profile_sensor_data
        )
        self._image = node.create_subscription(Image, "image", self._on_image, NEWEST_IMAGE)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Silence has to be noticed even if simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0, self._on_timer, clock=steady)

    def close(self) -> None:
        """Stop everything, the worker after its present frame."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._image)
        self._node.destroy_subscription(self._camera_info)
        self._worker.stop()
        self._outputs.clear()
        self._node.destroy_publisher(self._diagnostics)

    def _on_image(self, message: Image) -> None:
        self._statistics.image()
        self._worker.offer(message)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            with self._intake_lock:
                self._intake.take_camera_info(message)
        except BadInput as bad:
            self._warn(f"camera_info {bad.kind}", f"{self._camera_info.topic_name}: {bad}; ignored")

    def _process(self, message: Image) -> None:
        """In the worker's thread: one image, from bytes to published humans. Never raises."""
        try:
            with self._intake_lock:
                frame = self._intake.frame(message)
                jumped, self._intake.jumped = self._intake.jumped, False
        except BadInput as bad:
            self._statistics.rejected += 1
            self._warn(f"image {bad.kind}", f"{self._image.topic_name}: {bad}; frame dropped")
            return
        try:
            if jumped:
                self._pipeline.reset()
                self._recent.clear()
            self._say_if_assumed(frame)
            humans = self._pipeline(frame)
            # The answer is for the frame `delay_frames` ago, and is stamped so.
            self._recent.append((message.header, frame))
            header, answered = self._recent[0]
            self._outputs.publish(header, answered, humans)
            self._statistics.answer(len(humans), self._age(header))
        # One image must not end the node: say what happened and begin anew with the next one.
        except Exception as error:
            self._statistics.failed += 1
            self._pipeline.reset()
            self._recent.clear()
            self._error(
                f"{type(error).__name__}",
                f"{self._image.topic_name}: frame failed with {error!r}\n{traceback.format_exc()}",
            )

    def _say_if_assumed(self, frame: Frame) -> None:
        if not frame.camera.known and self._says_assumed:
            self._says_assumed = False
            self._node.get_logger().warning(
                f"no calibration on {self._camera_info.topic_name}: assuming a field of view of "
                "60 degrees, so distances are not measured (metric_depth is false)"
            )

    def _age(self, header: Header) -> float:
        return 1e-9 * (self._node.get_clock().now() - Time.from_msg(header.stamp)).nanoseconds

    def _on_timer(self) -> None:
        silence = self._statistics.silence()
        topic = self._image.topic_name
        if silence > self._settings.image_timeout:
            publishers = self._node.count_publishers(topic)
            self._warn(
                "silence", f"{topic}: no image for {silence:.1f} s ({publishers} publishers)"
            )
        self._diagnostics.publish(
            diagnostics(
                self._node.get_clock().now().to_msg(),
                self._node.get_fully_qualified_name(),
                self._statistics,
                self._worker.dropped,
                self._settings.image_timeout,
                {
                    "model": self._pipeline.estimator.name,
                    "device": self._settings.device,
                    "image topic": topic,
                },
            )
        )


def main(args: Sequence[str] | None = None, build: Build = build) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0, or 1 if the node could not start.
    """
    with stop_requests() as stop:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = HumanNode(build)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        started = node.start()
        while started and not stop.is_set():
            executor.spin_once(timeout_sec=0.2)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
    return 0 if started else 1


if __name__ == "__main__":
    sys.exit(main())
