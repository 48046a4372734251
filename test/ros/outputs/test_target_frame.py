"""Humans in another frame than the camera's, and as frames of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from helpers.fake_pipeline import JOINTS, make_human
from helpers.ros_client import stamp_of
from helpers.tf2_messages import stamped
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.camera.turning import turn_matrix
from stdformer_ros.ros.inputs.transform_buffer import Transform, TransformBuffer
from stdformer_ros.ros.inputs.transforms import PERSON_FRAME
from stdformer_ros.ros.outputs.markers import label_marker
from stdformer_ros.ros.outputs.messages import human_array
from stdformer_ros.ros.outputs.rep155 import body_frame, body_id
from stdformer_ros.ros.outputs.target_frame import (
    CameraPose,
    as_taken,
    human_frames,
    joint_rotations,
    upright_pose,
)
from stdformer_ros.types import Body, Frame

pytestmark = pytest.mark.ros

NAMES = tuple(JOINTS)


def moving_camera(speed):
    """The camera turned to look along x, driving along x."""
    turn = Rotation.from_quat([-0.5, 0.5, -0.5, 0.5]).as_matrix()
    now = Transform(turn, np.array([5.0, 0, 1]))
    return CameraPose(now, Transform(turn, np.array([5.0 - 0.1 * speed, 0, 1])))


def test_joints_mesh_and_velocities_are_all_moved_to_the_target_frame():
    human = make_human()
    moved = moving_camera(speed=0.0).to_target_frame(human)
    # 2 m in front of the camera is 2 m further along x; up is z.
    np.testing.assert_allclose(moved.body.joints[0], [7, 0, 1], atol=1e-6)
    head = NAMES.index("head")
    np.testing.assert_allclose(moved.body.joints[head], [7, 0, 1.7], atol=1e-6)
    lengths = [np.ptp(m.body.vertices, axis=0) for m in (human, moved)]
    np.testing.assert_allclose(lengths[1], lengths[0][[2, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(moved.joint_velocities[0], [0.25, -0.25, -0.25], atol=1e-6)


def test_the_velocity_of_a_moving_camera_is_added():
    moved = moving_camera(speed=2.0).to_target_frame(make_human())
    np.testing.assert_allclose(moved.joint_velocities[0], [2.25, -0.25, -0.25], atol=1e-5)


def label_in_odom(turn):
    """The label of a person 2 m in front of a camera in odom, where its image is turned upright."""
    pose = moving_camera(0.0).now
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 0.0, Camera.assumed(64, 48)).turned(turn)
    _, (human,) = as_taken(frame, [make_human()])
    human = CameraPose(pose, pose).to_target_frame(human)
    return label_marker(Header(frame_id="odom"), human, upright_pose(frame).then(pose))


def test_a_label_is_above_the_head_and_tells_the_distance_from_the_camera_in_any_frame():
    here = Transform(np.eye(3), np.zeros(3))
    in_camera = label_marker(Header(frame_id="optical"), make_human(), here)
    assert in_camera.text == "#1  2.0 m"
    p = in_camera.pose.position
    assert (p.x, p.y, p.z) == pytest.approx((0.0, -0.9, 2.0))  # y points down, the head is at -0.7
    # The camera is at x = 5 m, 1 m high, and looks along x; z points up.
    label = label_in_odom(0)
    assert label.text == "#1  2.0 m"
    p = label.pose.position
    assert (p.x, p.y, p.z) == pytest.approx((7.0, 0.0, 1.9), abs=1e-6)


def test_the_label_of_a_person_who_lies_is_above_the_whole_body_in_the_image():
    lying = make_human()
    turned = lying.body.joints[:, [1, 0, 2]]  # the head to the image's left
    lying = replace(lying, body=replace(lying.body, joints=turned))
    pose = moving_camera(0.0)
    label = label_marker(Header(), pose.to_target_frame(lying), pose.now)
    p, z = label.pose.position, 1.0 - turned[:, 1].min()
    assert (p.x, p.z) == pytest.approx((7.0, z + 0.2), abs=1e-6)


@pytest.mark.parametrize(("turn", "above"), [(90, (0, 1, 0)), (180, (0, 0, -1)), (270, (0, -1, 0))])
def test_a_label_is_above_the_head_of_a_person_in_the_image_of_a_camera_on_its_side(turn, above):
    """Turned by 90 degrees, up in the upright image was the camera's left, which is odom's y."""
    label = label_in_odom(turn)
    p = label.pose.position
    expected = np.array([7.0, 0.0, 1.0]) + 0.9 * np.array(above)
    np.testing.assert_allclose([p.x, p.y, p.z], expected, atol=1e-6)
    assert label.text == "#1  2.0 m"


def test_people_in_an_image_that_was_turned_are_moved_back_to_the_camera():
    image = np.arange(64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    frame = Frame(image, 0.0, Camera(64, 48, 60.0, 61.0, 30.0, 20.0))
    human = make_human()
    rotations = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
    person = replace(
        human.person,
        box=np.array([2, 3, 10, 40], np.float32),
        landmarks=np.tile(np.array([4, 5], np.float32), (33, 1)),
        world_landmarks=np.tile(np.array([1, 0, 0], np.float32), (33, 1)),
    )
    human = replace(human, person=person, body=replace(human.body, rotations=rotations))
    # Turned by 90 degrees, an image of 64 x 48 pixels has 48 x 64, and left is up.
    taken, (moved,) = as_taken(frame.turned(90), [human])
    np.testing.assert_array_equal(taken.image, image)
    assert taken.camera == frame.camera
    assert moved.person.box.tolist() == [3, 48 - 1 - 10, 40, 48 - 1 - 2]
    assert moved.person.landmarks[0].tolist() == [5, 48 - 1 - 4]
    assert moved.person.world_landmarks[0].tolist() == [0, -1, 0]
    head = NAMES.index("head")
    np.testing.assert_allclose(moved.body.joints[head], [-0.7, 0, 2], atol=1e-6)
    np.testing.assert_allclose(moved.joint_velocities[0], [0.25, -0.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(moved.body.rotations[0], turn_matrix(-90))
    np.testing.assert_allclose(moved.body.rotations[1:], rotations[1:])
    assert np.ptp(moved.body.vertices, axis=0) == pytest.approx([1.7, 0.4, 0.2])
    assert as_taken(frame, [human]) == (frame, [human])


def test_the_most_uncertain_direction_is_the_line_of_sight_in_any_frame():
    pose = moving_camera(0.0)
    human = make_human()
    header = Header(frame_id="odom")
    camera = type("Size", (), {"width": 64, "height": 48})()
    moved = [pose.to_target_frame(human)]
    there = human_array(header, "fake", NAMES, moved, camera, False, pose.now)
    here = human_array(header, "fake", NAMES, [human], camera, False)
    before, after = (m.humans[0].pose.covariance for m in (here, there))
    np.testing.assert_allclose(after[[0, 7, 14]], before[[14, 0, 7]], rtol=1e-5)


def test_the_camera_pose_includes_where_the_camera_was_before():
    buffer = TransformBuffer()
    for i in range(11):
        buffer.take([stamped("odom", "optical", (i / 10, 0, 0), seconds=10 + i / 10)], False)
    pose = CameraPose.at(buffer, "odom", Header(frame_id="optical", stamp=stamp_of(11.0)))
    np.testing.assert_allclose(pose.now.translation, [1, 0, 0])
    np.testing.assert_allclose(pose.before.translation, [0.9, 0, 0])
    first = CameraPose.at(buffer, "odom", Header(frame_id="optical", stamp=stamp_of(10.0)))
    assert first.before is first.now


@pytest.mark.parametrize("late", [0.0, 0.05, 0.15])
def test_a_person_who_stands_is_at_rest_although_the_cameras_transforms_come_late(late):
    buffer, speed = TransformBuffer(), 3.0
    turn = Rotation.from_quat([-0.5, 0.5, -0.5, 0.5])
    for t in np.arange(10.0, 11.0 + 1e-6, 0.05):
        place = (speed * t, 0, 0)
        buffer.take([stamped("odom", "optical", place, turn.as_rotvec(), t)], False)
    pose = CameraPose.at(buffer, "odom", Header(frame_id="optical", stamp=stamp_of(11.0 + late)))
    approaching = np.tile(np.array([0, 0, -speed], np.float32), (len(NAMES), 1))
    human = pose.to_target_frame(replace(make_human(), joint_velocities=approaching))
    np.testing.assert_allclose(human.body.joints[0], [speed * (11 + late) + 2, 0, 0], atol=1e-4)
    np.testing.assert_allclose(human.joint_velocities, 0, atol=1e-4)


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


def test_joint_frames_rotate_with_the_body():
    rotations = np.tile(np.eye(3), (24, 1, 1))
    hip, knee = (JOINT_NAMES.index(f"left_{name}") for name in ("hip", "knee"))
    rotations[hip] = Rotation.from_rotvec([0.5, 0, 0]).as_matrix()
    rotations[knee] = Rotation.from_rotvec([0.3, 0, 0]).as_matrix()
    body = Body(np.zeros((24, 3)), np.ones(24), None, rotations, None, True)
    turns = Rotation.from_matrix(joint_rotations(body, JOINT_NAMES)).as_rotvec()
    np.testing.assert_allclose(turns[knee], [0.8, 0, 0], atol=1e-6)
    np.testing.assert_allclose(turns[JOINT_NAMES.index("left_foot")], [0.8, 0, 0], atol=1e-6)
    np.testing.assert_allclose(turns[JOINT_NAMES.index("right_knee")], 0, atol=1e-6)


def test_the_names_of_peoples_frames_are_known_to_the_transforms():
    """tf2's buffer never forgets a frame, so that these are kept out of it."""
    header, human = Header(frame_id="optical"), make_human(11)
    frames = human_frames(header, [human], NAMES, with_joints=True)
    frames += human_frames(header, [human], NAMES, with_joints=True, camera="front_left")
    frames.append(body_frame(header, body_id(12), human, NAMES))
    assert all(PERSON_FRAME.fullmatch(frame.child_frame_id) for frame in frames)
    for name in ("optical", "base_link", "human_base", "odom", "body", "body_front"):
        assert not PERSON_FRAME.fullmatch(name)
