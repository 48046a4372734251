"""What exists only while the node is active: cameras, worker, timer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stdformer_ros.config import NodeSettings
from stdformer_ros.postprocess.smoothing import one_euro_filter
from stdformer_ros.ros.adaptive_quality import AdaptiveQuality, wanted_quality
from stdformer_ros.ros.camera_stream import CameraStream
from stdformer_ros.ros.log import ThrottledLog, cause
from stdformer_ros.ros.outputs.publishers import Outputs
from stdformer_ros.ros.services import Services
from stdformer_ros.ros.worker import NewestWorker

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from stdformer_ros.multi_camera import MultiCameraPipeline
    from stdformer_ros.pipeline import Seen
    from stdformer_ros.types import Answer


class Session:
    """Listens to all cameras and answers them, from activation to deactivation.

    The executor's thread only stores the newest image of each camera. In a thread of its own, a
    `NewestWorker` checks these images, runs the pipelines on all of them at once, and publishes.

    An exception while an image is processed or the node reports about itself is logged, and costs
    at most that image: the session goes on with the next one.

    Args:
        node: whose subscriptions, publishers and timers they are.
        pipelines: one for each camera.
        outputs: the publishers of each camera, by the camera's name.
        settings: the node's parameters.
        log: where warnings and errors go.
    """

    def __init__(
        self,
        node: LifecycleNode,
        pipelines: MultiCameraPipeline,
        outputs: Mapping[str, Outputs],
        settings: NodeSettings,
        log: ThrottledLog,
    ) -> None:
        self._node = node
        self._pipelines = pipelines
        self._pipelines_lock = Lock()  # shared by the worker, parameter changes and services
        self._log = log
        self._settings = settings
        self._outputs = outputs
        self._enabled = True
        pipelines.velocity_seconds = settings.velocity_smoothing
        pipelines.use_filter(one_euro_filter(settings))
        self._quality = AdaptiveQuality(pipelines, settings, node.get_logger())
        self._streams: dict[str, CameraStream] = {}
        for camera in outputs:
            pipelines.reset(camera)
            outputs[camera].announce()
            self._streams[camera] = CameraStream(
                node,
                camera,
                outputs[camera],
                settings,
                log,
                offer=partial(self._offer, camera),
            )
        self._services = Services(node, self.reset, self.enable)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Silence has to be noticed even if simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0, self._on_timer, clock=steady)
        # Last, so that no thread is left if anything before raises.
        self._worker: NewestWorker[Image | CompressedImage] = NewestWorker(
            self._answer, partial(self._report, "the inference thread")
        )

    def close(self) -> None:
        """Stop everything; the worker first finishes the frames that it is processing.

        All is stopped, even if a part of it raises an exception; then that is raised at the end.
        """
        with ExitStack() as last_first:
            last_first.callback(self._node.destroy_publisher, self._diagnostics)
            for stream in self._streams.values():
                last_first.callback(stream.clear)
            last_first.callback(self._worker.stop)
            for stream in self._streams.values():
                last_first.callback(stream.close)
            last_first.callback(self._services.close)
            last_first.callback(self._node.destroy_timer, self._timer)

    def apply(self, settings: NodeSettings) -> None:
        """Use changed `live` parameters from now on."""
        before, self._settings = self._settings, settings
        for stream in self._streams.values():
            stream.settings = settings
        with self._pipelines_lock:
            self._pipelines.velocity_seconds = settings.velocity_smoothing
            self._pipelines.use_filter(one_euro_filter(settings))
            if (wanted_quality(settings), settings.target_fps) != (
                wanted_quality(before),
                before.target_fps,
            ):
                self._pipelines.use_quality(wanted_quality(settings))
                self._quality = AdaptiveQuality(self._pipelines, settings, self._node.get_logger())
                for output in self._outputs.values():
                    output.announce()

    def reset(self) -> None:
        """Forget everybody: windows, tracks and markers. Track ids continue to count."""
        with self._pipelines_lock:
            self._pipelines.forget()
            for stream in self._streams.values():
                stream.clear()

    def enable(self, wanted: bool) -> None:
        """Start or stop receiving images. Either way everybody is forgotten."""
        if wanted == self._enabled:
            return
        self._enabled = wanted
        for stream in self._streams.values():
            if wanted:
                stream.listen()
            else:
                stream.close()
        self.reset()

    def _offer(self, camera: str, image: Image | CompressedImage) -> None:
        self._worker.offer(camera, image)

    def _answer(self, images: dict[str, Image | CompressedImage]) -> None:
        """Process the newest image of each camera that has a new one, in the worker's thread."""
        # without the lock, because the executor's thread brings what is waited for
        for camera, image in images.items():
            with self._failing([camera]):
                self._streams[camera].wait(image)
        with self._pipelines_lock:
            if self._enabled:
                self._answer_round(images)

    def _answer_round(self, images: dict[str, Image | CompressedImage]) -> None:
        """Process images and publish the humans.

        An error in one camera's image does not stop the node or the other cameras.
        """
        began = time.monotonic()
        seen: dict[str, Seen] = {}
        for camera, image in images.items():
            with self._failing([camera]):
                frame = self._streams[camera].read(image)
                if frame is not None:
                    seen[camera] = self._pipelines.see(camera, frame)
        answers: dict[str, Answer] = {}
        with self._failing(seen):
            answers = self._pipelines.answer(seen)
        for camera, answer in answers.items():
            with self._failing([camera]):
                self._streams[camera].publish(answer)
        with self._reported("adaptive quality"):
            if seen and self._quality.frame(time.monotonic() - began):
                for output in self._outputs.values():
                    output.announce()

    @contextmanager
    def _failing(self, cameras: Iterable[str]) -> Iterator[None]:
        """An exception in the `with` block is these cameras' failure, and ends there.

        `BaseException`, because a library's `SystemExit` would end the worker's thread.
        """
        try:
            yield
        except BaseException as error:
            for camera in cameras:
                with self._reported(f"camera '{camera}'"):
                    self._streams[camera].fail(error)
                with self._reported(f"reset of camera '{camera}'"):
                    self._pipelines.reset(camera)

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """An exception in the `with` block is logged, and ends there."""
        try:
            yield
        except BaseException as error:
            self._report(what, error)

    def _report(self, what: str, error: BaseException) -> None:
        self._log.error(f"{what} {type(error).__name__}", f"{what} failed: {cause(error)}")

    def _on_timer(self) -> None:
        with self._reported("diagnostics"):
            self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        values = {"model": self._pipelines.estimator.name, "device": self._settings.device}
        values |= self._quality.settings()
        restrictions = self._quality.restrictions()
        status = []
        for camera, stream in self._streams.items():
            stream.hear_latched_info()
            stream.check_silence()
            status.append(stream.status(self._worker.dropped[camera], values, restrictions))
        stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(DiagnosticArray(header=Header(stamp=stamp), status=status))
