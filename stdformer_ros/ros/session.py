"""What exists only while the node is active: cameras, worker, timer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stdformer_ros.config import NodeSettings
from stdformer_ros.postprocess.one_euro import one_euro_filter
from stdformer_ros.ros.adaptive_quality import AdaptiveQuality, wanted_quality
from stdformer_ros.ros.bad_input import Voice
from stdformer_ros.ros.camera_stream import CameraStream
from stdformer_ros.ros.outputs.publishers import Outputs
from stdformer_ros.ros.services import Services
from stdformer_ros.ros.worker import NewestWorker

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from stdformer_ros.multi_camera import Rig


class Session:
    """Listens to all cameras and answers them, from activation to deactivation.

    The executor's thread only stores the newest image of each camera; a `NewestWorker` checks
    them, asks the rig for the people of all of them at once, and publishes.

    Args:
        node: whose subscriptions, publishers and timers they are.
        rig: who answers.
        outputs: of each camera.
        settings: the node's parameters.
        voice: what says that something is wrong.
    """

    def __init__(
        self,
        node: LifecycleNode,
        rig: Rig,
        outputs: Mapping[str, Outputs],
        settings: NodeSettings,
        voice: Voice,
    ) -> None:
        self._node = node
        self._rig = rig
        self._settings = settings
        self._outputs = outputs
        self._enabled = True
        rig.velocity_seconds = settings.velocity_smoothing
        rig.use_filter(one_euro_filter(settings))
        self._rig_lock = Lock()
        self._quality = AdaptiveQuality(rig, settings, node.get_logger())
        self._worker: NewestWorker[Image | CompressedImage] = NewestWorker(self._answer)
        self._streams: dict[str, CameraStream] = {}
        for camera in outputs:
            rig.reset(camera)
            outputs[camera].announce()
            self._streams[camera] = CameraStream(
                node,
                camera,
                outputs[camera],
                settings,
                voice,
                offer=lambda image, camera=camera: self._worker.offer(camera, image),
            )
        self._services = Services(node, self.reset, self.enable)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Silence has to be noticed even if simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0, self._on_timer, clock=steady)

    def close(self) -> None:
        """Stop everything, the worker after its present frames."""
        self._node.destroy_timer(self._timer)
        self._services.close()
        for stream in self._streams.values():
            stream.close()
        self._worker.stop()
        for stream in self._streams.values():
            stream.clear()
        self._node.destroy_publisher(self._diagnostics)

    def apply(self, settings: NodeSettings) -> None:
        """Go on with other `live` parameters."""
        before, self._settings = self._settings, settings
        for stream in self._streams.values():
            stream.settings = settings
        with self._rig_lock:
            self._rig.velocity_seconds = settings.velocity_smoothing
            self._rig.use_filter(one_euro_filter(settings))
            if (wanted_quality(settings), settings.target_fps) != (
                wanted_quality(before),
                before.target_fps,
            ):
                self._rig.use_quality(wanted_quality(settings))
                self._quality = AdaptiveQuality(self._rig, settings, self._node.get_logger())
                for output in self._outputs.values():
                    output.announce()

    def reset(self) -> None:
        """Forget everybody: windows, identities (which go on counting), markers."""
        with self._rig_lock:
            self._rig.forget()
            for stream in self._streams.values():
                stream.clear()

    def enable(self, wanted: bool) -> None:
        """Take images, or none. What was remembered of people is forgotten in between."""
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
        """In the worker's thread: one round."""
        with self._rig_lock:
            if self._enabled:
                self._answer_round(images)

    def _answer_round(self, images: dict[str, Image | CompressedImage]) -> None:
        """From images to published humans. Never raises.

        One camera's bad image must cost neither the node nor the other cameras anything.
        """
        began = time.monotonic()
        frames, seen = {}, {}
        for camera, image in images.items():
            stream = self._streams[camera]
            try:
                read = stream.read(image)
                if read is None:
                    continue
                frames[camera], jumped = read
                if jumped:
                    self._rig.reset(camera)
                seen[camera] = self._rig.see(camera, frames[camera])
            except Exception as error:
                self._fail(camera, error)
        try:
            answers = self._rig.answer(seen)
        except Exception as error:
            for camera in seen:
                self._fail(camera, error)
            return
        for camera, humans in answers.items():
            answered = self._rig.answered(camera)
            if answered is None:
                continue  # the first frames of a delay
            try:
                self._streams[camera].publish(answered, humans)
            except Exception as error:
                self._fail(camera, error)
        if answers and self._quality.frame(time.monotonic() - began):
            for output in self._outputs.values():
                output.announce()

    def _fail(self, camera: str, error: Exception) -> None:
        self._rig.reset(camera)
        self._streams[camera].fail(error)

    def _on_timer(self) -> None:
        values = {"model": self._rig.estimator.name, "device": self._settings.device}
        values |= self._quality.settings()
        restrictions = self._quality.restrictions()
        status = []
        for camera, stream in self._streams.items():
            stream.check_silence()
            status.append(stream.status(self._worker.dropped[camera], values, restrictions))
        stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(DiagnosticArray(header=Header(stamp=stamp), status=status))
