"""Humans as messages: the image's stamp, units, joint order, and what RViz is told."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from helpers.fake_pipeline import BOX_FACES, JOINTS, make_human
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.transform_buffer import Transform
from stdformer_ros.ros.outputs.markers import (
    MeshMarkerWriter,
    bones_marker,
    deletions,
    label_marker,
    mesh_marker,
)
from stdformer_ros.ros.outputs.messages import (
    CLOUD_TYPE,
    human_array,
    joint_cloud,
    joint_poses,
    pelvis_rotation,
)

pytestmark = pytest.mark.ros

NAMES = tuple(JOINTS)
CAMERA = Camera(100, 200, fx=90, fy=90, cx=50, cy=100)
HERE = Transform(np.eye(3), np.zeros(3))
HEADER = Header(stamp=Time(sec=12, nanosec=345_678_901), frame_id="optical")


def message_of(human, with_vertices=True):
    return human_array(HEADER, "fake", NAMES, [human], CAMERA, with_vertices).humans[0]


def test_every_message_has_exactly_the_images_stamp_and_frame():
    humans = [make_human()]
    headers = [
        human_array(HEADER, "fake", NAMES, humans, CAMERA, False).header,
        joint_poses(HEADER, humans).header,
        joint_cloud(HEADER, humans).header,
        mesh_marker(HEADER, 1, humans[0].body.vertices, BOX_FACES).header,
        bones_marker(HEADER, humans[0], [(0, 1)]).header,
        label_marker(HEADER, humans[0], HERE).header,
        *(marker.header for marker in deletions(HEADER, [("mesh", 1)])),
    ]
    for header in headers:
        assert (header.stamp.sec, header.stamp.nanosec) == (12, 345_678_901)
        assert header.frame_id == "optical"


def test_a_human_message_holds_the_values_of_the_human():
    human = make_human(1)
    message = message_of(human)
    assert message.track_id == 2
    assert message.score == 0.75
    assert message.window_fill == 0.5
    assert message.metric_depth is True
    joints = np.array([(p.x, p.y, p.z) for p in message.joints])
    np.testing.assert_array_equal(joints, human.body.joints)
    np.testing.assert_array_equal(message.joint_scores, human.body.joint_scores)
    assert all((v.x, v.y, v.z) == (0.25, 0.25, 0.25) for v in message.joint_velocities)
    np.testing.assert_array_equal(np.reshape(message.vertices, (-1, 3)), human.body.vertices)
    position = message.pose.pose.position
    assert (position.x, position.y, position.z) == tuple(human.body.joints[0])


def test_vertices_and_parameters_are_left_out_where_there_are_none():
    message = message_of(make_human(), with_vertices=False)
    assert len(message.vertices) == len(message.body_pose) == len(message.betas) == 0


def test_the_region_is_the_part_of_the_box_inside_the_image():
    region = message_of(make_human()).region  # box 10, 20, 110, 220 in an image of 100 x 200
    assert (region.x_offset, region.y_offset, region.width, region.height) == (10, 20, 90, 180)
    outside = make_human()
    outside.person.box[:] = [-50, -60, -10, -20]
    region = message_of(outside).region
    assert (region.x_offset, region.y_offset, region.width, region.height) == (0, 0, 0, 0)


def test_the_pelvis_axes_are_left_up_and_front():
    # Facing the camera, the person's left is the image's right, and their front is towards us.
    rotation = pelvis_rotation(make_human().body, NAMES)
    np.testing.assert_allclose(rotation, [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-6)


def test_rotations_become_the_pose_and_axis_angles():
    rotations = Rotation.random(24, random_state=3)
    human = make_human()
    body = replace(
        human.body,
        rotations=rotations.as_matrix().astype(np.float32),
        betas=np.arange(10, dtype=np.float32),
    )
    message = message_of(replace(human, body=body))
    q = message.pose.pose.orientation
    turn = Rotation.from_quat([q.x, q.y, q.z, q.w]) * rotations[0].inv()
    assert turn.magnitude() < 1e-3
    np.testing.assert_allclose(
        np.reshape(message.body_pose, (23, 3)), rotations[1:].as_rotvec(), atol=1e-3
    )
    np.testing.assert_array_equal(message.betas, np.arange(10))


def test_assumed_intrinsics_make_the_distance_more_uncertain():
    known = message_of(make_human(known=True)).pose.covariance
    assumed = message_of(make_human(known=False))
    assert assumed.metric_depth is False
    assert assumed.pose.covariance[14] > 4 * known[14]  # z
    assert assumed.pose.covariance[0] == known[0]  # x


def test_the_covariance_grows_as_the_joints_scores_fall():
    human = make_human()

    def variances(score):
        scores = np.full(len(NAMES), score, np.float32)
        message = message_of(replace(human, body=replace(human.body, joint_scores=scores)))
        return np.diag(np.reshape(message.pose.covariance, (6, 6)))

    usual, sure, unsure, lost = (variances(s) for s in (0.9, 0.97, 0.5, 0.0))
    distance = 2.0
    assert np.sqrt(usual) == pytest.approx(
        [0.02 * distance] * 2 + [0.1 * distance] + [0.0833] * 3, rel=1e-2
    )
    assert unsure == pytest.approx(9 * usual, rel=1e-3)
    assert sure[:3] == pytest.approx(usual[:3])
    assert (sure[3:] < 0.4 * usual[3:]).all()
    assert np.isfinite(lost).all()
    assert (lost > 10 * unsure).all()


def test_the_cloud_holds_every_joint_with_score_person_and_index():
    humans = [make_human(0), make_human(1)]
    cloud = joint_cloud(HEADER, humans)
    points = np.frombuffer(cloud.data, CLOUD_TYPE)
    assert cloud.width == len(points) == 2 * len(NAMES)
    assert cloud.row_step == len(cloud.data)
    expected = np.concatenate([human.body.joints for human in humans])
    np.testing.assert_array_equal(np.stack([points["x"], points["y"], points["z"]], 1), expected)
    np.testing.assert_array_equal(points["track_id"], np.repeat([1, 2], len(NAMES)))
    np.testing.assert_array_equal(points["joint"], np.tile(np.arange(len(NAMES)), 2))
    assert [(f.name, f.offset) for f in cloud.fields][:3] == [("x", 0), ("y", 4), ("z", 8)]


def test_the_poses_are_the_joints_in_the_same_order():
    humans = [make_human(0), make_human(1)]
    poses = joint_poses(HEADER, humans).poses
    positions = np.array([(p.position.x, p.position.y, p.position.z) for p in poses])
    np.testing.assert_array_equal(positions, np.concatenate([h.body.joints for h in humans]))


def test_markers_follow_rvizs_rules():
    human = make_human(2)
    bones, label = bones_marker(HEADER, human, [(0, 1), (0, 3)]), label_marker(HEADER, human, HERE)
    assert (bones.type, bones.id, len(bones.points)) == (Marker.LINE_LIST, 3, 4)
    assert bones.scale.x > 0
    assert (label.type, label.id) == (Marker.TEXT_VIEW_FACING, 3)
    assert label.scale.z > 0
    assert label.pose.position.y < human.body.joints[:, 1].min()  # above: y points down
    mesh = mesh_marker(HEADER, 3, human.body.vertices, BOX_FACES)
    assert mesh.type == Marker.TRIANGLE_LIST
    assert len(mesh.points) == 3 * len(BOX_FACES)
    assert (mesh.scale.x, mesh.scale.y, mesh.scale.z) == (1.0, 1.0, 1.0)
    for marker in (bones, label, mesh):
        assert marker.color.a == 1.0
        assert marker.pose.orientation.w == 1.0
        assert marker.lifetime.sec > 0


def test_markers_of_people_who_left_are_deleted_from_their_namespaces():
    markers = deletions(HEADER, [("mesh", 4), ("label", 5)])
    assert [(marker.ns, marker.id) for marker in markers] == [("mesh", 4), ("label", 5)]
    assert {marker.action for marker in markers} == {Marker.DELETE}


@pytest.mark.parametrize("frame_id", ["", "c", "camera_color_optical_frame"])
def test_the_mesh_writer_gives_the_bytes_of_the_serialised_message(frame_id):
    rng = np.random.default_rng(1)
    faces = rng.integers(0, 50, (97, 3)).astype(np.int32)
    writer = MeshMarkerWriter(frame_id, faces)
    for track_id in (0, 7, 2**31 - 1):
        stamp = Time(sec=int(rng.integers(2**31)), nanosec=int(rng.integers(10**9)))
        vertices = rng.normal(size=(50, 3)).astype(np.float32)
        built = mesh_marker(Header(stamp=stamp, frame_id=frame_id), track_id, vertices, faces)
        expected = bytearray(serialize_message(MarkerArray(markers=[built])))
        array = deserialize_message(bytes(expected), MarkerArray)
        written = writer.write(stamp, track_id, vertices)
        assert len(written) == len(expected)
        assert deserialize_message(written, MarkerArray) == array
        # The serialiser leaves the bytes between aligned fields as they happen to be. Nothing else
        # may differ: what differs must not matter.
        differing = [i for i in range(len(expected)) if written[i] != expected[i]]
        assert len(differing) < 40
        for i in differing:
            expected[i] ^= 0xFF
        assert deserialize_message(bytes(expected), MarkerArray) == array
