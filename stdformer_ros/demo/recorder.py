"""Receives the node's humans as a user's controller would, and records when each message came."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from stdformer_ros.io.overlay import Figure
from stdformer_ros.msg import BodyModel, HumanArray
from stdformer_ros.types import ImageArray

NODE = "/stdformer"


@dataclass(frozen=True)
class Result:
    """One received HumanArray.

    Attributes:
        stamp_ns: the stamp of its image, in nanoseconds.
        received_ns: when it was received, in nanoseconds of the same clock.
        track_ids: of everybody in it.
        place: where the message is in the recording: offset and length in bytes.
    """

    stamp_ns: int
    received_ns: int
    track_ids: tuple[int, ...]
    place: tuple[int, int]


class Recorder(Node):
    """Subscribes to the node's humans and keeps them, meshes included, in a temporary file.

    Args:
        on_overlay: called with every picture of the topic ~/overlay; None: the topic is not
            subscribed to, so that the node does not draw it.

    Attributes:
        results: all HumanArrays received so far, in order.
        body_model: how joints and vertices are connected, None before the node is active.
        topics: the types of all topics seen so far, by name.
    """

    def __init__(self, on_overlay: Callable[[ImageArray], None] | None = None) -> None:
        super().__init__("recorder")
        self.results: list[Result] = []
        self.body_model: BodyModel | None = None
        self.topics: dict[str, str] = {}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the node
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(BodyModel, f"{NODE}/body_model", self._on_body_model, latched)
        self.create_subscription(HumanArray, f"{NODE}/humans", self._on_humans, 10, raw=True)
        if on_overlay is not None:
            self.create_subscription(
                Image, f"{NODE}/overlay", lambda message: on_overlay(_rgb(message)), 1
            )

    def figures(self, result: Result) -> list[Figure]:
        """Everybody in a result, with meshes, to be drawn; metres, camera frame."""
        offset, length = result.place
        self._file.seek(offset)
        message = deserialize_message(self._file.read(length), HumanArray)
        return [
            Figure(
                track_id=human.track_id,
                joints=np.array([(p.x, p.y, p.z) for p in human.joints], np.float32),
                vertices=np.array(human.vertices, np.float32).reshape(-1, 3)
                if human.vertices
                else None,
            )
            for human in message.humans
        ]

    def look_for_topics(self) -> None:
        """Add the node's and the camera's topics that exist now to `topics`."""
        prefixes = (f"{NODE}/", "/camera/", "/diagnostics")
        for name, types in self.get_topic_names_and_types():
            if name.startswith(prefixes):
                self.topics[name] = types[0]

    def _on_body_model(self, message: BodyModel) -> None:
        self.body_model = message

    def _on_humans(self, data: bytes) -> None:
        received = time.time_ns()
        message = deserialize_message(data, HumanArray)
        offset = self._file.seek(0, 2)
        self._file.write(data)
        stamp = message.header.stamp
        self.results.append(
            Result(
                stamp_ns=stamp.sec * 1_000_000_000 + stamp.nanosec,
                received_ns=received,
                track_ids=tuple(human.track_id for human in message.humans),
                place=(offset, len(data)),
            )
        )


def summary(
    stamps_published: Sequence[int], results: Sequence[Result], topics: dict[str, str]
) -> dict[str, Any]:
    """The report of a run.

    Args:
        stamps_published: the stamp of every published image, in nanoseconds.
        results: of every received HumanArray; those with other stamps do not count.
        topics: name and type of each topic.

    Returns:
        `frames_published`, `frames_processed`, `humans` (distinct track ids), `humans_per_frame`
        (mean), `fps` (processed frames per second), `latency_ms` from image stamp to received
        HumanArray with `p50`, `p90`, `p99` (None without results), and `topics`.
    """
    published = set(stamps_published)
    results = [result for result in results if result.stamp_ns in published]
    people = [len(result.track_ids) for result in results]
    latencies = [1e-6 * (result.received_ns - result.stamp_ns) for result in results]
    percentiles = np.percentile(latencies, [50, 90, 99]).tolist() if latencies else [None] * 3
    times = [1e-9 * result.received_ns for result in results]
    return {
        "frames_published": len(stamps_published),
        "frames_processed": len(results),
        "humans": len({track_id for result in results for track_id in result.track_ids}),
        "humans_per_frame": float(np.mean(people)) if people else 0.0,
        "fps": (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0,
        "latency_ms": dict(zip(("p50", "p90", "p99"), percentiles, strict=True)),
        "topics": topics,
    }


def _rgb(message: Image) -> ImageArray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
