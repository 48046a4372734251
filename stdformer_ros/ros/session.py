"""What exists only while the node is active: cameras, worker, timer."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
from stdformer_ros.ros.log import ThrottledLog
from stdformer_ros.ros.outputs.publishers import Outputs
from stdformer_ros.ros.services import Services
from stdformer_ros.ros.worker import NewestWorker

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from stdformer_ros.multi_camera import MultiCameraPipeline
    from stdformer_ros.pipeline import Seen


class Session:
    """Listens to all cameras and answers them, from activation to deactivation.

    The executor's thread only stores the newest image of each camera. In a thread of its own, a
    `NewestWorker` checks these images, runs the pipelines on all of them at once, and publishes.

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
        self._settings = settings
        self._outputs = outputs
        self._enabled = True
        pipelines.velocity_seconds = settings.velocity_smoothing
        pipelines.use_filter(one_euro_filter(settings))
        self._quality = AdaptiveQuality(pipelines, settings, node.get_logger())
        self._worker: NewestWorker[Image | CompressedImage] = NewestWorker(self._answer)
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
                offer=partial(self._worker.offer, camera),
            )
        self._services = Services(node, self.reset, self.enable)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Silence has to be noticed even if simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0, self._on_timer, clock=steady)

    def close(self) -> None:
        """Stop everything; the worker first finishes the frames that it is processing."""
        self._node.destroy_timer(self._timer)
        self._services.close()
        for stream in self._streams.values():
            stream.close()
        self._worker.stop()
        for stream in self._streams.values():
            stream.clear()
        self._node.destroy_publisher(self._diagnostics)

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

    def _answer(self, images: dict[str, Image | CompressedImage]) -> None:
        """Process the newest image of each camera that has a new one, in the worker's thread."""
        # without the lock, because the executor's thread brings what is waited for
        for camera, image in images.items():
            self._streams[camera].wait(image)
        with self._pipelines_lock:
            if self._enabled:
                self._answer_round(images)

    def _answer_round(self, images: dict[str, Image | CompressedImage]) -> None:
        """Process images and publish the humans. Never raises.

        An error in one camera's image does not stop the node or the other cameras.
        """
        began = time.monotonic()
        seen: dict[str, Seen] = {}
        for camera, image in images.items():
            try:
                frame = self._streams[camera].read(image)
                if frame is not None:
                    seen[camera] = self._pipelines.see(camera, frame)
            except Exception as error:
                self._fail(camera, error)
        try:
            answers = self._pipelines.answer(seen)
        except Exception as error:
            for camera in seen:
                self._fail(camera, error)
            return
        for camera, answer in answers.items():
            try:
                self._streams[camera].publish(answer)
            except Exception as error:
                self._fail(camera, error)
        if seen and self._quality.frame(time.monotonic() - began):
            for output in self._outputs.values():
                output.announce()

    def _fail(self, camera: str, error: Exception) -> None:
        self._pipelines.reset(camera)
        self._streams[camera].fail(error)

    def _on_timer(self) -> None:
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
