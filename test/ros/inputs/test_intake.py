"""From messages to frames: intrinsics are scaled, stamps and sizes compared with earlier ones."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.intake import Intake, camera_of, scaled
from stdformer_ros.ros.log import BadInput

pytestmark = pytest.mark.ros


def image(seconds, width=8, height=4):
    whole = int(seconds)
    stamp = Time(sec=whole, nanosec=round(1e9 * (seconds - whole)))
    return Image(
        header=Header(stamp=stamp),
        width=width,
        height=height,
        step=3 * width,
        encoding="rgb8",
        data=bytes(3 * width * height),
    )


def info(fx=100.0, fy=110.0, cx=3.5, cy=1.5, width=8, height=4):
    k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    return CameraInfo(width=width, height=height, k=k)


def test_a_frame_has_the_images_stamp_and_the_infos_intrinsics():
    intake = Intake()
    intake.take_camera_info(info())
    message = image(12.25)
    frame = intake.frame(message)
    assert frame.stamp == 12.25
    assert frame.source is message.header
    assert not frame.discontinuous
    assert frame.camera == Camera(8, 4, fx=100.0, fy=110.0, cx=3.5, cy=1.5, known=True)


def test_without_intrinsics_a_field_of_view_of_sixty_degrees_is_assumed():
    camera = Intake().frame(image(1.0, width=64, height=48)).camera
    assert not camera.known
    assert 2 * math.degrees(math.atan(32 / camera.fx)) == pytest.approx(60.0)


def test_intrinsics_of_another_size_are_scaled_about_the_images_corner():
    # Halving: the middle of the image stays in the middle, each pixel takes the place of two.
    half = scaled(Camera(640, 480, fx=500, fy=510, cx=319.5, cy=239.5), 320, 240)
    assert (half.fx, half.fy, half.cx, half.cy) == (250, 255, 159.5, 119.5)
    assert half.known


def test_an_uncalibrated_driver_is_not_an_error():
    assert camera_of(CameraInfo(width=640, height=480)) is None


@pytest.mark.parametrize(
    "bad",
    [
        {"fx": math.nan},
        {"fx": 0.0},
        {"fy": -5.0},
        {"cx": math.inf},
        {"width": 0},
        {"height": 0},
    ],
)
def test_impossible_intrinsics_are_refused_and_the_earlier_ones_kept(bad):
    intake = Intake()
    intake.take_camera_info(info())
    with pytest.raises(BadInput) as refusal:
        intake.take_camera_info(info(**bad))
    assert refusal.value.kind == "intrinsics"
    assert intake.frame(image(1.0)).camera.fx == 100.0


def test_a_stamp_that_repeats_is_refused():
    intake = Intake()
    intake.frame(image(5.0))
    with pytest.raises(BadInput, match=r"5\.000 s repeats"):
        intake.frame(image(5.0))
    frame = intake.frame(image(5.1))
    assert frame.stamp == pytest.approx(5.1)
    assert not frame.discontinuous


def test_a_stamp_that_goes_back_is_refused_once_and_the_stream_continues_from_it():
    intake = Intake()
    intake.frame(image(100.0))
    with pytest.raises(BadInput, match=r"went back from 100\.000 to 3\.000"):
        intake.frame(image(3.0))
    frame = intake.frame(image(3.1))
    assert frame.stamp == pytest.approx(3.1)
    assert frame.discontinuous
    assert not intake.frame(image(3.2)).discontinuous


def test_a_change_of_size_loses_one_frame_and_the_stream_continues():
    intake = Intake()
    intake.take_camera_info(info())
    intake.frame(image(1.0))
    with pytest.raises(BadInput, match="from 8x4 to 16x8"):
        intake.frame(image(2.0, width=16, height=8))
    frame = intake.frame(image(3.0, width=16, height=8))
    assert (frame.camera.width, frame.camera.fx) == (16, 200.0)
    assert frame.discontinuous


def test_stamps_are_compared_in_nanoseconds():
    intake = Intake()
    first = image(1_700_000_000.0)
    second = image(1_700_000_000.0)
    second.header.stamp.nanosec = 1
    intake.frame(first)
    intake.frame(second)


def test_a_frame_has_the_images_pixels():
    message = image(1.0, width=2, height=1)
    message.data = bytes([1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(Intake().frame(message).image, [[[1, 2, 3], [4, 5, 6]]])


def lens(model, coefficients, **fields):
    message = info(width=640, height=480, fx=500.0, fy=500.0, cx=320.0, cy=240.0)
    message.distortion_model, message.d = model, coefficients
    message.p = [400.0, 0.0, 310.0, 0.0, 0.0, 410.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("model", "count", "ours"),
    [
        ("plumb_bob", 5, "plumb_bob"),
        ("plumb_bob", 8, "rational_polynomial"),
        ("rational_polynomial", 8, "rational_polynomial"),
        ("equidistant", 4, "equidistant"),
        ("fisheye", 4, "equidistant"),
    ],
)
def test_distortion_is_taken_from_camera_info(model, count, ours):
    distortion = camera_of(lens(model, [0.01] * count)).distortion
    assert (distortion.model, len(distortion.coefficients)) == (ours, count)


def test_zeros_are_no_distortion_whatever_the_model():
    assert camera_of(lens("plumb_bob", [0.0] * 5)).distortion is None
    assert camera_of(lens("", [])).distortion is None


@pytest.mark.parametrize("d", [[0.1], [math.nan] * 5])
def test_impossible_distortion_is_refused(d):
    with pytest.raises(BadInput):
        camera_of(lens("plumb_bob", d))
    with pytest.raises(BadInput, match="unknown distortion model 'barrel'"):
        camera_of(lens("barrel", [0.1] * 5))


def test_rectified_images_have_the_projections_intrinsics_and_no_distortion():
    camera = camera_of(lens("plumb_bob", [0.1] * 5), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (400.0, 410.0, 310.0, 230.0)
    assert camera.distortion is None


def test_a_part_of_the_sensor_has_its_own_origin_and_size():
    message = lens("plumb_bob", [0.1] * 5)
    message.roi.x_offset, message.roi.y_offset = 100, 60
    message.roi.width, message.roi.height = 320, 240
    camera = camera_of(message)
    assert (camera.width, camera.height, camera.cx, camera.cy) == (320, 240, 220.0, 180.0)
    binned = scaled(camera, 160, 120)
    assert (binned.fx, binned.cx, binned.distortion) == (250.0, 109.75, camera.distortion)
