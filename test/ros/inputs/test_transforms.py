"""Transforms between frames: with our own buffer, and with tf2_ros (a stand-in with its API)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.paths import FAKE_NODE, HELPERS

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers import tf2_messages, tf2_ros_stand_in
from helpers.fake_pipeline import JOINTS
from helpers.malformed import FRAMES, transform_lists
from helpers.tf2_messages import stamped
from stdformer_ros.ros.inputs import transforms
from stdformer_ros.ros.inputs.transform_buffer import (
    AHEAD_SECONDS,
    KEPT_SECONDS,
    Transform,
    TransformBuffer,
    TransformError,
)
from stdformer_ros.ros.inputs.transforms import OwnTransforms, Tf2Transforms, open_transforms

pytestmark = pytest.mark.ros

NAMES = tuple(JOINTS)


class Node:
    """The methods of a node that transforms need; it never receives a message."""

    def __init__(self):
        self.topics = []
        self.log = []

    def create_subscription(self, kind, topic, callback, qos, callback_group=None):
        self.topics.append(topic)
        return topic

    def destroy_subscription(self, topic):
        self.topics.remove(topic)

    def get_logger(self):
        return SimpleNamespace(info=self.log.append)


@pytest.fixture
def tf2_messages_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_msgs", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", SimpleNamespace(TFMessage=object))


class ByTf2(Tf2Transforms):
    """Over the stand-in of tf2_ros; it takes transforms as tf2_ros' listener gives them."""

    def __init__(self):
        super().__init__(Node(), tf2_ros_stand_in)

    def take(self, transforms, static):
        message = SimpleNamespace(transforms=transforms)
        (self._listener.static_callback if static else self._listener.callback)(message)


@pytest.fixture(params=[TransformBuffer, ByTf2], ids=["own buffer", "tf2_ros"])
def buffer(request, tf2_messages_installed):
    """Each of the two buffers, which must behave the same."""
    return request.param()


def ns(seconds):
    return round(1e9 * seconds)


def test_frames_are_connected_through_their_common_parent(buffer):
    quarter = (0, 0, np.pi / 2)
    buffer.take([stamped("map", "base", (1, 2, 0), quarter)], static=True)
    buffer.take([stamped("base", "camera", (0.5, 0, 1))], static=True)
    buffer.take([stamped("map", "door", (0, 0, 5))], static=True)
    point = np.array([[1.0, 0.0, 0.0]])
    # camera -> base: (1.5, 0, 1); turned: (0, 1.5, 1); -> map: (1, 3.5, 1)
    np.testing.assert_allclose(buffer.lookup("map", "camera", 0)(point), [[1, 3.5, 1]], atol=1e-6)
    np.testing.assert_allclose(buffer.lookup("door", "camera", 0)(point), [[1, 3.5, -4]], atol=1e-6)
    back = buffer.lookup("camera", "map", 0)
    np.testing.assert_allclose(back(np.array([[1, 3.5, 1]])), point, atol=1e-6)
    np.testing.assert_allclose(buffer.lookup("base", "base", 0)(point), point)


def test_translation_and_rotation_are_interpolated_between_two_times(buffer):
    buffer.take([stamped("odom", "base", (0, 0, 0), (0, 0, 0), 10.0)], static=False)
    buffer.take([stamped("odom", "base", (1, 0, 0), (0, 0, 1.0), 11.0)], static=False)
    half = buffer.lookup("odom", "base", ns(10.5))
    np.testing.assert_allclose(half.translation, [0.5, 0, 0])
    np.testing.assert_allclose(Rotation.from_matrix(half.rotation).as_rotvec(), [0, 0, 0.5])
    exact = buffer.lookup("odom", "base", ns(11.0))
    np.testing.assert_allclose(exact.translation, [1, 0, 0])


def test_an_image_may_be_a_little_newer_than_the_newest_transform(buffer):
    buffer.take([stamped("odom", "base", (1, 0, 0), seconds=10.0)], static=False)
    assert buffer.lookup("odom", "base", ns(10 + 0.9 * AHEAD_SECONDS)).translation[0] == 1
    newest = r"newest transform from 'base' to 'odom' is 1\.00 s older than the image"
    with pytest.raises(TransformError, match=newest):
        buffer.lookup("odom", "base", ns(11.0))
    with pytest.raises(TransformError, match=r"oldest transform from 'base' to 'odom' is .*newer"):
        buffer.lookup("odom", "base", ns(9.0))


