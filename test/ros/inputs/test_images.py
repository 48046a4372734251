"""Images to RGB, raw and compressed: known pixels in every encoding; wrong data are refused."""

import struct
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from helpers.ros_client import NodeProcess, stamp_of
from stdformer_ros.msg import HumanArray
from stdformer_ros.ros.inputs.images import ENCODINGS, MAX_PIXELS, decompressed, to_rgb
from stdformer_ros.ros.log import BadInput

pytestmark = pytest.mark.ros

SIDES = st.integers(1, 9)


def image(encoding, height, width, rows, padding=0, bigendian=False):
    """A message whose rows are `rows` (H, bytes) with `padding` bytes after each."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=padded.shape[1],
        is_bigendian=int(bigendian),
        data=padded.tobytes(),
    )


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb8", [0, 1, 2]),
        ("bgr8", [2, 1, 0]),
        ("8UC3", [2, 1, 0]),
        ("rgba8", [0, 1, 2, 0]),
        ("bgra8", [2, 1, 0, 0]),
    ],
)
@given(height=SIDES, width=SIDES, padding=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_colour_images_keep_every_pixel_whatever_the_padding(
    encoding, order, height, width, padding
):
    rgb = pixels(height, width)
    message = image(encoding, height, width, rgb[..., order].reshape(height, -1), padding)
    np.testing.assert_array_equal(to_rgb(message), rgb)


@pytest.mark.parametrize("bigendian", [False, True])
def test_16_bit_images_keep_their_upper_bytes_in_either_byte_order(bigendian):
    rgb = pixels(4, 5).astype(np.uint16) * 256 + 13
    rows = rgb.astype(">u2" if bigendian else "<u2").view(np.uint8).reshape(4, -1)
    for encoding, order in (("rgb16", [0, 1, 2]), ("bgr16", [2, 1, 0])):
        result = to_rgb(image(encoding, 4, 5, rows, 6, bigendian))
        np.testing.assert_array_equal(result[..., order], rgb >> 8)
    grey = rgb[..., 0]
    rows = grey.astype(">u2" if bigendian else "<u2").view(np.uint8).reshape(4, -1)
    result = to_rgb(image("mono16", 4, 5, rows, 2, bigendian))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None] >> 8, 3, axis=2))


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding):
    grey = pixels(3, 7)[..., 0]
    result = to_rgb(image(encoding, 3, 7, grey, 1))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_bayer_mosaics_give_each_colour_to_its_own_channel(depth, pattern, channel):
    mosaic = np.zeros((8, 8), np.uint8 if depth == 8 else "<u2")
    for place, colour in enumerate(pattern):
        if colour == "rgb"[channel]:
            mosaic[place // 2 :: 2, place % 2 :: 2] = 200 * (1 if depth == 8 else 256)
    message = image(f"bayer_{pattern}{depth}", 8, 8, mosaic.view(np.uint8))
    inside = to_rgb(message)[2:-2, 2:-2]
    expected = np.zeros_like(inside)
    expected[..., channel] = 200
    np.testing.assert_array_equal(inside, expected)


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"])
def test_yuv_encodings_show_red_as_red(encoding):
    y, u, v = 82, 90, 240  # red in BT.601
    if encoding in ("nv12", "nv21"):
        colour = [u, v] if encoding == "nv12" else [v, u]
        rows = np.concatenate([np.full((4, 6), y), np.tile(colour, (2, 3))]).astype(np.uint8)
    else:
        group = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
        rows = np.tile(np.array(group, np.uint8), (4, 3))
    result = to_rgb(image(encoding, 4, 6, rows, 3)).astype(int)
    assert result.shape == (4, 6, 3)
    assert np.abs(result - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_images_are_refused_as_such(encoding):
    with pytest.raises(BadInput, match="depth image"):
        to_rgb(Image(height=2, width=2, step=8, encoding=encoding, data=bytes(16)))


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"encoding": "hologram8"}, "encoding", "unknown encoding 'hologram8'"),
        ({"encoding": ""}, "encoding", "unknown encoding ''"),
        ({"step": 11}, "step", "step 11 is too short: a row of 4 rgb8 pixels has 12 bytes"),
        ({"step": 13}, "data", "36 bytes of data, but 3 rows of step 13 need 39"),
        ({"data": b""}, "data", "0 bytes"),
        ({"data": bytes(35)}, "data", "35 bytes"),
        ({"height": 0}, "empty", "empty"),
        ({"width": 0}, "empty", "empty"),
        ({"height": 2**32 - 1}, "size", "too large .4x4294967295"),
        ({"encoding": "nv12", "step": 4}, "size", "even"),
        ({"encoding": "yuyv", "width": 3, "step": 8}, "size", "3x3"),
        ({"encoding": "bayer_rggb8", "width": 1, "step": 1}, "size", "1x3"),
    ],
)
def test_an_inconsistent_message_is_refused_with_the_reason(change, kind, text):
    message = Image(height=3, width=4, step=12, encoding="rgb8", data=bytes(36))
    assert to_rgb(message).shape == (3, 4, 3)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(BadInput, match=text) as refusal:
        to_rgb(message)
    assert refusal.value.kind == kind


@given(
    encoding=st.sampled_from([*ENCODINGS, "16UC1", "nonsense"]),
    height=st.integers(0, 6),
    width=st.integers(0, 6),
    step=st.integers(0, 50),
    data=st.binary(max_size=200),
    bigendian=st.integers(0, 255),
)
@settings(max_examples=300, deadline=None)
def test_any_message_is_converted_or_refused(encoding, height, width, step, data, bigendian):
    message = Image(
        height=height,
        width=width,
        step=step,
        encoding=encoding,
        data=data,
        is_bigendian=bigendian,
    )
    try:
        rgb = to_rgb(message)
    except BadInput:
        return
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8


def test_an_rgb_image_without_padding_is_not_copied():
    rgb = pixels(4, 4)
    message = image("rgb8", 4, 4, rgb.reshape(4, -1))
    assert np.shares_memory(to_rgb(message), np.frombuffer(message.data, np.uint8))


def test_the_conversion_agrees_with_opencv_on_a_whole_picture():
    rgb = cv2.GaussianBlur(pixels(48, 64), (9, 9), 3)
    i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    u, v = i420[48:60].reshape(-1), i420[60:].reshape(-1)
    rows = np.concatenate([i420[:48], np.stack([u, v], axis=1).reshape(24, 64)])
    difference = to_rgb(image("nv12", 48, 64, rows)).astype(int) - rgb
    assert np.abs(difference).mean() < 3


def test_an_encoding_that_only_cv_bridge_knows_is_converted_by_it(monkeypatch):
    picture = pixels(2, 3)

    class CvBridge:
        def imgmsg_to_cv2(self, message, encoding):
            assert (message.encoding, encoding) == ("rgb_of_the_future", "rgb8")
            return picture

    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=CvBridge))
    message = image("rgb_of_the_future", 2, 3, picture.reshape(2, -1))
    with pytest.raises(BadInput, match="unknown encoding"):  # not ROS 2's: it is in no ament index
        to_rgb(message)
    monkeypatch.setattr(
        "stdformer_ros.ros.inputs.images.get_package_prefix", lambda name: "/opt/ros"
    )
    np.testing.assert_array_equal(to_rgb(message), picture)


PICTURE = np.zeros((48, 64, 3), np.uint8)
PICTURE[:, :32] = (200, 40, 10)  # red on the left, blue on the right
PICTURE[:, 32:] = (10, 40, 200)


def encoded(kind, picture=PICTURE):
    rgb = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(kind, rgb)[1].tobytes()


def compressed(data, kind="jpeg", stamp=1.0):
    return CompressedImage(
        header=Header(stamp=stamp_of(stamp), frame_id="optical"), format=kind, data=data
    )


def test_a_png_is_decoded_exactly_and_a_jpeg_nearly():
    np.testing.assert_array_equal(decompressed(compressed(encoded(".png"))), PICTURE)
    away = np.abs(decompressed(compressed(encoded(".jpg"))).astype(int) - PICTURE)
    assert np.median(away) <= 3


def test_the_bytes_decide_and_not_the_field_format():
    for kind in ("png", "jpeg", "rgb8; jpeg compressed bgr8", ""):
        np.testing.assert_array_equal(decompressed(compressed(encoded(".png"), kind)), PICTURE)


def test_grey_and_sixteen_bit_pictures_become_rgb():
    grey = np.full((4, 6), 77, np.uint8)
    assert (decompressed(compressed(encoded(".png", grey))) == 77).all()
    deep = np.full((4, 6), 77 * 256, np.uint16)
    assert (decompressed(compressed(encoded(".png", deep))) == 77).all()


def claiming(width, height):
    """A PNG of a few bytes whose header claims this size."""
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
def test_an_invalid_picture_is_refused_before_memory_is_allocated(data, kind):
    with pytest.raises(BadInput) as refusal:
        decompressed(compressed(data))
    assert refusal.value.kind == kind


@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from([".jpg", ".png"]))
def test_any_bytes_are_decoded_or_refused(garbage, place, kind):
    whole = encoded(kind)
    for data in (garbage, whole[:place] + garbage + whole[place:]):
        try:
            picture = decompressed(compressed(data))
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
            camera.publish(compressed(encoded(".png", people), "png", 1.0 + i / 30))
            if client.until(lambda: heard, 0.3):
                break
        assert [human.track_id for human in heard[0].humans] == [1, 2]
        camera.publish(compressed(b"nonsense", "jpeg", 9.0))
        assert client.until(
            lambda: "are neither a JPEG nor a PNG picture; frame dropped" in node.output
        )
