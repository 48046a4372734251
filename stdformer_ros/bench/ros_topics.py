"""The overhead of ROS, measured over real topics, and the behaviour of the node under overload.

`python -m stdformer_ros.bench.ros_topics overhead FILM.npy JSON` times the node without its models,
and the mesh markers. FILM is (N, 480, 640, 3) uint8 RGB of one person.

`python -m stdformer_ros.bench.ros_topics overload PICTURE JSON` lets a camera process publish the
picture 60 times per second while the models take at least 80 ms per image: the latency must stay
near the time for one image.

Both write their figures to the file JSON. This file has first what they share, the node's process
and a client that publishes images and receives the answers, then one function for each measurement.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from stdformer_ros.bench.pipeline import back_and_forth
from stdformer_ros.bench.timing import Figures, resident_bytes
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.msg import HumanArray
from stdformer_ros.ros.outputs.markers import MeshMarkerWriter, mesh_marker
from stdformer_ros.ros.outputs.messages import rgb_message
from stdformer_ros.types import ImageArray

PROGRAMS = [sys.executable, "-m", "stdformer_ros.bench.ros_programs"]
REMAPPED = ["--ros-args", "-r", "image:=/bench/image", "-r", "camera_info:=/bench/camera_info"]
STARTING = 120.0
"""Seconds in which the node must become active."""

WARM_UP_FRAMES, FRAMES = 30, 150
MARKERS = 15

HERTZ = 60.0
MODEL_SECONDS = 0.08
SECONDS = 16.0
WARM_UP = 0.25
"""Fraction of the overload run that is not counted."""


class BenchError(RuntimeError):
    """Nothing could be measured; the message says why."""


@dataclass(frozen=True)
class Timing:
    """The times of one image in the node.

    Attributes:
        transport: seconds from the image's stamp until the middleware received it for the node.
        models: seconds that the models took.
    """

    transport: float
    models: float


class NodeProcess:
    """The node with a stopwatch in a process of its own, see `ros_programs`.

    Args:
        log: the file that the node writes its times to.
        seconds: the least time that the models take for an image.

    Attributes:
        pid: id of the process.
    """

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        command = [*PROGRAMS, "node", str(log), str(seconds), *REMAPPED, "-p", "autostart:=true"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.pid = self._process.pid
        self._log = log

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def check(self) -> None:
        """Make sure that the process runs.

        Raises:
            BenchError: if it has ended.
        """
        if self._process.poll() is not None:
            raise BenchError(f"the node ended with code {self._process.returncode}")

    def timings(self) -> dict[int, Timing]:
        """The times of each image answered so far, by its stamp in whole microseconds."""
        lines = map(str.split, self._log.read_text().splitlines())
        return {
            round(int(stamp) / 1e3): Timing(1e-9 * (int(arrival) - int(stamp)), float(models))
            for stamp, arrival, models in lines
        }


class Client:
    """Publishes images and receives the answers.

    Attributes:
        latencies: seconds from stamp to arrival of each HumanArray, by its stamp in microseconds.
        people: in the newest HumanArray.
        dropped: number of frames that the node reports as dropped.
    """

    def __init__(self) -> None:
        self.node = rclpy.create_node("bench_client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "/bench/image", qos_profile_sensor_data)
        self.node.create_subscription(HumanArray, "/stdformer/humans", self._on_humans, 100)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.latencies: dict[int, float] = {}
        self.people = 0
        self.dropped = 0

    def until(self, done: Callable[[], object], seconds: float) -> bool:
        """Spin until `done()` is true or the time is over; returns whether it is true."""
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return bool(done())

    def spin(self, seconds: float) -> None:
        """Receive messages for so many seconds."""
        self.until(lambda: False, seconds)

    def wait_for(self, process: NodeProcess) -> None:
        """Wait until the node subscribes to images and publishes humans.

        Raises:
            BenchError: if that takes too long.
        """

        def active() -> bool:
            process.check()
            return (
                self.images.get_subscription_count() > 0
                and self.node.count_publishers("/stdformer/humans") > 0
            )

        if not self.until(active, STARTING):
            raise BenchError(f"the node was not active after {STARTING:.0f} s")
        self.spin(0.5)

    def send(self, message: Image) -> int:
        """Publish an image that is stamped with the current time; returns it in microseconds."""
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.images.publish(message)
        return microseconds(message.header.stamp)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def _on_humans(self, message: HumanArray) -> None:
        stamp = message.header.stamp
        now = self.node.get_clock().now().nanoseconds
        then = stamp.sec * 1_000_000_000 + stamp.nanosec
        self.latencies[microseconds(stamp)] = 1e-9 * (now - then)
        self.people = len(message.humans)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            for item in status.values:
                if item.key == "frames dropped for newer ones":
                    self.dropped = int(item.value)


def microseconds(stamp: Time) -> int:
    """A stamp in whole microseconds; seconds as a float64 are exact enough for them."""
    return round((stamp.sec * 1_000_000_000 + stamp.nanosec) / 1e3)


def measure_overhead(path: Path) -> Figures:
    """Overhead of the node at 640x480 and at 1920x1080, and the cost of mesh markers.

    Args:
        path: file of the film, see the top of the file.

    Raises:
        BenchError: if too few images were answered.
    """
    film: ImageArray = np.load(path)
    large = [np.asarray(cv2.resize(image, (1920, 1080)), np.uint8) for image in film[:30]]
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            f"node_overhead_{key}": value
            for key, value in overhead(list(film), Path(folder) / "vga").items()
        }
        figures |= {
            f"node_overhead_1080p_{key}": value
            for key, value in overhead(large, Path(folder) / "1080p").items()
        }
    return figures | marker_costs()


def overhead(film: list[ImageArray], log: Path) -> Figures:
    """The time from image to HumanArray without the models' time, in milliseconds.

    An image is sent when the one before it has been answered.

    Args:
        film: images (H, W, 3) uint8 RGB of one person.
        log: file for the node's times.

    Returns:
        `ms` and `p99_ms`, median and 99th percentile from the image's arrival in the node's
        process, by the middleware's clock, to the HumanArray's arrival here; `with_transport_ms`,
        the median from `publish(image)`.
    """
    client = Client()
    try:
        with NodeProcess(log) as process:
            client.wait_for(process)
            stamps = []
            for i in range(WARM_UP_FRAMES + FRAMES):
                message = rgb_message(Header(frame_id="bench"), back_and_forth(film, i))
                stamp = client.send(message)
                client.until(lambda stamp=stamp: stamp in client.latencies, 1.0)  # type: ignore[misc]
                process.check()
                stamps.append(stamp)
            timings = process.timings()
        answered = [
            (client.latencies[s], timings[near])
            for s in stamps[WARM_UP_FRAMES:]
            if s in client.latencies
            for near in (s - 1, s, s + 1)  # a stamp as float seconds may be rounded either way
            if near in timings
        ]
        if len(answered) < FRAMES // 2 or client.people != 1:
            raise BenchError(f"{len(answered)} of {FRAMES} images answered, {client.people} people")
        with_transport = np.array([1e3 * (latency - t.models) for latency, t in answered])
        rest = with_transport - [1e3 * t.transport for _, t in answered]
        return {
            "ms": float(np.median(rest)),
            "p99_ms": float(np.percentile(rest, 99)),
            "with_transport_ms": float(np.median(with_transport)),
        }
    finally:
        client.close()


def marker_costs() -> Figures:
    """Milliseconds to publish one full mesh as a marker: our writer, and one Point at a time.

    It is the CPU time of this thread. The slow way takes so long that a busy machine would
    interrupt it many times and the fast way never, which would distort wall-clock times.
    """
    body = BodyModel()
    vertices, faces = body.template.numpy(), body.faces
    node = rclpy.create_node("bench_markers")
    publisher = node.create_publisher(MarkerArray, "markers", 5)
    node.create_subscription(MarkerArray, "markers", lambda _: None, 5)
    header = Header(frame_id="bench")
    writer = MeshMarkerWriter("bench", faces)
    ways: dict[str, Callable[[], None]] = {
        "ours": lambda: publisher.publish(writer.write(header.stamp, 1, vertices)),
        "naive": lambda: publisher.publish(
            MarkerArray(markers=[mesh_marker(header, 1, vertices, faces)])
        ),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(MARKERS):
        for name, way in ways.items():
            began = time.thread_time()
            way()
            took[name].append(1e3 * (time.thread_time() - began))
    node.destroy_node()
    ours, naive = (float(np.median(took[name])) for name in ("ours", "naive"))
    return {"mesh_publish_ms_per_person": ours, "mesh_publish_speedup": naive / ours}


def measure_overload(picture: Path) -> Figures:
    """Latency relative to the processing time, growth of memory, and dropped frames.

    Raises:
        BenchError: if too few images were answered.
    """
    client = Client()
    try:
        with tempfile.TemporaryDirectory() as folder:
            with NodeProcess(Path(folder) / "log", MODEL_SECONDS) as process:
                client.wait_for(process)
                command = [*PROGRAMS, "camera", str(picture), str(HERTZ), str(SECONDS), *REMAPPED]
                camera = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                client.until(lambda: len(client.latencies) > 0, 30.0)
                client.spin(WARM_UP * SECONDS)
                earlier, memory = set(client.latencies), resident_bytes(process.pid)
                client.until(lambda: camera.poll() is not None, SECONDS + 30.0)
                process.check()
                grown = resident_bytes(process.pid) / memory - 1.0
                client.spin(1.5)  # for the last diagnostics
                took = [t.models for t in process.timings().values()][len(earlier) :]
            output, _ = camera.communicate()
        if len(output.split()) != 2:
            raise BenchError("the camera failed")
        published = int(output.split()[0])
        latencies = [v for stamp, v in client.latencies.items() if stamp not in earlier]
        if len(latencies) < 10:
            raise BenchError(f"only {len(latencies)} of {published} images were answered")
        processing = float(np.median(took))
        latest = float(np.percentile(latencies, 99))
        return {
            "overload_latency_over_processing": latest / processing,
            "overload_latency_p99_ms": 1e3 * latest,
            "overload_processing_ms": 1e3 * processing,
            "overload_resident_growth": grown,
            "overload_published": float(published),
            "overload_answered": float(len(client.latencies)),
            "overload_dropped": float(client.dropped),
        }
    finally:
        client.close()


MEASUREMENTS = {"overhead": measure_overhead, "overload": measure_overload}


def main(arguments: list[str]) -> int:
    """Measure and write the JSON file; see the top of the file for the arguments."""
    name, source, result = arguments
    rclpy.init(args=[])
    try:
        figures = MEASUREMENTS[name](Path(source))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.shutdown()
    Path(result).write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
