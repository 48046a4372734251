"""From messages to frames: stamps, sizes and intrinsics are compared with those before."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.intake import Intake
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


def test_intrinsics_that_come_late_are_a_discontinuity_that_is_told_once(told):
    intake = Intake(warn=told)
    assert not intake.frame(image(1.0)).camera.known
    intake.take_camera_info(info())
    frame = intake.frame(image(1.1))
    assert frame.discontinuous
    assert frame.camera.fx == 100.0
    ((kind, text),) = told
    assert kind == "intrinsics changed"
    assert "from (fx 6.93, fy 6.93, cx 3.50, cy 1.50, assumed) to (fx 100.00, fy 110.00" in text
    intake.take_camera_info(info())
    assert not intake.frame(image(1.2)).discontinuous
    assert len(told) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"fx": 200.0, "fy": 220.0},  # zoom
        {"roi": {"x_offset": 2, "width": 4, "height": 2}},
        {"distortion_model": "plumb_bob", "d": [-9.0, 0.0, 0.0, 0.0, 0.0]},
    ],
)
def test_intrinsics_that_change_are_a_discontinuity(told, change):
    intake = Intake(warn=told)
    intake.take_camera_info(info())
    assert not intake.frame(image(1.0)).discontinuous
    changed = info(**{name: change[name] for name in ("fx", "fy") if name in change})
    for name, value in change.get("roi", {}).items():
        setattr(changed.roi, name, value)
    changed.distortion_model, changed.d = change.get("distortion_model", ""), change.get("d", [])
    intake.take_camera_info(changed)
    assert intake.frame(image(1.1)).discontinuous
    assert not intake.frame(image(1.2)).discontinuous
    assert [kind for kind, _ in told] == ["intrinsics changed"]


def stamped_info(seconds, **fields):
    message = info(**fields)
    message.header = image(seconds).header
    return message


def test_an_image_has_the_intrinsics_of_its_time_even_if_newer_ones_are_known(told):
    """It may have waited while the next image and CameraInfo arrived."""
    intake = Intake(warn=told)
    intake.take_camera_info(stamped_info(1.0, fx=100.0))
    intake.take_camera_info(stamped_info(1.1, fx=200.0))
    assert intake.frame(image(1.0)).camera.fx == 100.0
    assert intake.frame(image(1.05)).camera.fx == 100.0
    frame = intake.frame(image(1.1))
    assert (frame.camera.fx, frame.discontinuous) == (200.0, True)


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_of_intrinsics_with_stamps_of_another_clock_the_newest_are_used(ahead):
    intake = Intake()
    intake.take_camera_info(stamped_info(5000.0 + ahead, fx=100.0))
    intake.take_camera_info(stamped_info(5000.1 + ahead, fx=200.0))
    assert intake.frame(image(5000.0)).camera.fx == 200.0


def test_an_image_that_is_older_than_all_intrinsics_has_the_first_ones():
    intake = Intake()
    intake.take_camera_info(stamped_info(1.3, fx=100.0))
    intake.take_camera_info(stamped_info(1.4, fx=200.0))
    assert intake.frame(image(1.2)).camera.fx == 100.0


def test_intrinsics_that_jitter_stay_those_of_the_first_frame(told):
    """A driver that estimates them anew for every image must not move everybody."""
    intake = Intake(warn=told)
    for i in range(50):
        intake.take_camera_info(info(fx=100.0 + 0.2 * math.sin(i), cx=3.5 + 0.005 * math.cos(i)))
        frame = intake.frame(image(1.0 + i / 30))
        assert not frame.discontinuous
        assert frame.camera.fx == 100.0
    assert told == []


def test_intrinsics_that_drift_are_followed(told):
    """Each change is small, their sum is not."""
    intake = Intake(warn=told)
    for i in range(100):
        intake.take_camera_info(info(fx=100.0 + 0.2 * i))
        frame = intake.frame(image(1.0 + i / 30))
        assert frame.camera.fx == pytest.approx(100.0 + 0.2 * i, rel=0.006)
    assert 15 <= len(told) <= 50


def test_zeros_after_good_intrinsics_leave_them_in_use_and_are_told(told):
    intake = Intake(warn=told)
    intake.take_camera_info(info())
    for _ in range(3):
        intake.take_camera_info(CameraInfo(width=8, height=4))
    assert intake.frame(image(1.0)).camera.fx == 100.0
    assert [kind for kind, _ in told] == ["uncalibrated"]


def test_what_a_camera_info_cannot_say_is_told_once_however_often_it_comes(told):
    intake = Intake(warn=told)
    message = info()
    message.distortion_model, message.d = "barrel", [0.1, math.nan]
    for i in range(5):
        intake.take_camera_info(message)
        assert intake.frame(image(1.0 + i)).camera.fx == 100.0
    assert [kind for kind, _ in told] == ["distortion"]


def depth(width, height):
    return DepthImage(np.full((height, width), 1000, np.uint16), 0.001)


def test_depth_of_another_resolution_is_used_and_of_another_aspect_is_not(told):
    intake = Intake(warn=told)
    assert intake.frame(image(1.0, 160, 90), depth(80, 45)).depth is not None
    assert intake.frame(image(1.1, 160, 90), depth(107, 60)).depth is not None
    assert told == []
    for i in range(3):
        assert intake.frame(image(2.0 + i, 160, 90), depth(64, 48)).depth is None
    ((kind, text),) = told
    assert kind == "depth aspect"
    assert "64x48 pixels, but the image 160x90" in text