@pytest.mark.parametrize("late", [0.05, 0.15])
def test_an_image_newer_than_the_newest_transform_finds_the_robot_where_it_has_moved_on(
    buffer, late
):
    """The robot drives along a circle, at 2 m/s and 1 rad/s; the camera looks ahead from it."""

    def robot(t):
        return (2 * np.sin(t), 2 - 2 * np.cos(t), 0), (0, 0, t)

    buffer.take([stamped("base", "camera", (0.3, 0, 1))], static=True)
    for t in np.arange(0, 1.0 + 1e-6, 0.05):
        buffer.take([stamped("odom", "base", *robot(t), seconds=t)], static=False)
    found = buffer.lookup("odom", "camera", ns(1.0 + late))
    assert found.extrapolated == pytest.approx(late)
    place, turn = robot(1.0 + late)
    expected = Transform(Rotation.from_rotvec(turn).as_matrix(), np.array(place))
    # What is left is the change of the velocity: half the acceleration of 2 m/s2, times late
    # squared, and as much again because the velocity is the mean of the last 0.1 s.
    ahead = np.array([[5.0, 0.0, 1.0]])  # a person 5 m in front of the robot
    error = np.linalg.norm(found(ahead - [0.3, 0, 1]) - expected(ahead))
    assert error < 2.0 * late * (late + 0.1) / 2 + 0.01
    assert buffer.lookup("odom", "camera", ns(1.0)).extrapolated == 0.0


def test_a_frame_whose_motion_is_not_known_stays_where_it_is(buffer):
    buffer.take([stamped("odom", "base", (1, 0, 0), seconds=10.0)], static=False)
    found = buffer.lookup("odom", "base", ns(10.1))
    assert found.translation.tolist() == [1, 0, 0]
    assert found.extrapolated == pytest.approx(0.1)


def test_frames_that_are_not_connected_are_named(buffer):
    with pytest.raises(TransformError, match="no transform connects 'camera' to 'map': "):
        buffer.lookup("map", "camera", 0)
    buffer.take([stamped("base", "camera"), stamped("world", "map")], static=True)
    with pytest.raises(TransformError, match="no transform connects 'camera' to 'map'"):
        buffer.lookup("map", "camera", 0)


def test_frames_that_tf_does_not_mention_are_named():
    buffer = TransformBuffer()
    buffer.take([stamped("map", "base")], static=True)
    with pytest.raises(TransformError, match=r"'camera' to 'map': /tf does not mention 'camera'$"):
        buffer.lookup("map", "camera", 0)


def test_transforms_in_a_circle_are_an_error():
    buffer = TransformBuffer()
    buffer.take([stamped("a", "b"), stamped("b", "a")], static=True)
    with pytest.raises(TransformError, match="form a circle"):
        buffer.lookup("map", "a", 0)


def test_static_transforms_hold_at_any_time(buffer):
    buffer.take([stamped("base", "camera", (0, 0, 1), seconds=50.0)], static=True)
    for stamp in (-1, 0, ns(10.0), ns(1e9)):
        assert buffer.lookup("base", "camera", stamp).translation.tolist() == [0, 0, 1]


def test_a_bag_that_loops_empties_the_buffer_except_for_static_transforms(buffer):
    """The bag is longer than the buffers keep, so that tf2 alone would ignore its start as old."""
    buffer.take([stamped("base", "camera", (0, 0, 1))], static=True)
    for round_ in range(2):
        for second in range(30):
            place = (second + 100 * round_, 0, 0)
            buffer.take([stamped("odom", "base", place, seconds=second)], static=False)
            found = buffer.lookup("odom", "camera", ns(second)).translation
            np.testing.assert_allclose(found, [place[0], 0, 1])


def test_a_transform_that_comes_late_does_not_empty_the_buffer(buffer):
    for second in (1.0, 2.0, 1.5):
        buffer.take([stamped("odom", "base", (second, 0, 0), seconds=second)], static=False)
    for second in (1.2, 1.7):
        assert buffer.lookup("odom", "base", ns(second)).translation[0] == pytest.approx(second)


