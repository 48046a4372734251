"""An image waits for the message of its time only if that is to be expected soon."""

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from helpers.ros_client import PATIENCE
from stdformer_ros.ros.inputs.arrivals import SILENCE, Arrivals

pytestmark = pytest.mark.ros

PERIOD = 0.033


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Stream:
    """Messages that arrive one `period` after the other, `lag` after their stamps."""

    def __init__(self, count, period=PERIOD, lag=0.0, offset=0.0):
        self.clock = Clock()
        self.arrivals = Arrivals(self.clock)
        self.period, self.last = period, 100.0 + (count - 1) * period
        for i in range(count):
            self.clock.now = 100.0 + i * period + lag
            self.arrivals.take(round(1e9 * (100.0 + i * period + offset)), i)

    def expected(self, periods, bound=0.05):
        """Whether a message is expected by an image `periods` after the newest message; it arrives
        at the time of its stamp."""
        self.clock.now = self.last + periods * self.period
        return self.arrivals.expected(round(1e9 * self.clock.now), self.clock.now + bound)


@pytest.mark.parametrize("lag", [0.001, 0.005, 0.03])
def test_a_message_that_comes_a_little_later_than_the_image_is_expected(lag):
    assert Stream(5, lag=lag).expected(1)


def test_a_message_is_expected_after_the_first_one():
    assert Stream(1).expected(1)


def test_messages_that_never_came_or_fell_silent_are_not_expected():
    assert not Stream(0).expected(1)
    assert Stream(8).expected(0.9 * SILENCE / PERIOD)
    assert not Stream(8).expected(1.1 * SILENCE / PERIOD)
    assert not Stream(1).expected(1.1 * SILENCE / PERIOD)


def test_a_message_that_has_come_is_not_expected():
    stream = Stream(5)
    assert not stream.expected(0)
    assert not stream.expected(-1)
    assert not stream.expected(-0.5)  # the nearest one is known, since there is a newer one
    assert stream.arrivals.settled(round(1e9 * stream.last))
    assert not stream.arrivals.settled(round(1e9 * stream.last) + 1)


def test_of_slow_messages_only_the_nearest_is_expected():
    """Messages at 10 Hz, images at 30 Hz: an image does not wait for one that is farther off."""
    slow = Stream(5, period=0.1)
    assert not slow.expected(1 / 3)
    assert slow.expected(2 / 3)
    assert slow.expected(1)


def test_messages_that_lag_behind_more_than_the_bound_are_not_expected():
    late = Stream(8, lag=0.1)
    assert not late.expected(3)
    assert late.expected(3, bound=0.15)


@pytest.mark.parametrize("offset", [-7200.0, 7200.0])
def test_messages_of_another_clock_are_not_expected(offset):
    assert not Stream(8, offset=offset).expected(1)


def test_a_message_that_comes_twice_counts_once():
    """Two subscriptions hear the same publisher."""
    arrivals = Arrivals()
    for stamp in (1, 1, 2, 2):
        arrivals.take(stamp, stamp)
    assert 1 in arrivals
    assert 3 not in arrivals
    assert arrivals.nearest(10).item == 2


def wait_in_a_thread(arrivals, stamp_ns):
    until = time.monotonic() + 10 * PATIENCE
    thread = threading.Thread(target=arrivals.wait, args=(stamp_ns, until), daemon=True)
    thread.start()
    return thread


def test_an_image_waits_until_the_message_of_its_time_has_come():
    arrivals = Arrivals()
    arrivals.take(1_000_000_000, "previous")
    waiting = wait_in_a_thread(arrivals, 1_033_000_000)
    arrivals.take(1_033_000_000, "own")
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert arrivals.nearest(1_033_000_000).item == "own"


def test_closing_ends_a_wait_and_nobody_waits_until_it_is_opened():
    arrivals = Arrivals()
    arrivals.take(1_000_000_000, "previous")
    waiting = wait_in_a_thread(arrivals, 1_033_000_000)
    arrivals.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    arrivals.take(1_000_000_000, "previous")
    until = time.monotonic() + PATIENCE
    assert not arrivals.expected(1_033_000_000, until)
    arrivals.open()
    assert arrivals.expected(1_033_000_000, until)
