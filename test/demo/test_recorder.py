"""The demo's report and its player: what is counted and what is published."""

from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.demo.player import camera_info, paced, play
from stdformer_ros.demo.recorder import Result, summary
from stdformer_ros.io.video import read_video
from stdformer_ros.types import Frame

pytestmark = pytest.mark.ros


def result(stamp_ms, latency_ms, track_ids=()):
    stamp = stamp_ms * 1_000_000
    return Result(stamp, stamp + latency_ms * 1_000_000, tuple(track_ids), (0, 0))


def test_the_report_counts_frames_people_rate_and_latency():
    results = [
        result(1000, 10, [1]),
        result(1100, 20, [1, 2]),
        result(1300, 30, [2]),
        result(1400, 40, []),
    ]
    published = [1_000_000 * ms for ms in (1000, 1100, 1200, 1300, 1400)]
    report = summary(published, results, {"/a": "b"})
    assert report["frames_published"] == 5
    assert report["frames_processed"] == 4
    assert report["humans"] == 2
    assert report["humans_per_frame"] == 1.0
    assert report["fps"] == pytest.approx(3 / 0.430)  # three intervals between four answers
    assert report["latency_ms"] == pytest.approx({"p50": 25.0, "p90": 37.0, "p99": 39.7})
    assert report["topics"] == {"/a": "b"}


def test_answers_for_other_images_do_not_count():
    report = summary([1_000_000_000], [result(1000, 5, [1]), result(900, 5, [7])], {})
    assert report["frames_processed"] == 1
    assert report["humans"] == 1


def test_a_run_without_answers_has_a_report_too():
    report = summary([1, 2], [], {})
    assert report["frames_processed"] == report["humans"] == report["fps"] == 0
    assert report["latency_ms"] == {"p50": None, "p90": None, "p99": None}


class Clock:
    """Time that passes only by waiting; stands in for the event that ends the player."""

    def __init__(self):
        self.now = 50.0
        self.stopped = False

    def wait(self, seconds):
        self.now += seconds
        return self.stopped


def test_the_player_keeps_the_videos_pace_and_stops_in_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("stdformer_ros.demo.player.time.monotonic", lambda: clock.now)
    frames = [Frame(None, 7.0 + 0.1 * i, None) for i in range(10)]
    played = [
        (round(frame.stamp - 7.0, 3), round(clock.now - 50.0, 3))
        for frame in paced(iter(frames), 0.35, clock)
    ]
    assert played == [(0.0, 0.0), (0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]


def test_the_player_stops_when_asked():
    clock = Clock()
    played = paced(iter([Frame(None, 0.0, None)] * 5), None, clock)
    next(played)
    clock.stopped = True
    assert list(played) == []


def test_an_assumed_camera_is_published_as_uncalibrated():
    from std_msgs.msg import Header

    assert not any(camera_info(Header(), Camera.assumed(64, 48)).k)
    known = camera_info(Header(), Camera(64, 48, fx=50, fy=51, cx=31, cy=23))
    assert list(known.k) == [50, 0, 31, 0, 51, 23, 0, 0, 1]
    assert list(known.p) == [50, 0, 31, 0, 0, 51, 23, 0, 0, 0, 1, 0]
    assert (known.width, known.height) == (64, 48)


def test_webcam_images_are_recorded_into_a_video(monkeypatch, tmp_path, capsys):
    frames = [
        Frame(np.full((48, 64, 3), 40 * i, np.uint8), 0.0, Camera.assumed(64, 48)) for i in range(5)
    ]
    monkeypatch.setattr("stdformer_ros.demo.player.read_camera", lambda index: iter(frames))
    published = []
    player = SimpleNamespace(
        wait_for_subscriber=lambda stop: None,
        publish=lambda frame: published.append(frame) or 1000 + len(published),
    )
    video = tmp_path / "camera.mp4"
    options = SimpleNamespace(video=None, camera=0, seconds=None, record=video, loop=False)
    play(player, options, Event())
    assert published == frames
    assert capsys.readouterr().out.splitlines() == [f"{i} {1001 + i}" for i in range(5)]
    means = [frame.image.mean() for frame in read_video(video)]
    np.testing.assert_allclose(means, [40 * i for i in range(5)], atol=4)
