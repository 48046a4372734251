"""Compressed pictures to RGB: every kind is read, and broken or huge ones are refused."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from helpers.ros_client import NodeProcess, stamp_of
from stdformer_ros.msg import HumanArray
from stdformer_ros.ros.inputs.compressed import decompressed
from stdformer_ros.ros.inputs.images import BAYER, MAX_PIXELS, demosaiced
from stdformer_ros.ros.log import BadInput

pytestmark = pytest.mark.ros

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
    for kind in (".png", ".tiff"):
        np.testing.assert_array_equal(decompressed(compressed(encoded(kind))), PICTURE)
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


def webp(quality):
    """101 % is without loss."""
    bgr = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def test_webp_is_decoded_with_and_without_loss():
    np.testing.assert_array_equal(decompressed(compressed(webp(101))), PICTURE)
    away = np.abs(decompressed(compressed(webp(90))).astype(int) - PICTURE)
    assert np.median(away) <= 4


def extended_webp(width, height):
    """The beginning of a WebP file of the extended kind that claims a size."""
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sizes


def tiff(width, height, order="<"):
    """The beginning of a TIFF file that claims a size."""
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 2)
    entries = (
        struct.pack(f"{order}HHII", tag, 4, 1, n) for tag, n in ((256, width), (257, height))
    )
    return start + b"".join(entries)


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("encoding", BAYER)
def test_a_mosaic_inside_a_picture_is_demosaiced(encoding, kind):
    deep = encoding.endswith("16")
    mosaic = np.random.default_rng(0).integers(0, 256, (12, 16)).astype(np.uint16)
    mosaic = mosaic * 256 if deep else mosaic.astype(np.uint8)
    message = compressed(encoded(kind, mosaic), f"{encoding}; png compressed ")
    np.testing.assert_array_equal(decompressed(message), demosaiced(mosaic, encoding))


def test_a_mosaic_inside_a_jpeg_shows_its_colour():
    mosaic = np.zeros((48, 64), np.uint8)
    mosaic[::2, ::2] = 255  # where the red filters of rggb are
    quality = [cv2.IMWRITE_JPEG_QUALITY, 100]
    data = cv2.imencode(".jpg", mosaic, quality)[1].tobytes()
    picture = decompressed(compressed(data, "bayer_rggb8; jpeg compressed bayer_rggb8"))
    np.testing.assert_allclose(picture[8:-8, 8:-8].mean((0, 1)), [255, 0, 0], atol=8)


def test_a_mosaic_that_the_sender_has_made_colours_of_stays_as_it_is():
    data = encoded(".png")
    message = compressed(data, "bayer_rggb8; png compressed bgr8")
    np.testing.assert_array_equal(decompressed(message), PICTURE)


def test_a_jpeg_without_its_end_mark_is_decoded_if_it_is_whole():
    rng = np.random.default_rng(0)
    whole = encoded(".jpg", rng.integers(0, 256, (48, 64, 3), np.uint8))
    assert whole.endswith(b"\xff\xd9")
    expected = decompressed(compressed(whole))
    np.testing.assert_array_equal(decompressed(compressed(whole[:-2])), expected)
    np.testing.assert_array_equal(decompressed(compressed(whole + bytes(20))), expected)
    with pytest.raises(BadInput, match="cut off"):
        decompressed(compressed(whole[: len(whole) // 2]))


def jpeg(picture, *options):
    return cv2.imencode(".jpg", picture, list(options))[1].tobytes()


def with_preview(data):
    """A JPEG whose EXIF segment holds a whole JPEG, which has an end mark of its own."""
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(data)) + data + data[2:]


RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)


@pytest.mark.parametrize("options", [(), RESTARTS, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("kind", ["noise", "grey at its end", "all grey"])
def test_a_whole_jpeg_is_decoded_whatever_its_end_looks_like(options, kind):
    """Without its end mark or half of it, or in a buffer that a driver fills up with zeros."""
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    picture[{"noise": 48, "grey at its end": 32, "all grey": 0}[kind] :] = 128
    whole = jpeg(picture, *options)
    expected = decompressed(compressed(whole))
    ends = (whole[:-1], whole[:-2], whole + bytes(500), whole[:-2] + bytes(500))
    for data in (*ends, with_preview(whole), with_preview(whole)[:-2]):
        np.testing.assert_array_equal(decompressed(compressed(data)), expected)


@pytest.mark.parametrize("options", [(), RESTARTS])
@pytest.mark.parametrize("kind", ["rgb8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed"])
def test_a_jpeg_that_is_cut_off_is_refused_whatever_its_end_looks_like(options, kind):
    sides = (48, 64) if kind.startswith("bayer") else (48, 64, 3)
    whole = jpeg(np.random.default_rng(0).integers(0, 256, sides, np.uint8), *options)
    for part in (0.3, 0.6, 0.9):
        cut = whole[: int(part * len(whole))]
        with_a_preview = with_preview(whole)[: len(whole) + int(part * len(whole))]
        for data in (cut, cut + bytes(500), cut + b"\xff\xd9", with_a_preview):
            with pytest.raises(BadInput, match="cut off"):
                decompressed(compressed(data, kind))


@pytest.mark.parametrize(
    "kind", ["16UC1; compressedDepth png", "16UC1; png compressed", "32FC1; compressedDepth rvl"]
)
def test_depth_is_refused_as_such(kind):
    with pytest.raises(BadInput, match="is a depth image"):
        decompressed(compressed(encoded(".png", np.full((4, 6), 900, np.uint16)), kind))


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
        (extended_webp(16_000_000, 16_000_000), "size"),
        (webp(101)[:40], "data"),
        (webp(90)[:60], "data"),
        (b"RIFF\0\0\0\0WEBPVP9 " + bytes(40), "format"),
        (tiff(2**31, 2**31), "size"),
        (tiff(2**31, 2**31, ">"), "size"),
        (tiff(0, 5), "size"),
        (tiff(6, 5), "data"),
        (tiff(6, 5)[:20], "format"),
        (b"II*\0\xff\xff\xff\xff", "format"),
    ],
)
def test_an_invalid_picture_is_refused_before_memory_is_allocated(data, kind):
    with pytest.raises(BadInput) as refusal:
        decompressed(compressed(data))
    assert refusal.value.kind == kind


@given(
    st.binary(max_size=300),
    st.integers(0, 400),
    st.sampled_from([".jpg", ".png", ".tiff", ".webp"]),
)
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
            lambda: "are no JPEG, PNG, WebP or TIFF picture; frame dropped" in node.output
        )
