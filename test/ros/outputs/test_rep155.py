"""REP-155: the 2D skeleton, angles and URDF that agree with the person, and the topics."""

import sys
import time
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from helpers.rep155_body import DOWN, NAMES, standing
from helpers.ros_client import PATIENCE, stamp_of
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.outputs.rep155 import (
    LATCHED,
    Rep155Topics,
    body_frame,
    body_id,
    body_urdf,
    cropped,
    joint_angles,
    skeleton_2d,
)
from stdformer_ros.types import Body, Frame, Human, Person

pytestmark = pytest.mark.ros

# A body's left, up and front in the body's own REP-103 axes (x ahead, y left, z up).
PELVIS = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def turned(*turns):
    """The product of rotations about axes, as (axis, angle) from the outermost."""
    matrix = np.eye(3)
    for axis, angle in turns:
        matrix = matrix @ Rotation.from_rotvec(np.asarray(axis, float) * angle).as_matrix()
    return matrix


def forward(angles):
    """Where the limbs of human_description's URDF point, by its joints' axes."""
    x, y, z = np.eye(3)
    ways = {}
    torso = turned((y, angles["waist"]))
    ways["spine"] = torso @ z
    for side, p, sign in (("left", "l", 1), ("right", "r", -1)):
        shoulder = torso @ turned(
            (-sign * z, angles[f"{p}_y_shoulder"]),
            (sign * x, angles[f"{p}_p_shoulder"]),
            (sign * z, angles[f"{p}_r_shoulder"]),
        )
        ways[f"{side}_elbow"] = shoulder @ DOWN
        ways[f"{side}_wrist"] = shoulder @ turned((-y, angles[f"{p}_elbow"])) @ DOWN
        hip = turned(
            (-z, angles[f"{p}_y_hip"]), (sign * x, angles[f"{p}_p_hip"]), (-y, angles[f"{p}_r_hip"])
        )
        ways[f"{side}_knee"] = hip @ DOWN
        ways[f"{side}_ankle"] = hip @ turned((-y, angles[f"{p}_knee"])) @ DOWN
    return ways


def test_all_angles_of_a_person_who_stands_upright_are_zero():
    angles = joint_angles(standing(), NAMES, PELVIS)
    assert set(angles) == {"waist"} | {
        f"{p}_{name}"
        for p in ("l", "r")
        for name in (
            *("y_shoulder", "p_shoulder", "r_shoulder", "elbow"),
            *("y_hip", "p_hip", "r_hip", "knee"),
        )
    }
    assert angles == pytest.approx(dict.fromkeys(angles, 0.0), abs=1e-3)


@pytest.mark.parametrize(
    ("directions", "name", "angle"),
    [
        ({"left_elbow": (0, 1, 0), "left_wrist": (0, 1, 0)}, "l_p_shoulder", np.pi / 2),
        ({"right_elbow": (0, -1, 0), "right_wrist": (0, -1, 0)}, "r_p_shoulder", np.pi / 2),
        ({"left_wrist": (1, 0, 0)}, "l_elbow", np.pi / 2),
        ({"left_knee": (1, 0, 0)}, "l_knee", -np.pi / 2),
        ({"left_knee": (1, 0, 0)}, "l_r_hip", np.pi / 2),
        ({"right_ankle": (-1, 0, 0)}, "r_knee", -np.pi / 2),
        ({"spine": (1, 0, 1)}, "waist", np.pi / 4),
    ],
)
def test_known_poses_have_known_angles(directions, name, angle):
    assert joint_angles(standing(**directions), NAMES, PELVIS)[name] == pytest.approx(angle, 1e-3)


ways = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(ways, ways, ways, ways, st.integers(0, 2**31))
def test_the_urdf_with_these_angles_points_where_the_limbs_do(upper, lower, thigh, shin, seed):
    directions = {
        f"{side}_{joint}": way
        for side in ("left", "right")
        for joint, way in (("elbow", upper), ("wrist", lower), ("knee", thigh), ("ankle", shin))
    }
    unit = {name: np.array(way) / np.linalg.norm(way) for name, way in directions.items()}
    bend = np.linalg.norm(np.cross(unit["left_knee"], unit["left_ankle"]))
    assume(bend > 0.16)  # a straight one is the next test's
    seen = Rotation.random(random_state=seed % 2**31).as_matrix()  # in any camera's frame
    angles = joint_angles(standing(**directions) @ seen.T, NAMES, seen @ PELVIS)
    found = forward(angles)
    for name, way in unit.items():
        assert found[name] == pytest.approx(way, abs=1e-2), name
    assert -np.pi <= angles["l_knee"] <= 0.0
    assert 0.0 <= angles["r_elbow"] <= np.pi


@given(ways)
def test_a_straight_leg_swings_without_yaw_to_where_it_points(way):
    assume(way[2] < -0.2 * np.linalg.norm(way))
    angles = joint_angles(standing(left_knee=way, left_ankle=way), NAMES, PELVIS)
    assert angles["l_y_hip"] == 0.0
    assert angles["l_knee"] == pytest.approx(0.0, abs=1e-3)
    assert forward(angles)["left_knee"] == pytest.approx(
        np.array(way) / np.linalg.norm(way), abs=1e-3
    )


