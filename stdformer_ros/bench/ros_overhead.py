"""What ROS costs: from image to HumanArray without the models' time, and the mesh markers.

`python -m stdformer_ros.bench.ros_overhead FILM.npy JSON`, FILM (N, 480, 640, 3) uint8 RGB of one
person. It times from the image's arrival in the node's process, by the middleware's own clock, to
the HumanArray's arrival in the publisher's; and from `publish(image)`, with the image's transport.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import rclpy
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from stdformer_ros.bench.ros_client import BenchError, Client, NodeProcess, run_bench
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.ros.outputs.markers import MeshMarkerWriter, mesh_marker
from stdformer_ros.ros.outputs.messages import rgb_message
from stdformer_ros.types import ImageArray

SETTLING, FRAMES = 30, 150
MARKERS = 15


def measure(path: Path) -> dict[str, float]:
    """All figures of this file."""
    film: ImageArray = np.load(path)
    large = [cv2.resize(image, (1920, 1080)) for image in film[:30]]
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


def overhead(film: list[ImageArray], log: Path) -> dict[str, float]:
    """Medians `ms` and `with_transport_ms`, 99th percentile `p99_ms`, without the models' time.

    Each image is sent when the one before it was answered.
    """
    client = Client()
    try:
        with NodeProcess(log) as process:
            client.wait_for(process)
            stamps = []
            for i in range(SETTLING + FRAMES):
                # Forwards, backwards: nobody jumps.
                k = i % (2 * len(film) - 2)
                message = rgb_message(Header(frame_id="bench"), film[min(k, 2 * len(film) - 2 - k)])
                stamp = client.send(message)
                client.until(lambda stamp=stamp: stamp in client.latencies, 1.0)
                process.check()
                stamps.append(stamp)
            timings = process.timings()
        answered = [
            (client.latencies[s], timings[near])
            for s in stamps[SETTLING:]
            if s in client.latencies
            for near in (s - 1, s, s + 1)  # a stamp as float seconds may round either way
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


def marker_costs() -> dict[str, float]:
    """One full mesh as a marker to a subscriber: our writer, and Point by Point.

    This thread's own time, because one way takes so much longer that a busy machine would interrupt
    it many times, and the other one never.
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


if __name__ == "__main__":
    sys.exit(run_bench(measure, sys.argv[1:]))
