"""The program of docs/for_controllers.md, run as it is printed there, in its own process."""

import re
import subprocess
import sys
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

import rclpy
from geometry_msgs.msg import Point, Twist, Vector3
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock

from helpers.paths import ROOT
from helpers.ros_client import PATIENCE, stamp_of
from stdformer_ros.msg import Human, HumanArray

pytestmark = pytest.mark.ros

STOP, FREE, MARGIN = 0.8, 2.5, 0.15  # of the page


def program():
    (block,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/for_controllers.md").read_text(), re.S
    )
    return block


def person(*joints, velocity=(0.0, 0.0, 0.0), metric=True):
    x, y, z = velocity
    return Human(
        joints=[Point(x=x, y=y, z=z) for x, y, z in joints],
        joint_velocities=[Vector3(x=x, y=y, z=z)] * len(joints),
        metric_depth=metric,
    )


class Robot:
    """What the program is connected to: the node's humans, a planner, and a mobile base."""

    def __init__(self):
        self.node = rclpy.create_node("robot")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        # Simulated time: ages are what the test says, on a busy machine too.
        self.clock = self.node.create_publisher(Clock, "/clock", 1)
        self.now = 100.0
        self.humans = self.node.create_publisher(HumanArray, "/stdformer/humans", 5)
        self.planner = self.node.create_publisher(Twist, "/cmd_vel_raw", 1)
        self.heard = []
        self.node.create_subscription(Twist, "/cmd_vel", self.heard.append, 10)

    def say(self, *people, age=0.0):
        message = HumanArray(humans=list(people))
        message.header.stamp = stamp_of(self.now - age)
        self.clock.publish(Clock(clock=stamp_of(self.now)))
        self.humans.publish(message)

    def drive(self):
        """Command 1 m/s ahead and a turn of 0.5 rad/s; returns what the base hears of it."""
        before = len(self.heard)
        for _ in range(round(PATIENCE / 0.2)):
            self.planner.publish(
                Twist(linear=Vector3(x=1.0, y=0.0, z=0.0), angular=Vector3(x=0.0, y=0.0, z=0.5))
            )
            self.spin(0.2, lambda: len(self.heard) > before)
            if len(self.heard) > before:
                return self.heard[-1].linear.x, self.heard[-1].angular.z
        raise AssertionError("the program says nothing")

    def told(self, *people, age=0.0):
        """The speed that it allows with these people in sight."""
        for _ in range(3):  # the array may be behind the command: the third one is not
            self.say(*people, age=age)
            self.spin(0.05)
            speed = self.drive()[0]
        return speed

    def spin(self, seconds, done=lambda: False):
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)


@pytest.fixture(scope="module")
def robot(ros, tmp_path_factory):
    file = tmp_path_factory.mktemp("controller") / "slow_near_people.py"
    file.write_text(program())
    remapped = ["--ros-args", "-r", "humans:=/stdformer/humans", "-p", "use_sim_time:=true"]
    process = subprocess.Popen([sys.executable, str(file), *remapped])
    robot = Robot()
    yield robot
    process.kill()
    process.wait()
    robot.executor.shutdown()
    robot.node.destroy_node()


def test_it_is_forty_lines_of_code():
    lines = [line for line in program().splitlines() if line.strip()]
    assert len(lines) <= 40


def test_it_stands_still_before_the_first_message(robot):
    assert robot.drive() == (0.0, 0.0)


def test_it_drives_at_full_speed_when_nobody_is_in_sight(robot):
    assert robot.told() == 1.0
    assert robot.drive()[1] == 0.5


def test_the_nearest_joint_of_all_people_counts(robot):
    far, near = person((0.0, 0.0, 4.0), (0.0, 1.0, 4.0)), person((3.0, 0.0, 3.0), (0.6, 0.0, 1.6))
    expected = ((0.6**2 + 1.6**2) ** 0.5 - MARGIN - STOP) / (FREE - STOP)
    assert robot.told(far, near) == pytest.approx(expected, abs=1e-6)
    assert robot.drive()[1] == pytest.approx(0.5 * expected, abs=1e-6)


@pytest.mark.parametrize(("metres", "speed"), [(0.0, 0.0), (0.9, 0.0), (2.7, 1.0), (9.0, 1.0)])
def test_it_stops_near_people_and_drives_at_full_speed_far_from_them(robot, metres, speed):
    assert robot.told(person((0.0, 0.0, metres))) == speed


def test_a_person_who_approaches_counts_as_nearer_the_older_the_data(robot):
    coming = person((0.0, 0.0, 2.0), velocity=(0.0, 0.0, -2.0))
    leaving = person((0.0, 0.0, 2.0), velocity=(0.0, 0.0, 2.0))
    standing = (2.0 - MARGIN - STOP) / (FREE - STOP)
    assert robot.told(leaving, age=0.2) == pytest.approx(standing, abs=1e-6)
    expected = standing - 2.0 * 0.2 / (FREE - STOP)
    assert robot.told(coming, age=0.2) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("age", [0.6, 100.0, -5.0])
def test_old_data_and_clocks_that_disagree_stop_it(robot, age):
    assert robot.told() == 1.0
    assert robot.told(age=age) == 0.0


def test_silence_stops_it(robot):
    assert robot.told() == 1.0
    robot.now += 0.7
    robot.clock.publish(Clock(clock=stamp_of(robot.now)))
    robot.spin(0.2)
    robot.drive()
    assert robot.drive() == (0.0, 0.0)


def test_distances_that_are_not_metric_stop_it(robot):
    assert robot.told(person((0.0, 0.0, 9.0), metric=False)) == 0.0
