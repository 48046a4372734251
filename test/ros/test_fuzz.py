"""Ten thousand malformed messages: each is used or refused with a reason; the node answers on."""

import time
from itertools import islice

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from helpers.malformed import camera_infos, compressed_images, garbled, images
from helpers.ros_client import PATIENCE, NodeProcess, stamp_of
from stdformer_ros.bench.soak import sample
from stdformer_ros.ros.inputs.compressed import decompressed
from stdformer_ros.ros.inputs.images import MAX_PIXELS, depth_of, to_rgb
from stdformer_ros.ros.inputs.intake import Intake
from stdformer_ros.ros.log import BadInput

pytestmark = pytest.mark.ros

MESSAGES = 10_000


def outcome(use, messages):
    """How many messages were used, and how many refused by kind; other exceptions are errors."""
    counts = {"used": 0}
    for message in messages:
        try:
            use(message)
            kind = "used"
        except BadInput as bad:
            kind = bad.kind
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def test_every_image_is_converted_or_refused():
    def use(message):
        rgb = to_rgb(message)
        assert rgb.shape == (message.height, message.width, 3)
        assert rgb.dtype == np.uint8

    counts = outcome(use, islice(images(1), MESSAGES))
    assert counts["used"] > 0.05 * MESSAGES
    assert {"encoding", "step", "data", "size", "empty"} <= set(counts)


def test_every_compressed_image_is_decoded_or_refused():
    def use(message):
        rgb = decompressed(message)
        assert rgb.ndim == 3
        assert rgb.shape[2] == 3
        assert rgb.dtype == np.uint8

    counts = outcome(use, islice(compressed_images(12), MESSAGES))
    assert counts["used"] > 0.02 * MESSAGES
    assert {"format", "data", "size"} <= set(counts)


def test_every_depth_image_is_converted_or_refused():
    def use(message):
        assert depth_of(message).values.shape == (message.height, message.width)

    depth = ("16UC1", "32FC1", "mono16", "rgb8", "")
    counts = outcome(use, islice(images(13, depth), MESSAGES))
    assert counts["used"] > 0.02 * MESSAGES
    assert {"encoding", "step", "data", "empty"} <= set(counts)


def test_intrinsics_are_plausible_whatever_camera_info_contains():
    intake = Intake()

    def use(message):
        intake.take_camera_info(message)
        camera = intake.camera
        if camera is not None:
            x, y = camera.width, camera.height
            rays = camera.rays(np.array([[0, 0], [x, 0], [0, y], [x, y]], np.float32))
            assert np.isfinite(rays).all()
            assert np.abs(rays).max() < 1e6

    counts = outcome(use, islice(camera_infos(2), MESSAGES))
    assert counts["used"] > 0.02 * MESSAGES
    assert counts["intrinsics"] > 0.1 * MESSAGES


def test_any_mixture_of_images_and_camera_infos_gives_valid_frames():
    intake, infos = Intake(), camera_infos(3)

    def use(message):
        outcome(intake.take_camera_info, [next(infos)])
        frame = intake.frame(message)
        assert frame.image.shape == (frame.camera.height, frame.camera.width, 3)
        assert np.isfinite(frame.stamp)

    assert outcome(use, islice(images(4), MESSAGES))["used"] > 0


def test_an_image_larger_than_any_camera_makes_is_refused():
    message = next(images(5))
    message.encoding, message.width, message.height = "mono8", 10_000, MAX_PIXELS // 10_000 + 1
    message.step = message.width
    with pytest.raises(BadInput, match="too large"):
        to_rgb(message)


def answers(client):
    """Whether a good image among all the others is answered."""
    sent = []
    for _ in range(round(PATIENCE / 0.3)):
        sent.append(client.send(2).header)
        if client.until(lambda: any(h.header in sent for h in client.humans), 0.3):
            return all(len(h.humans) == 2 for h in client.humans if h.header in sent)
    return False


def resources(node, client):
    """Threads, published and subscribed topics of the node's process; its resident megabytes."""
    used, graph = sample(node.process.pid, 0.0, 0), client.node
    published = graph.get_publisher_names_and_types_by_node("stdformer", "/")
    subscribed = graph.get_subscriber_names_and_types_by_node("stdformer", "/")
    return (used.threads, len(published), len(subscribed)), used.megabytes


@pytest.mark.slow
def test_a_node_keeps_answering_among_malformed_messages(tmp_path, client):
    """Over real topics; some of them are bytes that cannot be deserialised."""
    depths = ("16UC1", "32FC1", "mono16", "rgb8", "")
    with NodeProcess(tmp_path / "log", autostart=True, depth=True) as node:
        client.connect()
        client.send_depth(2.0)
        assert answers(client), node.output
        before = resources(node, client)
        each = MESSAGES // 6
        streams = [
            (client._image, images(6)),
            (client._info, camera_infos(7)),
            (client._depth, images(14, depths)),
            (client._image, garbled(8, images(9))),
            (client._info, garbled(10, camera_infos(11))),
            (client._depth, garbled(15, images(16, depths))),
        ]
        for number in range(each):
            for publisher, messages in streams:
                publisher.publish(next(messages))
            if number % 25 == 0:
                client.until(lambda: False, 0.01)  # so that the node receives some of each kind
            if number % 500 == 499:
                client.humans.clear()
                assert answers(client), node.output
        assert node.process.poll() is None
        assert "Traceback" not in node.output
        lines = node.output.count("frame dropped")
        assert lines > 3, "nothing bad has arrived"
        assert lines < MESSAGES / 20, "the log is flooded"
        after = resources(node, client)
        print(f"{6 * each} malformed messages: {before} -> {after}, {lines} lines of log")
        assert after[0] == before[0]
        assert after[1] - before[1] < 40.0


@pytest.mark.slow
def test_a_node_keeps_answering_among_malformed_compressed_images(tmp_path, client):
    topic = "/camera/image/compressed"
    camera = client.node.create_publisher(CompressedImage, topic, qos_profile_sensor_data)
    good = cv2.imencode(".png", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    settings = {"autostart": True, "image_transport": "compressed"}
    with NodeProcess(tmp_path / "log", **settings) as node:
        assert client.until(lambda: camera.get_subscription_count() > 0), node.output
        bad, bytes_ = compressed_images(17), garbled(18, compressed_images(19))
        for number in range(MESSAGES // 4):
            camera.publish(next(bad))
            camera.publish(next(bytes_))
            if number % 25 == 0:
                client.until(lambda: False, 0.01)
        stamps = iter(range(5000, 6000))
        end = time.monotonic() + PATIENCE
        wanted = []
        while time.monotonic() < end and not any(h.header in wanted for h in client.humans):
            wanted.append(Header(stamp=stamp_of(next(stamps)), frame_id="good"))
            camera.publish(CompressedImage(header=wanted[-1], format="png", data=good))
            client.until(lambda: False, 0.1)
        assert any(h.header in wanted for h in client.humans), node.output
        assert node.process.poll() is None
        assert "Traceback" not in node.output
        assert "frame dropped" in node.output, "nothing bad has arrived"