def test_with_tf2_frames_of_people_do_not_fill_the_buffer(tf2_messages_installed):
    """With `tf` and `target_frame` the node receives its own frames, of ever new people."""
    source = ByTf2()
    for i in range(100):
        people = [stamped("odom", f"human_{i}"), stamped(f"human_{i}", f"human_{i}_head")]
        source.take([stamped("odom", "base"), *people, stamped("odom", f"body_b{i:04}")], False)
    assert list(source._buffer._moving) == ["base"]


def test_tf2_ros_is_used_where_ros_brings_it(monkeypatch, tf2_messages_installed):
    node = Node()
    monkeypatch.setitem(sys.modules, "tf2_ros", tf2_ros_stand_in)
    # What is importable, but in no ament index, is not ROS'.
    assert isinstance(open_transforms(node), OwnTransforms)
    assert node.log == ["transforms: tf2_ros is not installed, the built-in buffer is used"]
    monkeypatch.setattr(transforms, "get_package_prefix", lambda name: f"/opt/ros/{name}")
    assert isinstance(open_transforms(node), Tf2Transforms)
    assert node.log[1:] == ["transforms: tf2_ros is used"]
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    assert isinstance(open_transforms(node), OwnTransforms)


@pytest.mark.parametrize("tf2_ros", [None, tf2_ros_stand_in], ids=["own buffer", "tf2_ros"])
def test_close_removes_the_subscriptions(monkeypatch, tf2_messages_installed, tf2_ros):
    node = Node()
    monkeypatch.setitem(sys.modules, "tf2_ros", tf2_ros)
    monkeypatch.setattr(transforms, "get_package_prefix", lambda name: f"/opt/ros/{name}")
    source = open_transforms(node)
    assert node.topics == ["/tf", "/tf_static"]
    source.close()
    assert node.topics == []


def test_only_the_last_seconds_are_kept_and_time_that_goes_back_empties_the_buffer():
    buffer = TransformBuffer()
    for second in range(100):
        buffer.take([stamped("odom", "base", (second, 0, 0), seconds=second)], static=False)
    assert len(buffer._links["base"].entries) <= KEPT_SECONDS + 1
    buffer.take([stamped("odom", "base", (7, 0, 0), seconds=5.0)], static=False)  # the bag loops
    assert buffer.lookup("odom", "base", ns(5.0)).translation[0] == 7


def test_frames_of_people_who_have_left_are_forgotten():
    """With `tf` and `target_frame` the node receives its own frames, of ever new people."""
    now = [0.0]
    buffer = TransformBuffer(clock=lambda: now[0])
    buffer.take([stamped("map", "odom")], static=True)
    for i in range(1000):
        now[0] = i / 10
        people = [stamped("odom", f"human_{i // 20}", seconds=now[0])]
        buffer.take([stamped("odom", "base", (i, 0, 0), seconds=now[0]), *people], static=False)
    assert len(buffer._links) < 2 + 2 * KEPT_SECONDS
    assert buffer.lookup("map", "base", ns(99.9)).translation[0] == 999


def test_a_clock_that_stands_still_does_not_fill_the_buffer():
    """robot_state_publisher repeats its stamp while a simulation pauses."""
    buffer = TransformBuffer()
    for i in range(500):
        buffer.take([stamped("odom", "base", (i, 0, 0), seconds=3.0)], static=False)
    assert len(buffer._links["base"].entries) == 1
    assert buffer.lookup("odom", "base", ns(3.0)).translation[0] == 499


def test_the_rounds_of_a_short_bag_that_loops_are_not_mixed(buffer):
    for round_ in range(2):
        for i in range(50):
            place = (i + 100 * round_, 0, 0)
            buffer.take([stamped("odom", "base", place, seconds=i / 10)], static=False)
            at = buffer.lookup("odom", "base", ns(i / 10 + 0.05)).translation[0]
            assert at == pytest.approx(place[0] + (0.5 if i else 0.0))  # it moves on


