"""From counted events and thresholds to the status on /diagnostics."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")

from diagnostic_msgs.msg import DiagnosticStatus

from stdformer_ros.ros.outputs import diagnostics
from stdformer_ros.ros.outputs.diagnostics import (
    BAD_SECONDS,
    Statistics,
    Thresholds,
    camera_status,
    heap_in_use,
)

pytestmark = pytest.mark.ros

THRESHOLDS = Thresholds(image_timeout=2.0, latency_warn=0.2, latency_error=1.0, min_fps=0.0)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def statistics(clock):
    return Statistics(seconds=5.0, clock=clock)


def stream(statistics, clock, latency=0.05, frames=100, fps=20.0):
    for _ in range(frames):
        clock.now += 1 / fps
        statistics.image()
        statistics.answer(2, latency)


def status(statistics, thresholds=THRESHOLDS, restrictions=()):
    return camera_status("node: front", statistics, 7, thresholds, {"device": "cpu"}, restrictions)


def test_a_steady_stream_is_ok_and_reported_in_numbers(statistics, clock):
    stream(statistics, clock)
    answer = status(statistics)
    assert (answer.level, answer.message) == (DiagnosticStatus.OK, "2 people, 20.0 frames/s")
    values = {item.key: item.value for item in answer.values}
    assert values["frames per second received"] == "20.0"
    assert values["frames dropped for newer ones"] == "7"
    assert (values["latency p50 ms"], values["latency p99 ms"]) == ("50.0", "50.0")
    assert values["people"] == "2"
    assert int(values["memory MB"]) > 1
    assert answer.hardware_id == values["device"] == "cpu"


@pytest.mark.parametrize(
    ("latency", "level"),
    [
        (0.19, DiagnosticStatus.OK),
        (0.21, DiagnosticStatus.WARN),
        (0.99, DiagnosticStatus.WARN),
        (1.01, DiagnosticStatus.ERROR),
        (1.7e9, DiagnosticStatus.WARN),  # a bag's stamps against today's clock
        (-1.7e9, DiagnosticStatus.WARN),
    ],
)
def test_late_answers_are_judged_by_their_median(statistics, clock, latency, level):
    stream(statistics, clock, latency)
    assert status(statistics).level == level


def test_a_camera_that_stops_sending_is_stale(statistics, clock):
    stream(statistics, clock)
    clock.now += 2.1
    assert status(statistics).level == DiagnosticStatus.STALE
    assert status(statistics).message == "no image for 2.1 s"


def test_it_is_an_error_if_no_image_is_answered(statistics, clock):
    for _ in range(20):
        clock.now += 0.05
        statistics.image()
        statistics.bad_image(refused=True)
    assert status(statistics).level == DiagnosticStatus.ERROR


def test_a_bad_image_causes_a_warning_for_some_time(statistics, clock):
    stream(statistics, clock)
    statistics.bad_image(refused=True)
    statistics.bad_image(refused=False)
    assert status(statistics).level == DiagnosticStatus.WARN
    assert status(statistics).message == "2 images of the last 30 s could not be used"
    stream(statistics, clock, frames=round(20 * BAD_SECONDS) + 1)
    assert status(statistics).level == DiagnosticStatus.OK
    values = {item.key: item.value for item in status(statistics).values}
    assert (values["frames refused"], values["frames failed"]) == ("1", "1")


def test_a_frame_rate_below_min_fps_causes_a_warning(statistics, clock):
    stream(statistics, clock, fps=20.0)
    picky = Thresholds(2.0, 0.2, 1.0, min_fps=25.0)
    assert status(statistics, picky).level == DiagnosticStatus.WARN
    assert status(statistics, picky).message == "only 20.0 frames/s"


def test_restrictions_are_reported(statistics, clock):
    stream(statistics, clock)
    answer = status(statistics, restrictions=["lite landmarks"])
    assert (answer.level, answer.message) == (DiagnosticStatus.WARN, "lite landmarks")


def test_without_proc_the_resident_memory_is_left_out(monkeypatch, tmp_path, statistics):
    monkeypatch.setattr(diagnostics, "STATUS", tmp_path / "no" / "proc")
    keys = [item.key for item in status(statistics).values]
    assert "memory MB" not in keys
    assert "people" in keys


def test_memory_in_use_does_not_count_what_the_heap_keeps_for_later():
    before = heap_in_use()
    if before is None:
        pytest.skip("needs glibc 2.33 or later")
    held = bytearray(30 * 2**20)
    assert heap_in_use() - before == pytest.approx(30.0, abs=5.0)
    del held
    assert heap_in_use() == pytest.approx(before, abs=5.0)
