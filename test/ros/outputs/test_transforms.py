"""Frames: the buffer's arithmetic, humans in another frame and as frames, and /tf itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

from helpers.paths import FAKE_NODE, HELPERS

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from geometry_msgs.msg import TransformStamped
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from helpers import tf2_messages
from helpers.fake_pipeline import JOINTS, make_human
from helpers.malformed import FRAMES, transform_lists
from helpers.ros_client import stamp_of
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.ros.inputs.transform_buffer import (
    AHEAD_SECONDS,
    KEPT_SECONDS,
    Transform,
    TransformBuffer,
    TransformError,
)
from stdformer_ros.ros.outputs.messages import human_array
from stdformer_ros.ros.outputs.target_frame import (
    Placement,
    human_frames,
    joint_rotations,
    placement,
)
from stdformer_ros.types import Body

pytestmark = pytest.mark.ros

NAMES = tuple(JOINTS)


def stamped(parent, child, translation=(0, 0, 0), turn=(0, 0, 0), seconds=0.0):
    """A frame's place in its parent; `turn` is a rotation vector."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, stamp_of(seconds)
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, translation)
    r.x, r.y, r.z, r.w = Rotation.from_rotvec(turn).as_quat().tolist()
    return message


def ns(seconds):
    return round(1e9 * seconds)


def test_a_chain_through_the_common_parent_is_followed():
    buffer = TransformBuffer()
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


def test_between_two_times_places_and_turns_are_interpolated():
    buffer = TransformBuffer()
    buffer.take([stamped("odom", "base", (0, 0, 0), (0, 0, 0), 10.0)], static=False)
    buffer.take([stamped("odom", "base", (1, 0, 0), (0, 0, 1.0), 11.0)], static=False)
    half = buffer.lookup("odom", "base", ns(10.5))
    np.testing.assert_allclose(half.translation, [0.5, 0, 0])
    np.testing.assert_allclose(Rotation.from_matrix(half.rotation).as_rotvec(), [0, 0, 0.5])
    exact = buffer.lookup("odom", "base", ns(11.0))
    np.testing.assert_allclose(exact.translation, [1, 0, 0])


def test_a_little_ahead_of_the_newest_is_allowed_and_more_is_not():
    buffer = TransformBuffer()
    buffer.take([stamped("odom", "base", (1, 0, 0), seconds=10.0)], static=False)
    assert buffer.lookup("odom", "base", ns(10 + 0.9 * AHEAD_SECONDS)).translation[0] == 1
    with pytest.raises(TransformError, match=r"newest transform of 'base' is 1\.00 s too old"):
        buffer.lookup("odom", "base", ns(11.0))
    with pytest.raises(TransformError, match=r"oldest transform of 'base' is 1\.00 s too new"):
        buffer.lookup("odom", "base", ns(9.0))


def test_what_is_not_connected_is_named():
    buffer = TransformBuffer()
    with pytest.raises(TransformError, match="no transform connects 'camera' to 'map'"):
        buffer.lookup("map", "camera", 0)
    buffer.take([stamped("a", "b"), stamped("b", "a")], static=True)
    with pytest.raises(TransformError, match="circle"):
        buffer.lookup("map", "a", 0)


def test_only_the_last_seconds_are_kept_and_time_that_goes_back_starts_anew():
    buffer = TransformBuffer()
    for second in range(100):
        buffer.take([stamped("odom", "base", (second, 0, 0), seconds=second)], static=False)
    assert len(buffer._links["base"].entries) <= KEPT_SECONDS + 1
    buffer.take([stamped("odom", "base", (7, 0, 0), seconds=5.0)], static=False)  # the bag loops
    assert buffer.lookup("odom", "base", ns(5.0)).translation[0] == 7


def test_frames_of_people_who_have_left_are_forgotten():
    """With `tf` and `target_frame` the node hears its own frames, of ever new people."""
    now = [0.0]
    buffer = TransformBuffer(clock=lambda: now[0])
    buffer.take([stamped("map", "odom")], static=True)
    for i in range(1000):
        now[0] = i / 10
        people = [stamped("odom", f"human_{i // 20}", seconds=now[0])]
        buffer.take([stamped("odom", "base", (i, 0, 0), seconds=now[0]), *people], static=False)
    assert len(buffer._links) < 2 + 2 * KEPT_SECONDS
    assert buffer.lookup("map", "base", ns(99.9)).translation[0] == 999


def test_a_clock_that_stands_still_fills_nothing():
    """robot_state_publisher repeats its stamp while a simulation pauses."""
    buffer = TransformBuffer()
    for i in range(500):
        buffer.take([stamped("odom", "base", (i, 0, 0), seconds=3.0)], static=False)
    assert len(buffer._links["base"].entries) == 1
    assert buffer.lookup("odom", "base", ns(3.0)).translation[0] == 499


def test_a_short_bag_that_loops_does_not_mix_its_rounds():
    buffer = TransformBuffer()
    for round_ in range(2):
        for i in range(50):
            place = (i + 100 * round_, 0, 0)
            buffer.take([stamped("odom", "base", place, seconds=i / 10)], static=False)
            at = buffer.lookup("odom", "base", ns(i / 10 + 0.05)).translation[0]
            assert at == place[0]


def test_whatever_tf_says_a_lookup_is_finite_or_refused():
    buffer, rng = TransformBuffer(), random.Random(1)
    outcomes = {"found": 0, "refused": 0}
    for transforms in islice(transform_lists(2), 10_000):
        buffer.take(transforms, static=rng.random() < 0.1)
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
def test_broken_transforms_are_left_aside(broken):
    buffer = TransformBuffer()
    buffer.take([stamped("odom", "base", (1, 0, 0))], static=True)
    buffer.take([stamped("odom", "base", (broken, 0, 0))], static=True)
    zero = stamped("odom", "base")
    zero.transform.rotation.w = 0.0
    buffer.take([zero], static=True)
    assert buffer.lookup("odom", "base", 0).translation[0] == 1


