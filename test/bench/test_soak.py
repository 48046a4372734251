"""The endurance test and its figures: one minute of the node leaves no growth behind."""

import os
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

import rclpy

from helpers.paths import FAKE_NODE
from stdformer_ros.bench.soak import PLAYER, REMAPPED, Sample, sample, soak, summary

pytestmark = pytest.mark.ros


def test_a_known_leak_is_measured():
    samples = [
        Sample(10.0 * i, 100.0 + (2.0 * i if i >= 5 else 50.0), 9, 20 + i, 200 * i, 80.0 + i)
        for i in range(11)
    ]
    times = np.arange(0.0, 100.0, 0.05)
    listener = SimpleNamespace(ages=[0.02] * 1980 + [0.3] * 20, times=[*times, 103.0], people=4000)
    figures = summary(samples, listener)
    assert figures["memory_growth_mb_per_hour"] == pytest.approx(2.0 * 360)
    in_use = [figures[f"memory_in_use_{quarter}_quarter_mb"] for quarter in ("3rd", "4th")]
    assert in_use == [85.0, 88.0]
    assert (figures["memory_half_mb"], figures["memory_last_mb"]) == (110.0, 120.0)
    assert figures["files_last"] - figures["files_half"] == 5
    assert figures["fps_median"] == pytest.approx(20.0)
    assert figures["longest_silence_s"] == pytest.approx(3.05)
    assert figures["humans_per_answer"] == 2.0
    assert figures["latency_p50_ms"] == pytest.approx(20.0)


def test_the_resources_of_a_process_are_sampled():
    code = "import sys; a = [open(sys.executable) for _ in range(50)]; print('up'); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    child = sample(process.pid, 1.0, 7)
    assert 53 <= child.files < 80
    assert 3.0 < child.megabytes < 100.0
    assert child.threads == 1
    process.communicate(b"\n")
    own = sample(os.getpid(), 0.0, 0)
    assert own.megabytes > child.megabytes


@pytest.mark.slow
def test_after_a_minute_at_thirty_frames_per_second_nothing_has_grown(tmp_path):
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[0, 0] = 0, 0, 2  # BGR: two people for the fake pipeline
    for i in range(30):
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), picture)
    rclpy.init()
    node = [sys.executable, str(FAKE_NODE), "--ros-args", "-p", "autostart:=true", *REMAPPED]
    player = [*PLAYER, str(tmp_path), "--ros-args", *REMAPPED]
    figures = soak(node, player, seconds=60.0, every=2.0)
    rclpy.shutdown()
    assert figures["humans_per_answer"] == 2.0
    assert figures["answers"] > 100
    # Half a minute of 640x480 images is 800 MB: a leak of one in ten would show.
    assert figures["memory_last_mb"] - figures["memory_half_mb"] < 40.0
    third, fourth = (figures[f"memory_in_use_{q}_quarter_mb"] for q in ("3rd", "4th"))
    assert fourth - third < 4.0
    assert figures["threads_last"] == figures["threads_half"]
    assert figures["files_last"] <= figures["files_half"]
