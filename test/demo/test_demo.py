"""End to end: a real video, the real networks, real processes and topics between them."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

pytestmark = pytest.mark.ros

DEMO = [sys.executable, "-m", "stdformer_ros.demo.__main__", "--headless"]


@pytest.fixture(scope="module")
def demo(real_video, tmp_path_factory):
    """Four seconds of two people through the node."""
    out = tmp_path_factory.mktemp("demo")
    command = [*DEMO, "--video", str(real_video), "--seconds", "4", "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return out, json.loads((out / "report.json").read_text()), result.stdout


def test_every_image_was_published_and_latencies_are_reported(demo):
    _, report, _ = demo
    assert report["frames_published"] == 120  # 4 s at 30 frames a second
    assert 10 < report["frames_processed"] <= 120
    latency = report["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]


def test_both_people_are_seen_with_few_track_ids(demo):
    _, report, _ = demo
    assert report["humans_per_frame"] > 1.0
    assert 2 <= report["humans"] <= 3


def test_the_report_has_the_documented_keys_and_topics(demo):
    _, report, _ = demo
    assert set(report) == {
        "frames_published",
        "frames_processed",
        "humans",
        "humans_per_frame",
        "fps",
        "latency_ms",
        "topics",
    }
    types = {name: f"stdformer_ros/msg/{kind}" for name, kind in (("humans", "HumanArray"),)}
    types |= {"markers": "visualization_msgs/msg/MarkerArray", "overlay": "sensor_msgs/msg/Image"}
    for name, kind in types.items():
        assert report["topics"][f"/stdformer/{name}"] == kind
    assert report["topics"]["/camera/image"] == "sensor_msgs/msg/Image"


def test_the_video_and_the_snapshot_show_meshes(demo, real_video):
    out, report, stdout = demo
    original, overlay = (cv2.VideoCapture(str(p)) for p in (real_video, out / "overlay.mp4"))
    changed = []
    while True:
        decoded, drawn = overlay.read()
        if not decoded:
            break
        _, image = original.read()
        image = cv2.resize(image, drawn.shape[1::-1], interpolation=cv2.INTER_AREA)
        changed.append((np.abs(drawn.astype(int) - image).max(axis=2) > 40).mean())
    assert len(changed) == report["frames_published"]
    assert 0.002 < np.median(changed[30:]) < 0.5  # people, but not the whole picture
    snapshot = cv2.imread(str(out / "snapshot.png"))
    assert snapshot.shape == (994, 1768 + 1061, 3)
    assert (snapshot[:, 1768:] != 245).any(axis=2).mean() > 0.05
    for name in ("overlay.mp4", "snapshot.png", "report.json"):
        assert str(out / name) in stdout


def test_ctrl_c_leaves_a_report_and_no_processes(real_video, tmp_path):
    command = [*DEMO, "--video", str(real_video), "--out", str(tmp_path)]
    with (tmp_path / "log").open("w") as log:
        demo = subprocess.Popen(command, stderr=log, stdout=log, start_new_session=True)
    end = time.monotonic() + 120
    while time.monotonic() < end and "people=" not in (tmp_path / "log").read_text():
        time.sleep(0.2)
    os.killpg(demo.pid, signal.SIGINT)
    demo.wait(120)
    assert json.loads((tmp_path / "report.json").read_text())["frames_processed"] > 0
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--video", "/nowhere/at/all.mp4"], "/nowhere/at/all.mp4"),
        (["--model", "nobody_knows_it"], "there is no model 'nobody_knows_it'"),
    ],
)
def test_a_demo_that_cannot_run_says_why(real_video, tmp_path, options, message):
    source = [] if "--video" in options else ["--video", str(real_video)]
    command = [*DEMO, *source, *options, "--out", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