vectors = st.tuples(*[st.floats(-3, 3)] * 3)


@given(vectors, vectors, vectors, vectors, vectors)
def test_there_and_back_is_nowhere(t1, r1, t2, r2, point):
    first = Transform(Rotation.from_rotvec(r1).as_matrix(), np.array(t1))
    both = first.then(Transform(Rotation.from_rotvec(r2).as_matrix(), np.array(t2)))
    np.testing.assert_allclose(both.inverse()(both(np.array([point]))), [point], atol=1e-5)


def moving_camera(speed):
    """The camera turned to look along x, driving along x."""
    turn = Rotation.from_quat([-0.5, 0.5, -0.5, 0.5]).as_matrix()
    now = Transform(turn, np.array([5.0, 0, 1]))
    return Placement(now, Transform(turn, np.array([5.0 - 0.1 * speed, 0, 1])))


def test_humans_are_moved_with_everything_that_has_a_place_or_a_direction():
    human = make_human()
    moved = moving_camera(speed=0.0)(human)
    # 2 m in front of the camera is 2 m further along x; up is z.
    np.testing.assert_allclose(moved.body.joints[0], [7, 0, 1], atol=1e-6)
    head = NAMES.index("head")
    np.testing.assert_allclose(moved.body.joints[head], [7, 0, 1.7], atol=1e-6)
    lengths = [np.ptp(m.body.vertices, axis=0) for m in (human, moved)]
    np.testing.assert_allclose(lengths[1], lengths[0][[2, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(moved.joint_velocities[0], [0.25, -0.25, -0.25], atol=1e-6)


def test_a_camera_that_drives_adds_its_own_velocity():
    moved = moving_camera(speed=2.0)(make_human())
    np.testing.assert_allclose(moved.joint_velocities[0], [2.25, -0.25, -0.25], atol=1e-5)


def test_the_uncertain_direction_is_that_of_sight_in_any_frame():
    place = moving_camera(0.0)
    human = make_human()
    header = Header(frame_id="odom")
    camera = type("Size", (), {"width": 64, "height": 48})()
    there = human_array(header, "fake", NAMES, [place(human)], camera, False, place.now)
    here = human_array(header, "fake", NAMES, [human], camera, False)
    before, after = (m.humans[0].pose.covariance for m in (here, there))
    np.testing.assert_allclose(after[[0, 7, 14]], before[[14, 0, 7]], rtol=1e-5)


def test_placement_knows_where_the_camera_was_before():
    buffer = TransformBuffer()
    for i in range(11):
        buffer.take([stamped("odom", "optical", (i / 10, 0, 0), seconds=10 + i / 10)], False)
    placed = placement(buffer, "odom", Header(frame_id="optical", stamp=stamp_of(11.0)))
    np.testing.assert_allclose(placed.now.translation, [1, 0, 0])
    np.testing.assert_allclose(placed.before.translation, [0.9, 0, 0])
    first = placement(buffer, "odom", Header(frame_id="optical", stamp=stamp_of(10.0)))
    assert first.before is first.now


def test_frames_of_a_human():
    header = Header(frame_id="optical", stamp=stamp_of(3.0))
    (pelvis,) = human_frames(header, [make_human(1)], NAMES, with_joints=False)
    assert (pelvis.child_frame_id, pelvis.header) == ("human_2", header)
    t, r = pelvis.transform.translation, pelvis.transform.rotation
    assert (t.x, t.y, t.z) == (1.0, 0.0, 3.0)
    turn = Rotation.from_quat([r.x, r.y, r.z, r.w]).as_matrix()
    np.testing.assert_allclose(turn[:, 1], [0, -1, 0], atol=1e-6)  # its y is up, the camera's down


def test_frames_of_joints_are_inside_the_humans():
    header = Header(frame_id="optical")
    frames = human_frames(header, [make_human()], NAMES, with_joints=True, camera="front")
    assert [f.child_frame_id for f in frames] == [
        "front_human_1",
        *(f"front_human_1_{name}" for name in NAMES if name != "pelvis"),
    ]
    assert {f.header.frame_id for f in frames[1:]} == {"front_human_1"}
    head = frames[-1].transform.translation
    assert (head.x, head.y, head.z) == pytest.approx((0.0, 0.7, 0.0), abs=1e-6)


def test_joints_turn_as_the_body_bends():
    rotations = np.tile(np.eye(3), (24, 1, 1))
    hip, knee = (JOINT_NAMES.index(f"left_{name}") for name in ("hip", "knee"))
    rotations[hip] = Rotation.from_rotvec([0.5, 0, 0]).as_matrix()
    rotations[knee] = Rotation.from_rotvec([0.3, 0, 0]).as_matrix()
    body = Body(np.zeros((24, 3)), np.ones(24), None, rotations, None, True)
    turns = Rotation.from_matrix(joint_rotations(body, JOINT_NAMES)).as_rotvec()
    np.testing.assert_allclose(turns[knee], [0.8, 0, 0], atol=1e-6)
    np.testing.assert_allclose(turns[JOINT_NAMES.index("left_foot")], [0.8, 0, 0], atol=1e-6)
    np.testing.assert_allclose(turns[JOINT_NAMES.index("right_knee")], 0, atol=1e-6)


@pytest.mark.slow
def test_over_real_topics_people_are_in_odom_while_the_robot_drives(tmp_path):
    """The node with tf2_msgs: silent without a transform, then in the wanted frame, with frames."""
    environment = tf2_messages.environment(tmp_path)
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
