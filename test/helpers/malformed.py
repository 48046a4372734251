"""Malformed messages for tests: the same ones for the same seed.

Each starts as a good message; then sizes, encodings, bytes and numbers are replaced by the values
that break programs: zero, one too few, the largest, not a number.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from helpers.ros_client import stamp_of

WIDTH, HEIGHT = 64, 48
SIZES = (0, 1, 2, 47, 48, 63, 64, 65, 4096, 2**16, 2**31 - 1, 2**32 - 1)
ENCODINGS = (
    *("rgb8", "bgr8", "rgba8", "mono8", "mono16", "rgb16", "8UC1", "8UC3", "nv12", "nv21", "uyvy"),
    *("yuv422_yuy2", "bayer_rggb8", "bayer_grbg16", "16UC1", "32FC1", "64FC1", "8UC4294967295"),
    *("", "RGB8", "rgb8; jpeg compressed", "\N{SNOWMAN}" * 40, "../../etc/passwd", "%s%n" * 20),
)
NUMBERS = (0.0, -0.0, 1.0, -60.0, math.nan, math.inf, -math.inf, 5e-324, 1e-30, 1e30, 1.7e308)
MODELS = (
    "plumb_bob",
    "rational_polynomial",
    "equidistant",
    "fisheye",
    "",
    "\N{SNOWMAN}",
    "nonsense",
)


def images(seed: int, encodings: tuple[str, ...] = ENCODINGS) -> Iterator[Image]:
    """Colour images, or with other `encodings` depth images."""
    rng = random.Random(seed)
    while True:
        message = Image(
            header=_header(rng),
            height=HEIGHT,
            width=WIDTH,
            encoding=rng.choice(encodings),
            step=3 * WIDTH,
            is_bigendian=rng.choice((0, 1, 255)),
            data=_pixels(rng, 3 * WIDTH * HEIGHT),
        )
        for change in rng.sample((_size, _step, _data, _encoding), rng.randint(0, 3)):
            change(rng, message)
        yield message


def compressed_images(seed: int) -> Iterator[CompressedImage]:
    """JPEG and PNG pictures that are cut, overwritten, random, or claim to be gigabytes."""
    rng = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    pictures = [cv2.imencode(kind, pixels)[1].tobytes() for kind in (".jpg", ".png", ".bmp")]
    while True:
        data = bytearray(rng.choice(pictures))
        what = rng.randrange(5)
        if what == 0:
            data = data[: rng.randrange(len(data))]
        elif what == 1:
            for _ in range(rng.randint(1, 30)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        elif what == 2:
            data = bytearray(rng.randbytes(rng.randrange(200)))
        elif what == 3:
            _claim_size(rng, data)
        name = rng.choice(("jpeg", "png", "rgb8; jpeg compressed bgr8", "", "\N{SNOWMAN}", "tiff"))
        yield CompressedImage(header=_header(rng), format=name, data=bytes(data))


def camera_infos(seed: int) -> Iterator[CameraInfo]:
    """Intrinsics that no camera can have, and distortions that cannot be undone."""
    rng = random.Random(seed)
    while True:
        message = CameraInfo(header=_header(rng), width=WIDTH, height=HEIGHT)
        message.k = [60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0]
        message.p = [60.0, 0.0, 31.5, 0.0, 0.0, 60.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        message.distortion_model = rng.choice(MODELS)
        message.d = [_number(rng) for _ in range(rng.choice((0, 1, 4, 5, 8, 12, 14, 20)))]
        for _ in range(rng.randint(0, 3)):
            message.k[rng.randrange(9)] = _number(rng)
            message.p[rng.randrange(12)] = _number(rng)
        if rng.random() < 0.3:
            message.width, message.height = rng.choice(SIZES), rng.choice(SIZES)
        if rng.random() < 0.3:
            roi = message.roi
            roi.x_offset, roi.y_offset, roi.width, roi.height = rng.choices(SIZES, k=4)
        message.binning_x = rng.choice(SIZES)
        yield message


FRAMES = ("map", "odom", "base", "optical", "", "/odom", "\N{SNOWMAN}", "x" * 5000)


def transform_lists(seed: int) -> Iterator[list[TransformStamped]]:
    """Transforms in circles, of frames to themselves, with quaternions that are no rotations."""
    rng = random.Random(seed)
    while True:
        transforms = []
        for _ in range(rng.randint(0, 4)):
            message = TransformStamped(header=_header(rng), child_frame_id=rng.choice(FRAMES))
            message.header.frame_id = rng.choice(FRAMES)
            t, r = message.transform.translation, message.transform.rotation
            t.x, t.y, t.z = (_number(rng) for _ in range(3))
            if rng.random() < 0.6:
                t.x, t.y, t.z = (rng.gauss(0.0, 1.0) for _ in range(3))
            if rng.random() < 0.4:
                r.x, r.y, r.z, r.w = (_number(rng) for _ in range(4))
            transforms.append(message)
        yield transforms


def garbled(seed: int, messages: Iterator[object]) -> Iterator[bytes]:
    """The messages' serialised bytes, cut and overwritten."""
    rng = random.Random(seed)
    for message in messages:
        data = bytearray(serialize_message(message))
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(4, min(len(data), 120))] = rng.randrange(256)
        yield bytes(data[: rng.randint(4, len(data))] if rng.random() < 0.5 else data)


def _header(rng: random.Random) -> Header:
    stamp = stamp_of(rng.choice((0.0, 1.0, 2.0**31 - 1, 1000.0 + rng.random())))
    if rng.random() < 0.1:
        stamp.nanosec = 2**32 - 1
    frame_id = rng.choice(("optical", "", "/leading", "\N{SNOWMAN}", "x" * 5000))
    return Header(stamp=stamp, frame_id=frame_id)


def _size(rng: random.Random, message: Image) -> None:
    message.width, message.height = rng.choice(SIZES), rng.choice(SIZES)
    if rng.random() < 0.5:
        message.step = min(3 * message.width, 2**32 - 1)


def _step(rng: random.Random, message: Image) -> None:
    message.step = rng.choice((*SIZES, 3 * WIDTH - 1, 3 * WIDTH + 1))


def _data(rng: random.Random, message: Image) -> None:
    length = rng.choice(
        (0, 1, 3 * WIDTH * HEIGHT - 1, 3 * WIDTH * HEIGHT + 1, rng.randrange(20000))
    )
    message.data = _pixels(rng, length)


def _pixels(rng: random.Random, length: int) -> bytes:
    """Noise; the first pixel is black, which means no people to the tests' fake pipeline."""
    return (bytes(8) + rng.randbytes(length))[:length]


def _encoding(rng: random.Random, message: Image) -> None:
    message.encoding = rng.choice(ENCODINGS)


def _claim_size(rng: random.Random, data: bytearray) -> None:
    """Overwrite the size in the picture's header."""
    side = rng.choice((0, 1, 20000, 65535))
    if data.startswith(b"\x89PNG"):
        data[16:24] = side.to_bytes(4, "big") * 2
    frame = data.find(b"\xff\xc0")
    if frame >= 0:
        data[frame + 5 : frame + 9] = side.to_bytes(2, "big") * 2


def _number(rng: random.Random) -> float:
    pick: Callable[[], float] = rng.choice(
        (lambda: rng.choice(NUMBERS), lambda: rng.gauss(0.0, 1.0), lambda: rng.gauss(0.0, 1e6))
    )
    return pick()
