"""Images to RGB: known pixels in every encoding; wrong data are refused."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from sensor_msgs.msg import Image

from stdformer_ros.ros.inputs.images import ENCODINGS, to_rgb
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
        ("8UC4", [2, 1, 0, 0]),
        ("RGB8", [0, 1, 2]),
        ("Bgra8", [2, 1, 0, 0]),
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


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb16", [0, 1, 2]),
        ("bgr16", [2, 1, 0]),
        ("16UC3", [2, 1, 0]),
        ("rgba16", [0, 1, 2, 0]),
        ("bgra16", [2, 1, 0, 0]),
        ("16UC4", [2, 1, 0, 0]),
        ("RGBA16", [0, 1, 2, 0]),
    ],
)
def test_colours_of_16_bits_keep_their_upper_bytes(encoding, order, bigendian):
    colours = pixels(5, 4)
    deep = (colours[..., order].astype(np.uint16) << 8) + 99
    rows = np.frombuffer(deep.astype(">u2" if bigendian else "<u2").tobytes(), np.uint8)
    message = image(encoding, 5, 4, rows.reshape(5, -1), bigendian=bigendian)
    np.testing.assert_array_equal(to_rgb(message), colours)


def smooth(height=48, width=64):
    """A picture without sharp edges, so that colours of half the resolution are nearly the same."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([60 + 2 * x, 60 + 2 * y, 200 - x]).astype(np.uint8)


@pytest.mark.parametrize("encoding", ["i420", "I420", "yv12", "nv12", "NV12", "nv21", "nv24"])
def test_planes_of_yuv_give_the_picture_that_they_were_made_of(encoding):
    colours = smooth()
    i420 = cv2.cvtColor(colours, cv2.COLOR_RGB2YUV_I420)
    y, chroma = i420[:48], i420[48:].reshape(2, 24, 32)
    interleaved = np.dstack([chroma[0], chroma[1]])
    kind = encoding.lower()
    data = {
        "i420": i420,
        "yv12": np.vstack([y, chroma[::-1].reshape(24, 64)]),
        "nv12": np.vstack([y, interleaved.reshape(24, 64)]),
        "nv21": np.vstack([y, interleaved[..., ::-1].reshape(24, 64)]),
        "nv24": np.vstack([y, interleaved.repeat(2, 0).repeat(2, 1).reshape(96, 64)]),
    }[kind]
    message = image(encoding, 48, 64, data)
    away = np.abs(to_rgb(message).astype(int) - colours)
    assert away.max() <= 8
    assert away.mean() < 2.5


@pytest.mark.parametrize(("encoding", "colour_row"), [("nv12", 1), ("i420", 0.5), ("nv24", 2)])
def test_rows_of_colour_planes_are_padded_in_proportion(encoding, colour_row):
    """With a step of 80 for 64 pixels, rows of U and V have 40 bytes in i420, and 160 in nv24."""
    count = {"nv12": 72, "i420": 72, "nv24": 144}[encoding]
    planes = np.random.default_rng(0).integers(0, 256, (count, 64), np.uint8)
    colours = planes[48:].reshape(-1, int(64 * colour_row))
    padded = [
        np.pad(planes[:48], ((0, 0), (0, 16)), constant_values=77).ravel(),
        np.pad(colours, ((0, 0), (0, int(16 * colour_row))), constant_values=77).ravel(),
    ]
    message = image(encoding, 48, 64, np.concatenate(padded).reshape(count, 80))
    np.testing.assert_array_equal(to_rgb(message), to_rgb(image(encoding, 48, 64, planes)))


def test_an_odd_step_cannot_be_halved():
    message = image("i420", 4, 6, np.zeros((6, 7), np.uint8))
    with pytest.raises(BadInput, match="i420 needs an even step, not 7"):
        to_rgb(message)


def test_letters_of_an_encoding_may_be_of_any_size():
    grey = pixels(4, 6)[..., 0]
    for encoding in ("mono8", "MONO8", "Mono8", " 8uc1"):
        assert (to_rgb(image(encoding, 4, 6, grey)) == grey[..., None]).all()
    with pytest.raises(BadInput, match="that of a depth image"):
        to_rgb(image("16uc1", 4, 3, grey))