def somebody(landmarks, visibility):
    return Person(1, 0.9, np.zeros(4, np.float32), landmarks, visibility)


def test_the_2d_skeletons_points_are_fractions_of_the_images_size():
    landmarks = np.stack([np.arange(33) * 2.0, np.arange(33) * 1.0], axis=1).astype(np.float32)
    visibility = np.linspace(0.1, 0.9, 33, dtype=np.float32)
    points = skeleton_2d(somebody(landmarks, visibility), Camera.assumed(100, 50))
    assert points.shape == (18, 3)
    assert points[0] == pytest.approx([0.5 / 100, 0.5 / 50, 0.1])  # the nose
    assert points[4] == pytest.approx([32.5 / 100, 16.5 / 50, visibility[16]])  # right wrist
    assert points[7] == pytest.approx([30.5 / 100, 15.5 / 50, visibility[15]])  # left wrist
    assert points[1] == pytest.approx([23.5 / 100, 12.0 / 50, visibility[11]])  # amid the shoulders


def test_points_outside_the_image_are_moved_to_its_border_with_confidence_zero():
    landmarks = np.full((33, 2), -5.0, np.float32)
    landmarks[16] = 500.0, 25.0
    points = skeleton_2d(somebody(landmarks, np.ones(33, np.float32)), Camera.assumed(100, 50))
    assert points[:, 2].max() == 0.0
    assert points[0, :2].tolist() == [0.0, 0.0]
    assert points[4, :2] == pytest.approx([1.0, 25.5 / 50])


@pytest.mark.parametrize(("track_id", "name"), [(1, "b0001"), (42, "b0042"), (12345, "b12345")])
def test_identifiers_begin_with_a_letter_because_parts_of_topics_must(track_id, name):
    assert body_id(track_id) == name


def places(urdf, name, angles):
    """Where the URDF's links are in its body, by a robot_state_publisher's arithmetic."""
    joints = {j.find("child").get("link"): j for j in ElementTree.fromstring(urdf).iter("joint")}

    def frame(link):
        if link == f"body_{name}":
            return np.eye(3), np.zeros(3)
        joint = joints[link]
        turn, place = frame(joint.find("parent").get("link"))
        numbers = {e.tag: np.array(e.get("xyz").split(), float) for e in joint if e.get("xyz")}
        place = place + turn @ numbers["origin"]
        angle = angles.get(joint.get("name").removesuffix(f"_{name}"), 0.0)
        return (turn @ turned((numbers["axis"], angle)) if "axis" in numbers else turn), place

    return {link.removesuffix(f"_{name}"): frame(link)[1] for link in joints}


def test_the_urdf_has_the_links_and_joints_of_rep_155():
    root = ElementTree.fromstring(body_urdf("b0007", standing(), NAMES))
    links = {link.get("name") for link in root.iter("link")}
    joints = {joint.get("name") for joint in root.iter("joint")}
    assert {f"{name}_b0007" for name in joint_angles(standing(), NAMES, PELVIS)} < joints
    ends = [f"{p}_{end}_b0007" for p in "lr" for end in ("wrist", "ankle", "knee", "hip")]
    assert {"body_b0007", "waist_b0007", "torso_b0007", "head_b0007", *ends} < links
    assert len(links) == len(joints) + 1  # a tree
    parents = {joint.find("parent").get("link") for joint in root.iter("joint")}
    assert parents < links


@given(ways, ways, ways, ways)
def test_the_urdf_at_the_published_angles_has_the_persons_joint_positions(
    upper, lower, thigh, shin
):
    directions = {
        f"{side}_{joint}": way
        for side in ("left", "right")
        for joint, way in (("elbow", upper), ("wrist", lower), ("knee", thigh), ("ankle", shin))
    }
    unit = {name: np.array(way) / np.linalg.norm(way) for name, way in directions.items()}
    assume(np.linalg.norm(np.cross(unit["left_knee"], unit["left_ankle"])) > 0.16)
    joints = standing(**directions)
    urdf = body_urdf("x", joints, NAMES)
    found = places(urdf, "x", joint_angles(joints, NAMES, PELVIS))
    for side, prefix in (("left", "l"), ("right", "r")):
        for joint in ("elbow", "wrist", "knee", "ankle"):
            expected = joints[NAMES.index(f"{side}_{joint}")]
            assert found[f"{prefix}_{joint}"] == pytest.approx(expected, abs=0.01), joint


COLUMNS = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (50, 1, 3))
FRAME = Frame(COLUMNS, 12.5, Camera.assumed(100, 50))


@pytest.fixture
def node(ros):
    node = rclpy.create_node("bodies")
    yield node
    node.destroy_node()


