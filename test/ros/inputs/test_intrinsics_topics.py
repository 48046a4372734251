"""CameraInfo over topics: whoever publishes it, whenever it comes, and when it changes."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from helpers.keypoint_node import poseformer_checkpoint
from helpers.paths import KEYPOINT_NODE
from helpers.ros_client import LATCHED, NodeProcess

pytestmark = pytest.mark.ros


def info(focal=60.0, width=64, height=48, **fields):
    k = [focal, 0.0, 31.5, 0.0, focal, 23.5, 0.0, 0.0, 1.0]
    return CameraInfo(width=width, height=height, k=k, **fields)


def publish(client, qos, *messages):
    publisher = client.node.create_publisher(CameraInfo, "/camera/camera_info", qos)
    for message in messages:
        publisher.publish(message)
    return publisher


def is_metric(client):
    return client.answer(1).humans[0].metric_depth


def test_a_camera_info_published_once_before_the_node_starts_is_heard(tmp_path, client):
    publish(client, LATCHED, info())
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        client.connect()
        assert client.until(lambda: is_metric(client))
        assert "incompatible QoS" not in node.output


@pytest.mark.parametrize("reliability", ["BEST_EFFORT", "RELIABLE"])
@pytest.mark.parametrize("durability", ["VOLATILE", "TRANSIENT_LOCAL"])
def test_every_kind_of_publisher_is_heard_beside_a_latched_one(
    tmp_path, client, reliability, durability
):
    publish(client, LATCHED, info(60.0))
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        client.connect()
        assert client.until(lambda: is_metric(client))
        qos = QoSProfile(
            depth=5,
            reliability=ReliabilityPolicy[reliability],
            durability=DurabilityPolicy[durability],
        )
        other = publish(client, qos)
        assert client.until(lambda: other.get_subscription_count() > 0)

        def heard():
            other.publish(info(90.0))
            client.answer(1)
            return "to (fx 90.00" in node.output

        assert client.until(heard)
        assert "incompatible QoS" not in node.output


def test_the_first_image_waits_for_the_first_camera_info(tmp_path, client):
    with NodeProcess(tmp_path / "log", autostart=True):
        assert client.until(lambda: client._image.get_subscription_count() > 0)
        assert client.until(lambda: client._info.get_subscription_count() > 0)
        client.until(lambda: False, 1.0)
        client.send(1)
        client.until(lambda: False, 0.1)
        client._info.publish(info())
        assert client.until(lambda: client.humans or is_metric(client))
        assert all(answer.humans[0].metric_depth for answer in client.humans)


def fastest(client):
    """The highest speed of any joint in all answers, m/s."""
    humans = [human for answer in client.humans for human in answer.humans]
    return max(np.hypot(v.z, np.hypot(v.x, v.y)) for h in humans for v in h.joint_velocities)


def test_intrinsics_that_come_late_or_change_cause_no_false_speed(tmp_path, client):
    """Somebody stands 4 m before a lens whose focal length is 110 pixels, then 55 pixels."""
    options = {
        "model": "poseformer_9",
        "checkpoint": poseformer_checkpoint(tmp_path, future_frames=0),
    }

    def distance(focal):
        (human,) = client.answer(10, hundredths=focal).humans
        return human.pose.pose.position.z

    with NodeProcess(tmp_path / "log", KEYPOINT_NODE, autostart=True, **options) as node:
        client.connect()
        client._stamp += 1.0  # the image by which we connected shows somebody else
        assert distance(110) == pytest.approx(2.0, abs=0.2)  # 55.4 pixels are assumed
        for focal in (110, 55):

            def heard():
                client.send_info(focal, focal)  # noqa: B023
                return distance(focal) == pytest.approx(4.0, abs=0.2)  # noqa: B023

            assert client.until(heard)
            for _ in range(3):
                assert distance(focal) == pytest.approx(4.0, abs=0.2)
        assert fastest(client) < 0.1
        assert client.until(lambda: node.output.count("assumed) to (fx 110.00, fy 110.00") == 1)


def test_a_zoom_is_known_for_its_first_image(tmp_path, client):
    """Drivers publish the CameraInfo of an image after the image."""
    weights = poseformer_checkpoint(tmp_path, future_frames=0)
    options = {"model": "poseformer_9", "checkpoint": weights}
    with NodeProcess(tmp_path / "log", KEYPOINT_NODE, autostart=True, **options):
        client.connect()
        client._stamp += 1.0
        zooms = 12
        for i in range(4 * zooms):
            focal = (110, 55)[i // 4 % 2]
            sent = client.send(10, hundredths=focal)
            client._info.publish(info(float(focal), header=sent.header))
            client.until(lambda: False, 0.1)
        distances = [answer.humans[0].pose.pose.position.z for answer in client.humans]
        assert len(distances) > 2 * zooms
        assert sum(abs(z - 4.0) > 0.2 for z in distances) <= 1  # a message may be lost


def test_intrinsics_whose_sides_do_not_fit_the_image_are_told(tmp_path, client):
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        client.connect()
        client._info.publish(info(60.0, 64, 36))
        warning = "for 64x36 pixels, but the image has 64x48: they are stretched"
        client.send_until(lambda: warning in node.output)
        client._info.publish(info(60.0, 48, 64))
        warning = "for 48x64 pixels, but the image has 64x48: the sides are exchanged"
        client.send_until(lambda: warning in node.output)
        assert not is_metric(client)


def test_images_without_a_stamp_have_that_of_their_arrival(tmp_path, client):
    client.listen(DiagnosticArray, "/diagnostics")
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        client.connect()
        for _ in range(5):
            client.humans.clear()
            client.send_until(lambda: client.humans, header=Header(frame_id="optical"))
            header = client.humans[-1].header
            now = client.node.get_clock().now().to_msg().sec
            assert header.frame_id == "optical"
            assert now - 60 <= header.stamp.sec <= now
        warning = "/camera/image: header.stamp is never set (it is 0)"
        assert client.until(lambda: node.output.count(warning) == 1)

        def told():
            client.send(1, header=Header(frame_id="optical"))
            heard = [message.status[0] for message in client.heard["/diagnostics"]]
            restriction = "image stamps are not set (0)"
            return any(restriction in s.message and s.level == DiagnosticStatus.WARN for s in heard)

        assert client.until(told)
        assert node.output.count(warning) == 1
