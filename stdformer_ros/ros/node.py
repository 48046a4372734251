"""The lifecycle node: camera topics in, humans out. Run as `python -m stdformer_ros.ros.node`.

On configure, `HumanNode` builds the cameras' pipelines, the publishers and the transforms. While it
is active, a `Session` holds everything else.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stdformer_ros.stopping import exit_on_signals, stop_requests

if __name__ == "__main__":  # the other imports take seconds
    exit_on_signals(0)

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from stdformer_ros.config import NodeSettings
from stdformer_ros.ros.adaptive_quality import possible_qualities
from stdformer_ros.ros.inputs.transforms import TransformSource, open_transforms
from stdformer_ros.ros.log import Throttle, ThrottledLog, cause
from stdformer_ros.ros.outputs.publishers import Outputs
from stdformer_ros.ros.parameters import (
    check_change,
    declare_parameters,
    fitting,
    read_parameters,
    unknown_parameters,
)
from stdformer_ros.ros.session import Session

if TYPE_CHECKING:
    from stdformer_ros.multi_camera import MultiCameraPipeline

Build = Callable[[NodeSettings], "MultiCameraPipeline"]

END_SECONDS = 0.5
"""Seconds for which a stopped node waits for the callback that runs, such as the loading of models,
which cannot be interrupted. Then the process ends without it."""


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

    Raises:
        ValueError: if a parameter does not allow the value that it was started with.
    """

    _session: Session | None = None  # `destroy_node` also runs if `__init__` has raised
    _pipelines: MultiCameraPipeline | None = None

    def __init__(self, build: Build = build) -> None:
        super().__init__("stdformer")
        declare_parameters(self)
        if unknown := unknown_parameters(self):
            self.get_logger().warning(unknown)
        self.add_pre_set_parameters_callback(fitting)
        self.add_on_set_parameters_callback(self._check_change)
        self.add_post_set_parameters_callback(self._apply_change)
        self._build = build
        # One lambda each: rclpy allows only one severity for each line of code that logs.
        self._log = ThrottledLog(
            warn=Throttle(lambda text: self.get_logger().warning(text)),
            error=Throttle(lambda text: self.get_logger().error(text)),
        )
        self._settings = NodeSettings()
        self._outputs: dict[str, Outputs] = {}
        self._transforms: TransformSource | None = None

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
        """Build the pipelines and the publishers; a failure leaves nothing behind."""
        try:
            with self._nothing_left():
                self._settings = read_parameters(self)
                self._pipelines = self._build(self._settings)
                self._load_networks(self._pipelines, self._settings)
                self._create_outputs(self._pipelines)
        # Any problem with models and files must end as a failed transition.
        except Exception as error:
            self._outputs, self._transforms, self._pipelines = {}, None, None
            self.get_logger().error(f"cannot configure: {cause(error)}")
            return TransitionCallbackReturn.FAILURE
        self.get_logger().info(
            f"configured: {self._pipelines.estimator.name} on {self._settings.device}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to receive and process images; a failure leaves nothing behind."""
        assert self._pipelines is not None
        result = super().on_activate(state)
        try:
            with self._nothing_left():
                self._pipelines.resume()
                self._session = Session(
                    self, self._pipelines, self._outputs, self._settings, self._log
                )
        except Exception as error:
            self.get_logger().error(f"cannot activate: {cause(error)}")
            super().on_deactivate(state)
            with self._logged("after that"):
                self._pipelines.rest()
            return TransitionCallbackReturn.FAILURE
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop processing, free the device, remove everybody from RViz."""
        with self._logged("deactivation"):
            self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free models and publishers."""
        with self._logged("clean-up"):
            self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self._end()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that raised an exception."""
        self._end()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before the publishers are destroyed."""
        with self._logged("stop"):
            self._stop()
        super().destroy_node()

    def report(self, error: Exception) -> None:
        """Log an exception of a callback."""
        self._log.error(f"callback {type(error).__name__}", f"a callback failed: {cause(error)}")

    def _end(self) -> None:
        with self._logged("stop"):
            self._stop()
        with self._logged("clean-up"):
            self._release()

    def _stop(self) -> None:
        session, self._session = self._session, None
        try:
            if session is not None:
                session.close()
        finally:
            if self._pipelines is not None:
                self._pipelines.rest()

    @contextmanager
    def _logged(self, what: str) -> Iterator[None]:
        """An exception in the `with` block is logged and ends there: rclpy would hide it."""
        try:
            yield
        except Exception as error:
            self.get_logger().error(f"{what} failed: {cause(error)}")

    @contextmanager
    def _nothing_left(self) -> Iterator[None]:
        """If the `with` block raises, what it has created on the node is destroyed."""
        kinds: dict[str, Callable[[Any], object]] = {
            "publishers": self.destroy_lifecycle_publisher,  # of other publishers too
            "subscriptions": self.destroy_subscription,
            "services": self.destroy_service,
            "clients": self.destroy_client,
            "timers": self.destroy_timer,
        }
        before = {kind: set(getattr(self, kind)) for kind in kinds}
        try:
            yield
        except BaseException:
            for kind, destroy in kinds.items():
                for created in set(getattr(self, kind)) - before[kind]:
                    destroy(created)
            raise

    def _load_networks(self, pipelines: MultiCameraPipeline, settings: NodeSettings) -> None:
        """Load what lower qualities need now: in the stream it would take time, and could fail."""
        for quality in possible_qualities(settings, pipelines.estimator.mesh_levels):
            pipelines.prepare_quality(quality)

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
        wanted = {change.name: change.value for change in changes}
        if wanted.get("mesh_level", self._settings.mesh_level) not in levels:
            return _refused(
                f"{pipelines.estimator.name} has meshes of {sorted(levels)} vertices, not "
                f"{wanted['mesh_level']}"
            )
        try:
            live = {name: wanted[name] for name in ("landmarks", "target_fps") if name in wanted}
            self._load_networks(pipelines, replace(self._settings, **live))
        except Exception as error:
            self.get_logger().error(cause(error))
            return _refused(cause(error).splitlines()[0])
        return result

    def _apply_change(self, changes: list[Parameter]) -> None:
        if self._pipelines is None:
            return
        with self._logged("change of parameters"):
            self._settings = read_parameters(self)
            for output in self._outputs.values():
                output.settings = self._settings
            if self._session is not None:
                self._session.apply(self._settings)


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


def main(args: Sequence[str] | None = None, build: Build = build) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0, or 1 if the node could not start.
    """
    with stop_requests() as stop:
        try:
            arguments = None if args is None else list(args)
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            node = HumanNode(build)
        # What rclpy and the node say about arguments, names and parameters.
        except (RuntimeError, NameValidationException, ParameterException, ValueError) as error:
            print(f"cannot start: {' '.join(str(error).split())}", file=sys.stderr)
            rclpy.try_shutdown()
            return 1
        # The main thread only waits for signals, so that no callback can delay the end.
        succeeded = threading.Event()
        callbacks = threading.Thread(
            target=_run, args=(node, stop, succeeded), name="executor", daemon=True
        )
        callbacks.start()
        stop.wait()
        callbacks.join(END_SECONDS)
    if callbacks.is_alive():
        os._exit(0)
    node.destroy_node()
    rclpy.shutdown()
    return 0 if succeeded.is_set() else 1


def _run(node: HumanNode, stop: threading.Event, succeeded: threading.Event) -> None:
    """Start the node and run its callbacks until `stop` is set; set it if the node cannot start."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not node.start():
            return
        while not stop.is_set():
            try:
                executor.spin_once(timeout_sec=0.1)
            except Exception as error:  # of a callback; the node goes on
                node.report(error)
        succeeded.set()
    finally:
        stop.set()
        executor.shutdown()


if __name__ == "__main__":
    sys.exit(main())