def human(track_id):
    joints = standing(left_wrist=(1, 0, 0)) + np.array([0, 0, 3], np.float32)
    person = Person(
        track_id,
        0.75,
        np.array([10, -5, 60, 40], np.float32),
        np.full((33, 2), 24.5, np.float32),
        np.full(33, 0.5, np.float32),
    )
    body = Body(joints, np.ones(len(joints)), None, None, None, True)
    return Human(person, body, np.zeros_like(joints), 1.0)


def heard_next(executor, messages):
    """The newest message once nothing more comes."""
    end = time.monotonic() + PATIENCE
    while messages[-1].ids and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    return messages[-1]


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((10, -5, 60, 40), (40, 50)),
        ((-0.5, -0.5, 99.5, 49.5), (50, 100)),
        ((90, 40, 300, 300), (10, 10)),
        ((500, 500, 600, 600), (1, 1)),
        ((30, 30, 20, 20), (1, 1)),
    ],
)
def test_a_crop_is_the_part_of_the_image_inside_the_box(box, shape):
    somebody = human(1)
    somebody.person.box[:] = box
    assert cropped(COLUMNS, somebody).shape[:2] == shape


def test_a_bodys_frame_is_between_the_hips_with_x_to_its_front():
    """`standing` is upright in REP-103 axes, three metres up."""
    header = Header(stamp=stamp_of(12.5), frame_id="optical")
    frame = body_frame(header, "b0007", human(7), NAMES)
    assert (frame.header, frame.child_frame_id) == (header, "body_b0007")
    t, r = frame.transform.translation, frame.transform.rotation
    assert (t.x, t.y, t.z) == pytest.approx((0.0, 0.0, 3.0), abs=1e-6)
    assert (r.x, r.y, r.z, r.w) == pytest.approx((0.0, 0.0, 0.0, 1.0), abs=1e-6)


def test_without_hri_msgs_it_says_what_to_install(node, monkeypatch):
    monkeypatch.setitem(sys.modules, "hri_msgs", None)
    with pytest.raises(ValueError, match=r"sudo apt install ros-\$ROS_DISTRO-hri-msgs"):
        Rep155Topics(node, NAMES)


def test_a_person_has_topics_as_long_as_they_are_seen(node):
    messages = pytest.importorskip("hri_msgs.msg", reason="needs hri_msgs").__dict__
    topics = Rep155Topics(node, NAMES)
    heard = {}
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def listen(kind, name, qos=10):
        heard[name] = []
        node.create_subscription(kind, f"/humans/bodies/{name}", heard[name].append, qos)

    listen(messages["IdsList"], "tracked")
    listen(messages["NormalizedRegionOfInterest2D"], "b0007/roi")
    listen(messages["Skeleton2D"], "b0007/skeleton2d")
    listen(JointState, "b0007/joint_states")
    listen(Image, "b0007/cropped")
    listen(String, "b0007/urdf", LATCHED)
    header = Header(stamp=stamp_of(12.5), frame_id="optical")
    end = time.monotonic() + PATIENCE
    while not all(heard.values()) and time.monotonic() < end:
        topics.publish(header, [human(7), human(12)], FRAME)
        executor.spin_once(timeout_sec=0.1)
    assert all(heard.values())

    assert list(heard["tracked"][-1].ids) == ["b0007", "b0012"]
    roi = heard["b0007/roi"][-1]
    found = [roi.xmin, roi.ymin, roi.xmax, roi.ymax, roi.c]
    assert found == pytest.approx([0.1, 0.0, 0.6, 0.8, 0.75])
    skeleton = heard["b0007/skeleton2d"][-1].skeleton
    assert len(skeleton) == 18
    assert (skeleton[0].x, skeleton[0].y, skeleton[0].c) == pytest.approx((0.25, 0.5, 0.5))
    state = heard["b0007/joint_states"][-1]
    angles = dict(zip(state.name, state.position, strict=True))
    assert angles["r_elbow_b0007"] == pytest.approx(0.0, abs=1e-3)
    assert len(angles) == 17
    picture = heard["b0007/cropped"][-1]
    assert (picture.width, picture.height, picture.encoding) == (50, 40, "rgb8")
    assert picture.data[0] == 10  # the column where the box begins
    (urdf,) = heard.pop("b0007/urdf")
    assert 'link name="l_wrist_b0007"' in urdf.data
    for messages_of_topic in heard.values():
        assert messages_of_topic[-1].header == header

    own = {name for name, _ in node.get_publisher_names_and_types_by_node("bodies", "/")}
    assert "/humans/bodies/b0012/roi" in own
    topics.publish(header, [human(7)], FRAME)
    own = {name for name, _ in node.get_publisher_names_and_types_by_node("bodies", "/")}
    assert "/humans/bodies/b0012/roi" not in own
    assert "/humans/bodies/b0007/roi" in own
    topics.clear()
    assert list(heard_next(executor, heard["tracked"]).ids) == []
    topics.destroy()
    own = {name for name, _ in node.get_publisher_names_and_types_by_node("bodies", "/")}
    assert not any(name.startswith("/humans") for name in own)
    executor.shutdown()
