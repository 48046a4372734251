"""A camera that is not upright, over topics: real people, the node with its real networks.

The camera's images have to be turned clockwise to be upright. The node does that by its parameter
`rotate`, and publishes what it would publish of an upright camera, in the camera's own frame.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from helpers.real_people import upright_pictures
from helpers.ros_client import Client, NodeProcess, stamp_of
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.camera.turning import turn_matrix, turned_box
from stdformer_ros.ros.outputs.messages import rgb_message
from stdformer_ros.types import Frame

pytestmark = pytest.mark.ros

UPRIGHT = Camera(884, 496, 700.0, 690.0, 450.0, 240.0)
LENS = [-0.05, 0.01, 0.0, 0.0, 0.0]
"""Without tangential distortion, which CameraInfo would give turned."""


@pytest.fixture(scope="module")
def real_node(tmp_path_factory):
    """The program of the node itself."""
    script = tmp_path_factory.mktemp("node") / "node.py"
    script.write_text("import sys\nfrom stdformer_ros.ros.node import main\nsys.exit(main())\n")
    return script


def camera_info(header, camera):
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    size = {"width": camera.width, "height": camera.height}
    return CameraInfo(header=header, k=k, d=LENS, distortion_model="plumb_bob", **size)


class Seen:
    """What a node publishes of a camera whose images have to be turned by some degrees."""

    def __init__(self, script, log, degrees, pictures):
        client = Client()
        client.listen(MarkerArray, "/stdformer/markers")
        client.listen(Image, "/stdformer/overlay")
        try:
            with NodeProcess(
                log, script, autostart=True, rotate=degrees, publish_vertices=True
            ) as node:
                connected = client._image.get_subscription_count
                assert client.until(connected), node.output
                client.until(lambda: False, 0.5)
                for i, picture in enumerate(pictures):
                    taken = Frame(picture, 0.0, UPRIGHT).turned(-degrees)
                    header = Header(frame_id="optical", stamp=stamp_of(100.0 + i / 30))
                    self._send(client, taken, header, node)
        finally:
            client.close()
        self.humans = client.humans
        self.overlays = client.heard["/stdformer/overlay"]
        markers = [m for array in client.heard["/stdformer/markers"] for m in array.markers]
        self.labels = [marker for marker in markers if marker.ns == "label"]

    @staticmethod
    def _send(client, frame, header, node):
        """Until it is answered: best effort loses images, and the node drops repeated ones."""
        for _ in range(60):
            client._info.publish(camera_info(header, frame.camera))
            client.until(lambda: False, 0.05)
            client._image.publish(rgb_message(header, frame.image))
            if client.until(lambda: any(h.header == header for h in client.humans), 1.0):
                client.until(lambda: False, 0.2)  # the other topics come after it
                return
        raise AssertionError(node.output)


def joints(human):
    return np.array([[p.x, p.y, p.z] for p in human.joints])


def velocities(human):
    return np.array([[v.x, v.y, v.z] for v in human.joint_velocities])


def orientation(human):
    q = human.pose.pose.orientation
    return Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()


def region(human):
    """Corners x0, y0, x1, y1 between pixels."""
    r = human.region
    return np.array([r.x_offset, r.y_offset, r.x_offset + r.width, r.y_offset + r.height])


@pytest.mark.slow
def test_people_before_a_turned_camera_are_published_in_the_cameras_own_frame(
    ros, tmp_path, real_node, real_video
):
    pictures = upright_pictures(real_video, 6)
    upright = Seen(real_node, tmp_path / "log_0", 0, pictures)
    assert all(answer.humans for answer in upright.humans)
    for degrees in (90, 180):
        turned = Seen(real_node, tmp_path / f"log_{degrees}", degrees, pictures)
        back = turn_matrix(-degrees)
        assert len(turned.humans) == len(upright.humans) == len(pictures)
        for ours, theirs in zip(turned.humans, upright.humans, strict=True):
            assert [h.track_id for h in ours.humans] == [h.track_id for h in theirs.humans]
            for human, expected in zip(ours.humans, theirs.humans, strict=True):
                assert human.metric_depth
                np.testing.assert_allclose(joints(human), joints(expected) @ back.T, atol=1e-3)
                np.testing.assert_allclose(
                    velocities(human), velocities(expected) @ back.T, atol=1e-2
                )
                np.testing.assert_allclose(
                    orientation(human), back @ orientation(expected), atol=1e-3
                )
                meshes = [np.reshape(h.vertices, (-1, 3)) for h in (human, expected)]
                np.testing.assert_allclose(meshes[0], meshes[1] @ back.T, atol=1e-3)
                there = turned_box(region(expected) - 0.5, (884, 496), -degrees) + 0.5
                np.testing.assert_allclose(region(human), there, atol=1.0)
                covariance = np.reshape(expected.pose.covariance, (6, 6))[:3, :3]
                np.testing.assert_allclose(
                    np.reshape(human.pose.covariance, (6, 6))[:3, :3],
                    back @ covariance @ back.T,
                    rtol=1e-2,
                    atol=1e-6,
                )
        by_stamp = {(m.header.stamp.nanosec, m.id): m for m in upright.labels}
        compared = 0
        for label in turned.labels:
            expected = by_stamp.get((label.header.stamp.nanosec, label.id))
            if expected is not None:
                p, q = label.pose.position, expected.pose.position
                np.testing.assert_allclose([p.x, p.y, p.z], back @ [q.x, q.y, q.z], atol=1e-2)
                assert label.text == expected.text
                compared += 1
        assert compared > 0
        # People look at the overlay, so it is upright.
        assert {(m.width, m.height) for m in turned.overlays} == {(884, 496)}


@pytest.mark.slow
def test_without_rotate_the_node_hints_at_it_when_nobody_is_found_for_long(
    ros, tmp_path, real_node, real_video
):
    client = Client()
    (picture,) = upright_pictures(real_video, 1)
    frame = Frame(picture, 0.0, UPRIGHT).turned(90)
    hint = "/camera/image: nobody was found in"
    with NodeProcess(tmp_path / "log", real_node, autostart=True) as node:
        assert client.until(client._image.get_subscription_count), node.output
        for i in range(600):
            header = Header(frame_id="optical", stamp=stamp_of(100.0 + i / 30))
            client._image.publish(rgb_message(header, frame.image))
            client.until(lambda: False, 0.2)
            if hint in node.output:
                break
        assert node.output.count(hint) == 1, node.output
        assert "rotate is 0; 90, 180 or 270 turn the images" in node.output
        assert not any(answer.humans for answer in client.humans)
    client.close()