def test_any_transforms_give_a_finite_lookup_or_an_error():
    buffer, rng = TransformBuffer(), random.Random(1)
    outcomes = {"found": 0, "refused": 0}
    for messages in islice(transform_lists(2), 10_000):
        buffer.take(messages, static=rng.random() < 0.1)
        stamp = rng.choice((0, ns(1000.5), 2**62))
        try:
            found = buffer.lookup(rng.choice(FRAMES), rng.choice(FRAMES), stamp)
        except TransformError:
            outcomes["refused"] += 1
            continue
        outcomes["found"] += 1
        assert np.isfinite(found.translation).all()
        np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-6)
    assert min(outcomes.values()) > 100
    assert all(len(link.entries) < 1000 for link in buffer._links.values())


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_transforms_are_left_out(buffer, broken):
    buffer.take([stamped("odom", "base", (1, 0, 0))], static=True)
    buffer.take([stamped("odom", "base", (broken, 0, 0))], static=True)
    zero = stamped("odom", "base")
    zero.transform.rotation.w = 0.0
    buffer.take([zero], static=True)
    assert buffer.lookup("odom", "base", 0).translation[0] == 1


vectors = st.tuples(*[st.floats(-3, 3)] * 3)


@given(vectors, vectors, vectors, vectors, vectors)
def test_a_transform_and_its_inverse_cancel(t1, r1, t2, r2, point):
    first = Transform(Rotation.from_rotvec(r1).as_matrix(), np.array(t1))
    both = first.then(Transform(Rotation.from_rotvec(r2).as_matrix(), np.array(t2)))
    np.testing.assert_allclose(both.inverse()(both(np.array([point]))), [point], atol=1e-5)


@pytest.fixture(scope="module")
def with_tf2_messages(tmp_path_factory):
    """The environment of processes that can import tf2_msgs."""
    return tf2_messages.environment(tmp_path_factory.mktemp("tf2_msgs"))


@pytest.mark.slow
@pytest.mark.parametrize("by_tf2", [False, True], ids=["own buffer", "tf2_ros"])
def test_over_real_topics_people_are_given_in_odom_while_the_robot_drives(
    tmp_path, with_tf2_messages, by_tf2
):
    """The node with tf2_msgs: no answer without a transform, then answers in the wanted frame."""
    environment = with_tf2_messages
    if by_tf2:
        environment = tf2_ros_stand_in.environment(tmp_path, environment)
    session = subprocess.run(
        [sys.executable, HELPERS / "tf_session.py", tmp_path / "log"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert session.returncode == 0, session.stdout + session.stderr
    seen = json.loads(session.stdout.splitlines()[-1])
    assert seen["by tf2_ros"] == by_tf2
    assert seen["answers without a transform"] == 0
    assert seen["frame"] == "odom"
    # The fake's person is 2 m in front of the camera and moves by 0.25 m/s along its axes.
    np.testing.assert_allclose(seen["pelvis"], [seen["robot"] + 2, 0, 1], atol=1e-4)
    np.testing.assert_allclose(seen["velocity"], [1.25, -0.25, -0.25], atol=0.02)
    assert seen["covariance"][0] > 4 * seen["covariance"][1]
    assert seen["names"][0] == "human_1"
    assert set(seen["names"][1:]) == {f"human_1_{name}" for name in NAMES if name != "pelvis"}
    assert seen["parents"][0] == "odom"
    np.testing.assert_allclose(seen["head"], [0, 0.7, 0], atol=1e-5)
    # The label is above the head, which is 0.7 m above the pelvis, and tells how far the person
    # is from the camera.
    text, *place = seen["label"]
    assert text == "#1  2.0 m"
    np.testing.assert_allclose(place, [seen["robot"] + 2, 0, 1.9], atol=1e-4)
    # Transforms that are 0.15 s late change nothing, and this is said once.
    assert seen["late pelvis"] == pytest.approx(seen["late robot"] + 2, abs=1e-3)
    assert seen["late velocity"] == pytest.approx(1.25, abs=0.02)
    assert seen["told"] == 1


def test_without_tf2_msgs_the_node_says_what_to_install(tmp_path):
    blocker = tmp_path / "tf2_msgs"
    blocker.mkdir()
    (blocker / "__init__.py").write_text("raise ImportError('blocked by the test')\n")
    environment = dict(os.environ, PYTHONPATH=f"{tmp_path}:{os.environ['PYTHONPATH']}")
    command = [sys.executable, FAKE_NODE, "--ros-args", "-p", "autostart:=true"]
    for parameter in ("tf:=pelvis", "target_frame:=odom"):
        done = subprocess.run(
            [*command, "-p", parameter],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 1
        assert "need tf2_msgs; install it with: sudo apt-get install ros-" in done.stderr
