"""For tests of the node: its process, and a client that is its camera and its subscriber."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from helpers.fake_pipeline import FILL
from helpers.paths import FAKE_NODE
from stdformer_ros.msg import BodyModel, HumanArray

PATIENCE = 60.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# The stamps of each client start later than those of all clients before it, as with one clock.
_STARTS = itertools.count(1000.0, 1000.0)


class NodeProcess:
    """The node in a process of its own; its output is kept.

    Args:
        log: the file for its output.
        script: the program; by default the node with the fake pipeline.
        parameters: of the node.
    """

    def __init__(self, log: Path, script: Path = FAKE_NODE, **parameters: object) -> None:
        command = [sys.executable, str(script), "--ros-args"]
        for topic in ("image", "camera_info", "depth"):
            command += ["-r", f"{topic}:=/camera/{topic}"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={str(value).lower() if value in (0, 1) else value}"]
        self._log = log
        self._file = log.open("wb")
        self.process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT)

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._file.close()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text()


class Client:
    """Publishes images and receives what the node publishes.

    Args:
        camera: name of the camera that it is, where the node has several.
    """

    def __init__(self, camera: str = "") -> None:
        self.node = rclpy.create_node(f"client_{camera}" if camera else "client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        sensor = qos_profile_sensor_data
        source = self._source = f"/{camera or 'camera'}"
        self._image = self.node.create_publisher(Image, f"{source}/image", sensor)
        self._info = self.node.create_publisher(CameraInfo, f"{source}/camera_info", sensor)
        self.heard: dict[str, list] = {}
        self._stamp = next(_STARTS)
        self._humans = f"/stdformer/{camera}/humans" if camera else "/stdformer/humans"
        self.listen(HumanArray, self._humans)

    def listen(self, kind: type, topic: str, qos: QoSProfile | int = 100) -> None:
        """Subscribe to a topic and keep every message in `heard`."""
        messages = self.heard.setdefault(topic, [])
        self.node.create_subscription(kind, topic, messages.append, qos)

    def listen_to_all(self) -> None:
        """Subscribe to every topic of the node."""
        self.listen(MarkerArray, "/stdformer/markers")
        self.listen(PoseArray, "/stdformer/joints")
        self.listen(PointCloud2, "/stdformer/joints_cloud")
        self.listen(Image, "/stdformer/overlay")
        self.listen(BodyModel, "/stdformer/body_model", LATCHED)
        self.listen(DiagnosticArray, "/diagnostics")

    @property
    def humans(self) -> list[HumanArray]:
        """Every HumanArray so far."""
        return self.heard[self._humans]

    def until(self, done: Callable[[], object], patience: float = PATIENCE) -> bool:
        """Spin until `done()`, for `patience` seconds at most."""
        end = time.monotonic() + patience
        while not done() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)
        return bool(done())

    def connect(self) -> None:
        """Wait until the active node and this client are connected, then forget all messages."""
        node = self.node
        assert self.until(lambda: self._image.get_subscription_count() > 0), "node not active"
        topics = [topic for topic in self.heard if topic != "/diagnostics"]
        assert self.until(lambda: all(node.count_publishers(topic) for topic in topics))
        # Each side has discovered the other now, but its messages may not reach the other yet.
        self.answer(0)
        self.until(lambda: False, 0.3)
        for messages in self.heard.values():
            messages.clear()

    def send(self, people: int = 1, fail: bool = False, hundredths: int = 0, **fields) -> Image:
        """Publish an image 1/30 s after the one before; `fields` replace those of the message."""
        self._stamp += 1 / 30
        pixels = np.full((48, 64, 3), FILL, np.uint8)
        pixels[0, 0] = people, 255 if fail else 0, hundredths
        message = Image(
            header=Header(stamp=stamp_of(self._stamp), frame_id="optical"),
            height=48,
            width=64,
            encoding="rgb8",
            step=192,
            data=pixels.tobytes(),
        )
        for name, value in fields.items():
            setattr(message, name, value)
        self._image.publish(message)
        return message

    def send_depth(self, metres: float, encoding: str = "16UC1", **fields) -> Image:
        """Publish a depth image of one distance, with the stamp of the newest image."""
        if not hasattr(self, "_depth"):
            self._depth = self.node.create_publisher(
                Image, f"{self._source}/depth", qos_profile_sensor_data
            )
            assert self.until(lambda: self._depth.get_subscription_count() > 0)
            self.until(lambda: False, 0.3)
        values = np.full((48, 64), metres, np.float32)
        if encoding == "16UC1":
            values = (1000 * values).astype(np.uint16)
        message = Image(
            header=Header(stamp=stamp_of(self._stamp), frame_id="optical"),
            height=48,
            width=64,
            encoding=encoding,
            step=values.strides[0],
            data=values.tobytes(),
        )
        for name, value in fields.items():
            setattr(message, name, value)
        self._depth.publish(message)
        return message

    def rewind(self) -> None:
        """Set the stamps back by ten seconds."""
        self._stamp -= 10.0

    def send_until(self, done: Callable[[], object], people: int = 1, **fields) -> list[Image]:
        """Send such images, of which best effort may lose some, until `done()`; return them."""
        sent = []
        end = time.monotonic() + PATIENCE
        while not done() and time.monotonic() < end:
            sent.append(self.send(people, **fields))
            self.until(done, 0.3)
        assert done(), "these images had no effect"
        return sent

    def answer(self, people: int = 1, **fields) -> HumanArray:
        """Send an image and return the node's answer to it."""
        before, newest = len(self.humans), stamp_of(self._stamp)

        def answered() -> bool:  # not to an earlier image, whose answer may still come
            stamps = [answer.header.stamp for answer in self.humans[before:]]
            return any((s.sec, s.nanosec) > (newest.sec, newest.nanosec) for s in stamps)

        sent = self.send_until(answered, people, **fields)
        assert self.humans[-1].header in [image.header for image in sent]
        return self.humans[-1]

    def send_info(self, fx: float = 60.0, fy: float = 60.0) -> None:
        """Publish intrinsics for the image's size and wait until they have arrived."""
        k = [fx, 0.0, 31.5, 0.0, fy, 23.5, 0.0, 0.0, 1.0]
        self._info.publish(CameraInfo(width=64, height=48, k=k))
        self.until(lambda: False, 0.3)

    def call(self, kind: type, service: str, request: object) -> object:
        """Call a service of the node."""
        client = self.node.create_client(kind, f"/stdformer/{service}")
        assert self.until(client.service_is_ready), f"no service {service}"
        # the service may not have discovered this client yet, and could not answer it
        self.until(lambda: False, 0.3)
        future = client.call_async(request)
        assert self.until(future.done), f"no answer from {service}"
        return future.result()

    def set_parameter(self, name: str, value: object) -> str:
        """Set a parameter of the node; returns why not, or nothing."""
        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        result = self.call(SetParameters, "set_parameters", request).results[0]
        return "" if result.successful else result.reason

    def transition(self, number: int) -> bool:
        """Ask for a lifecycle transition."""
        request = ChangeState.Request()
        request.transition.id = number
        return self.call(ChangeState, "change_state", request).success

    def state(self) -> str:
        """The name of the node's lifecycle state."""
        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def close(self) -> None:
        """Destroy the node."""
        self._executor.shutdown()
        self.node.destroy_node()


def stamp_of(seconds: float) -> Time:
    """Seconds as a stamp."""
    whole = int(seconds)
    return Time(sec=whole, nanosec=round(1e9 * (seconds - whole)))
