"""Simulated time over real processes: /clock is used, and it may jump back."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rosgraph_msgs.msg import Clock

from helpers.ros_client import stamp_of

pytestmark = pytest.mark.ros

PARAMETERS = {"use_sim_time": True}
BEHIND = 0.25
"""Seconds that each image is older than the clock when it is sent."""


class Simulation:
    """Sends each image after a /clock message that is BEHIND seconds newer than its stamp."""

    def __init__(self, client):
        self.client = client
        self.clock = client.node.create_publisher(Clock, "/clock", 1)
        client.listen(DiagnosticArray, "/diagnostics")
        assert client.until(lambda: self.clock.get_subscription_count() > 0)
        client.connect()

    def step(self):
        """The clock, then an image, which may be lost."""
        image_time = self.client._stamp + 1 / 30
        self.clock.publish(Clock(clock=stamp_of(image_time + BEHIND)))
        self.client.until(lambda: False, 0.02)
        return self.client.send(1)

    def diagnosed(self, holds):
        """Go on until a diagnosis holds, by its status and its seconds; return both."""
        heard = self.client.heard["/diagnostics"]
        while True:
            count = len(heard)

            def more():
                self.step()
                return len(heard) > count  # noqa: B023

            assert self.client.until(more)
            status, seconds = heard[-1].status[0], seconds_of(heard[-1].header.stamp)
            if holds(status, seconds):
                return status, seconds
            assert len(heard) < 60, status.message


def seconds_of(stamp):
    return stamp.sec + 1e-9 * stamp.nanosec


def latency(status):
    return 1e-3 * float({item.key: item.value for item in status.values}["latency p50 ms"])


def test_latencies_are_measured_by_the_simulated_clock(running, client):
    """The test's stamps are of 1970: by the machine's clock they would be decades old."""
    simulation = Simulation(client)
    status, seconds = simulation.diagnosed(
        lambda status, _: status.level == DiagnosticStatus.OK and "1 people" in status.message
    )
    assert 0.5 * BEHIND < latency(status) < 2.0
    newest = client._stamp + BEHIND
    assert newest - 5.0 < seconds < newest + 0.001


def test_a_clock_that_jumps_back_loses_one_image(running, client):
    simulation = Simulation(client)
    simulation.diagnosed(lambda status, _: status.level == DiagnosticStatus.OK)
    for _ in range(2):  # a bag that loops does so again and again
        refusals = running.output.count("the stamp went back from")
        client.until(lambda: False, 0.3)  # what is still under way
        client.rewind()
        begin = client._stamp
        client.humans.clear()
        status, _ = simulation.diagnosed(
            lambda status, seconds: seconds < begin + 8.0 and "not be used" in status.message  # noqa: B023
        )
        assert 0.0 < latency(status) < 2.0
        assert running.output.count("the stamp went back from") <= refusals + 1
        assert len(client.answer(2).humans) == 2
        answered = [seconds_of(message.header.stamp) for message in client.humans]
        answered = [
            seconds for seconds in answered if seconds < begin + 8.0
        ]  # the others were late
        assert answered == sorted(answered)
        assert begin < answered[0]
    assert running.process.poll() is None
    assert "Traceback" not in running.output
