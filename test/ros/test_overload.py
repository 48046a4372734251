"""Overload over real processes: the newest frame wins, nothing queues, drops are reported."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

import io
import time

from helpers.fake_pipeline import FakeMultiCameraPipeline
from helpers.ros_client import NodeProcess
from stdformer_ros.bench.ros_programs import with_stopwatch
from stdformer_ros.bench.timing import resident_bytes
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.types import Frame

pytestmark = pytest.mark.ros

PROCESSING = 0.4
"""Seconds that the fake pipeline takes for each image: much more than a busy machine adds."""
PERIOD = 1 / 30
SECONDS = 12.0


def test_under_overload_images_are_dropped_not_queued(tmp_path, client):
    """`./run bench --only overload` is the long form, with the real models."""
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        client.listen_to_all()
        client.connect()
        sent, arrived = {}, {}
        began, memory = time.monotonic(), 0
        while time.monotonic() < began + SECONDS:
            image = client.send(1, hundredths=round(100 * PROCESSING))
            sent[image.header.stamp.sec, image.header.stamp.nanosec] = time.monotonic()
            client.until(lambda: False, PERIOD)
            now = time.monotonic()
            for answer in client.humans[len(arrived) :]:
                arrived[answer.header.stamp.sec, answer.header.stamp.nanosec] = now
            if not memory and now > began + SECONDS / 3:
                memory = resident_bytes(node.process.pid)
        grown = resident_bytes(node.process.pid) / memory - 1.0
        latencies = [arrived[stamp] - sent[stamp] for stamp in arrived]
        assert len(latencies) >= 5
        assert len(latencies) < 0.5 * len(sent), "the pipeline was not overloaded"
        # At worst an image arrives just after another one was begun, and waits for that one.
        assert np.percentile(latencies, 99) / PROCESSING <= 2.2
        assert grown <= 0.02

        told = client.heard["/diagnostics"]

        def dropped():
            values = {item.key: item.value for item in told[-1].status[0].values}
            return int(values["frames dropped for newer ones"])

        told.clear()
        assert client.until(lambda: told)
        # Best effort may lose images on the way; whatever arrived was answered or counted.
        assert 0.5 * len(sent) - len(arrived) <= dropped() <= len(sent) - len(arrived) + 1


def test_the_benchmarks_pipeline_logs_how_long_it_took_and_can_be_slowed_down():
    log = io.StringIO()
    arrivals = {12.5: 12_600_000_000}
    pipelines = with_stopwatch(FakeMultiCameraPipeline(), log, 0.05, arrivals)
    frame = Frame(np.full((48, 64, 3), (2, 0, 0), np.uint8), 12.5, Camera.assumed(64, 48))
    began = time.perf_counter()
    answers = pipelines.answer({"": pipelines.see("", frame)})
    assert time.perf_counter() - began >= 0.05
    assert len(answers[""].humans) == 2
    stamp, arrival, took = log.getvalue().split()
    assert int(stamp) == 12_500_000_000
    assert int(arrival) == 12_600_000_000
    assert float(took) >= 0.05
