"""REP-155: names, the 2D skeleton, and angles with which a URDF points where the person does."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers.rep155_body import DOWN, NAMES, standing
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.outputs.rep155 import body_id, joint_angles, skeleton_2d
from stdformer_ros.ros.outputs.rep155_urdf import body_urdf
from stdformer_ros.types import Person

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


def test_who_stands_upright_has_all_angles_zero():
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


def test_the_2d_skeleton_has_its_points_in_parts_of_the_image():
    landmarks = np.stack([np.arange(33) * 2.0, np.arange(33) * 1.0], axis=1).astype(np.float32)
    visibility = np.linspace(0.1, 0.9, 33, dtype=np.float32)
    points = skeleton_2d(somebody(landmarks, visibility), Camera.assumed(100, 50))
    assert points.shape == (18, 3)
    assert points[0] == pytest.approx([0.5 / 100, 0.5 / 50, 0.1])  # the nose
    assert points[4] == pytest.approx([32.5 / 100, 16.5 / 50, visibility[16]])  # right wrist
    assert points[7] == pytest.approx([30.5 / 100, 15.5 / 50, visibility[15]])  # left wrist
    assert points[1] == pytest.approx([23.5 / 100, 12.0 / 50, visibility[11]])  # amid the shoulders


def test_what_lies_outside_the_image_is_on_its_border_without_confidence():
    landmarks = np.full((33, 2), -5.0, np.float32)
    landmarks[16] = 500.0, 25.0
    points = skeleton_2d(somebody(landmarks, np.ones(33, np.float32)), Camera.assumed(100, 50))
    assert points[:, 2].max() == 0.0
    assert points[0, :2].tolist() == [0.0, 0.0]
    assert points[4, :2] == pytest.approx([1.0, 25.5 / 50])


@pytest.mark.parametrize(("track_id", "name"), [(1, "b0001"), (42, "b0042"), (12345, "b12345")])
def test_identifiers_begin_with_a_letter_as_parts_of_topics_must(track_id, name):
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
def test_the_urdf_at_the_published_angles_has_its_ends_where_the_persons_are(
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
