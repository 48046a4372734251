"""The lifecycle node: camera topics in, humans out. Run as `python -m stdformer_ros.ros.node`.

On configure, `HumanNode` builds the cameras' pipelines, the publishers and the transforms. While it
is active, a `Session` holds everything else.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from stdformer_ros.config import NodeSettings
from stdformer_ros.ros.inputs.transforms import TransformSource, open_transforms
from stdformer_ros.ros.log import Throttle, ThrottledLog
from stdformer_ros.ros.outputs.publishers import Outputs
from stdformer_ros.ros.parameters import (
    check_change,
    declare_parameters,
    read_parameters,
)
from stdformer_ros.ros.session import Session
from stdformer_ros.ros.worker import stop_requests

if TYPE_CHECKING:
    from stdformer_ros.multi_camera import MultiCameraPipeline

Build = Callable[[NodeSettings], "MultiCameraPipeline"]


def build(settings: NodeSettings) -> MultiCameraPipeline:
    """Build the cameras' pipelines as the settings say.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is wrong and what to do.
    """
    # Imported here and not above: the networks' libraries take seconds to import. During that time
    # the node could neither answer services nor be stopped.
    from stdformer_ros.multi_camera import build_multi_camera_pipeline

    return build_multi_camera_pipeline(settings.cameras, settings)


class HumanNode(LifecycleNode):
    """Publishes the humans in the newest images; see `Session`.

    Args:
        build: builds the pipelines on configure.
    """

    def __init__(self, build: Build = build) -> None:
        super().__init__("stdformer")
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._check_change)
        self.add_post_set_parameters_callback(self._apply_change)
        self._build = build
        # One lambda each: rclpy allows only one severity for each line of code that logs.
        self._log = ThrottledLog(
            warn=Throttle(lambda text: self.get_logger().warning(text)),
            error=Throttle(lambda text: self.get_logger().error(text)),
        )
        self._settings = NodeSettings()
        self._pipelines: MultiCameraPipeline | None = None
        self._outputs: dict[str, Outputs] = {}
        self._transforms: TransformSource | None = None
        self._session: Session | None = None

    def start(self) -> bool:
        """Configure and activate, if the parameter `autostart` is true.

        Returns:
            False if that failed.
        """
        if not self.get_parameter("autostart").value:
            return True
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Build the pipelines and the publishers."""
        try:
            self._settings = read_parameters(self)
            self._pipelines = self._build(self._settings)
            self._create_outputs(self._pipelines)
        # Any problem with models and files must end as a failed transition.
        except Exception as error:
            self._release()
            self.get_logger().error(f"cannot configure: {error}")
            self.get_logger().debug(traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
        self.get_logger().info(
            f"configured: {self._pipelines.estimator.name} on {self._settings.device}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to receive and process images."""
        result = super().on_activate(state)
        assert self._pipelines is not None
        self._pipelines.resume()
        self._session = Session(self, self._pipelines, self._outputs, self._settings, self._log)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop processing, free the device, remove everybody from RViz."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free models and publishers."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that raised an exception."""
        self._stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before the publishers are destroyed."""
        self._stop()
        super().destroy_node()

    def _stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
        if self._pipelines is not None:
            self._pipelines.rest()

    def _create_outputs(self, pipelines: MultiCameraPipeline) -> None:
        settings = self._settings
        if settings.target_frame:
            self._transforms = open_transforms(self)
        for camera in settings.cameras:
            self._outputs[camera] = Outputs(
                self, camera, pipelines.estimator, settings, self._transforms
            )

    def _release(self) -> None:
        outputs, self._outputs, self._pipelines = self._outputs, {}, None
        for output in outputs.values():
            output.destroy()
        transforms, self._transforms = self._transforms, None
        if transforms is not None:
            transforms.close()

    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        folders = self.get_parameter("file_folders").value
        pipelines = self._pipelines
        result = check_change(changes, pipelines is not None, folders)
        if pipelines is None or not result.successful:
            return result
        levels = {self._settings.mesh_level, *pipelines.estimator.mesh_levels}
        for change in changes:
            if change.name == "mesh_level" and change.value not in levels:
                reason = (
                    f"{pipelines.estimator.name} has meshes of {sorted(levels)} vertices, not "
                    f"{change.value}"
                )
                return SetParametersResult(successful=False, reason=reason)
        return result

    def _apply_change(self, changes: list[Parameter]) -> None:
        if self._pipelines is None:
            return
        self._settings = read_parameters(self)
        for output in self._outputs.values():
            output.settings = self._settings
        if self._session is not None:
            self._session.apply(self._settings)


def main(args: Sequence[str] | None = None, build: Build = build) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0, or 1 if the node could not start.
    """
    with stop_requests() as stop:
        arguments = None if args is None else list(args)
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
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
