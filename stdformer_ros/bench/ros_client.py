"""What the benchmarks over topics share: the node's process, and somebody who hears its answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from stdformer_ros.msg import HumanArray

REMAPPED = ["--ros-args", "-r", "image:=/bench/image", "-r", "camera_info:=/bench/camera_info"]
STARTING = 120.0
"""Seconds in which a node has to become active."""


class BenchError(RuntimeError):
    """Nothing could be measured."""


@dataclass(frozen=True)
class Timing:
    """Of one image in the node.

    Attributes:
        transport: seconds from its stamp until the middleware had it for the node.
        models: seconds that the models took.
    """

    transport: float
    models: float


class NodeProcess:
    """`bench_node` in a process of its own; see there for the arguments.

    Attributes:
        pid: of the process.
    """

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        command = [sys.executable, "-m", "stdformer_ros.bench.ros_node", str(log), str(seconds)]
        command += [*REMAPPED, "-p", "autostart:=true"]
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
        """See that it runs.

        Raises:
            BenchError: if it has ended.
        """
        if self._process.poll() is not None:
            raise BenchError(f"the node ended with code {self._process.returncode}")

    def timings(self) -> dict[int, Timing]:
        """What is known of each image answered so far, by its stamp in whole microseconds."""
        lines = map(str.split, self._log.read_text().splitlines())
        return {
            round(int(stamp) / 1e3): Timing(1e-9 * (int(arrival) - int(stamp)), float(models))
            for stamp, arrival, models in lines
        }

    def resident_bytes(self) -> int:
        """Its resident memory (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return 1024 * int(line.split()[1])


class Client:
    """Publishes images and hears what is said of them.

    Attributes:
        latencies: seconds from stamp to arrival of each HumanArray, by its stamp in microseconds.
        people: in the newest HumanArray.
        dropped: frames that the node says it has dropped.
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

    def until(self, done: Callable[[], object], patience: float) -> bool:
        """Spin until `done()` or the patience ends."""
        end = time.monotonic() + patience
        while not done() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return bool(done())

    def wait_for(self, process: NodeProcess) -> None:
        """Until the node listens to images and publishes humans.

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
        self.until(lambda: False, 0.5)

    def send(self, message: Image) -> int:
        """Publish it with the present time as stamp, which is returned in microseconds."""
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.images.publish(message)
        return microseconds(message.header.stamp)

    def close(self) -> None:
        """Leave."""
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


def run_bench(measure: Callable[[Path], dict[str, float]], arguments: list[str]) -> int:
    """A benchmark as a program: from its input's file to a JSON file of figures."""
    rclpy.init(args=[])
    try:
        figures = measure(Path(arguments[0]))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.shutdown()
    Path(arguments[1]).write_text(json.dumps(figures))
    return 0


def microseconds(stamp: object) -> int:
    """A builtin_interfaces/Time; seconds as a float64 still tell microseconds apart."""
    return round((stamp.sec * 1_000_000_000 + stamp.nanosec) / 1e3)  # type: ignore[attr-defined]
