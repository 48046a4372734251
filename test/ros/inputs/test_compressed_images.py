"""Compressed images and QoS: what is decoded, what is refused before it costs memory."""

import struct
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from hypothesis import given
from hypothesis import strategies as st
from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from helpers.ros_client import NodeProcess, stamp_of
from stdformer_ros.msg import HumanArray
from stdformer_ros.ros.bad_input import BadInput
from stdformer_ros.ros.inputs.compressed_images import MAX_PIXELS, decompressed

pytestmark = pytest.mark.ros

PICTURE = np.zeros((48, 64, 3), np.uint8)
PICTURE[:, :32] = (200, 40, 10)  # red on the left, blue on the right
PICTURE[:, 32:] = (10, 40, 200)


def encoded(kind, picture=PICTURE):
    rgb = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(kind, rgb)[1].tobytes()


def message(data, kind="jpeg", stamp=1.0):
    return CompressedImage(
        header=Header(stamp=stamp_of(stamp), frame_id="optical"), format=kind, data=data
    )


def test_a_png_comes_back_exactly_and_a_jpeg_nearly():
    np.testing.assert_array_equal(decompressed(message(encoded(".png"))), PICTURE)
    away = np.abs(decompressed(message(encoded(".jpg"))).astype(int) - PICTURE)
    assert np.median(away) <= 3


def test_the_bytes_count_and_not_what_the_format_says_of_them():
    for kind in ("png", "jpeg", "rgb8; jpeg compressed bgr8", ""):
        np.testing.assert_array_equal(decompressed(message(encoded(".png"), kind)), PICTURE)


def test_grey_and_sixteen_bit_pictures_become_rgb():
    grey = np.full((4, 6), 77, np.uint8)
    assert (decompressed(message(encoded(".png", grey))) == 77).all()
    deep = np.full((4, 6), 77 * 256, np.uint16)
    assert (decompressed(message(encoded(".png", deep))) == 77).all()


def claiming(width, height):
    """A PNG of a few bytes that claims to be so large."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + crc


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "format"),
        (b"GIF89a" + bytes(100), "format"),
        (claiming(2**31 - 1, 2**31 - 1), "size"),
        (claiming(MAX_PIXELS, 2), "size"),
        (claiming(0, 5), "size"),
        (claiming(64, 48), "data"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03", "size"),
        (encoded(".png")[:60], "data"),
    ],
)
def test_what_is_no_picture_is_refused_before_it_costs_memory(data, kind):
    with pytest.raises(BadInput) as refusal:
        decompressed(message(data))
    assert refusal.value.kind == kind


@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from([".jpg", ".png"]))
def test_no_bytes_break_the_decoder(garbage, place, kind):
    whole = encoded(kind)
    for data in (garbage, whole[:place] + garbage + whole[place:]):
        try:
            picture = decompressed(message(data))
        except BadInput:
            continue
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3


def test_the_node_answers_compressed_images_with_the_qos_that_it_is_given(tmp_path, client):
    settings = {
        "autostart": True,
        "image_transport": "compressed",
        "image_reliability": "reliable",
        "output_reliability": "best_effort",
        "qos_overrides./stdformer/joints.publisher.depth": 17,
    }
    with NodeProcess(tmp_path / "log", **settings) as node:
        topic = "/camera/image/compressed"
        camera = client.node.create_publisher(CompressedImage, topic, 5)
        client.listen(HumanArray, "/stdformer/humans", qos_profile_sensor_data)
        assert client.until(lambda: camera.get_subscription_count() > 0)

        def come_to(found, expected) -> bool:
            # an endpoint may become known, or be heard, before its QoS is
            return client.until(lambda: [i.qos_profile.reliability for i in found()] == [expected])

        graph = client.node
        writers = graph.get_publishers_info_by_topic
        readers = graph.get_subscriptions_info_by_topic
        assert come_to(lambda: readers(topic), ReliabilityPolicy.RELIABLE)
        assert come_to(lambda: writers("/stdformer/humans"), ReliabilityPolicy.BEST_EFFORT)
        assert come_to(lambda: writers("/stdformer/body_model"), ReliabilityPolicy.RELIABLE)

        people = PICTURE.copy()
        people[0, 0] = (2, 0, 0)
        heard = client.heard["/stdformer/humans"]
        for i in range(40):
            camera.publish(message(encoded(".png", people), "png", 1.0 + i / 30))
            if client.until(lambda: heard, 0.3):
                break
        assert [human.track_id for human in heard[0].humans] == [1, 2]
        camera.publish(message(b"nonsense", "jpeg", 9.0))
        assert client.until(lambda: "are no JPEG or PNG picture; frame dropped" in node.output)
