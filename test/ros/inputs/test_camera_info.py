"""Intrinsics from CameraInfo: distortion, region of interest, binning, and the image's size."""

import math

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from sensor_msgs.msg import CameraInfo

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.camera_info import intrinsics_of, scaled
from stdformer_ros.ros.log import BadInput

pytestmark = pytest.mark.ros


def lens(model="", coefficients=(), **fields):
    """The CameraInfo of a 640x480 camera."""
    message = CameraInfo(width=640, height=480, distortion_model=model, d=coefficients)
    message.k = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
    message.p = [400.0, 0.0, 310.0, 0.0, 0.0, 410.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def with_roi(x=0, y=0, width=0, height=0, **fields):
    message = lens(**fields)
    roi = message.roi
    roi.x_offset, roi.y_offset, roi.width, roi.height = x, y, width, height
    return message


def distortion_of(message, told):
    return intrinsics_of(message, warn=told).camera.distortion


def test_intrinsics_of_another_size_are_scaled_about_the_images_corner():
    # Halving: the middle of the image stays in the middle, each pixel takes the place of two.
    half = scaled(Camera(640, 480, fx=500, fy=510, cx=319.5, cy=239.5), 320, 240)
    assert (half.fx, half.fy, half.cx, half.cy) == (250, 255, 159.5, 119.5)
    assert half.known


def test_an_uncalibrated_driver_is_not_an_error():
    assert intrinsics_of(CameraInfo(width=640, height=480)) is None


@pytest.mark.parametrize("zeros", [0, 1, 3, 4, 6, 8, 9, 10])
@pytest.mark.parametrize(
    ("model", "given", "ours"),
    [
        ("plumb_bob", 4, "plumb_bob"),
        ("plumb_bob", 5, "plumb_bob"),
        ("plumb_bob", 8, "rational_polynomial"),
        ("rational_polynomial", 8, "rational_polynomial"),
        ("rational_polynomial", 12, "rational_polynomial"),
        ("rational_polynomial", 14, "rational_polynomial"),
        ("equidistant", 4, "equidistant"),
    ],
)
def test_zeros_at_the_end_are_not_part_of_the_distortion(told, model, given, ours, zeros):
    numbers = [0.01 * (i + 1) for i in range(given)]
    distortion = distortion_of(lens(model, numbers + [0.0] * zeros), told)
    assert distortion.model == ours
    assert distortion.coefficients == tuple(numbers)
    assert told == []


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("PLUMB_BOB", "plumb_bob"),
        ("radtan", "plumb_bob"),
        ("brown_conrady", "plumb_bob"),
        ("Brown-Conrady", "plumb_bob"),
        ("fisheye", "equidistant"),
        ("kannala_brandt4", "equidistant"),
        ("Kannala_Brandt", "equidistant"),
        ("Rational_Polynomial", "plumb_bob"),  # its higher coefficients are zero
    ],
)
def test_models_are_known_by_their_usual_other_names(told, name, ours):
    distortion = distortion_of(lens(name, [0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0]), told)
    assert (distortion.model, distortion.coefficients) == (ours, (0.1, 0.2, 0.3, 0.4))
    assert told == []


@pytest.mark.parametrize(("count", "ours"), [(4, "plumb_bob"), (8, "rational_polynomial")])
def test_an_empty_name_is_taken_by_the_number_of_coefficients_and_told(told, count, ours):
    assert distortion_of(lens("", [0.01] * count), told).model == ours
    ((kind, text),) = told
    assert kind == "distortion name"
    assert f"D has {count} numbers: taken as {ours}" in text


def test_zeros_are_no_distortion_whatever_the_model(told):
    for model, d in [("plumb_bob", [0.0] * 5), ("", []), ("barrel", [0.0] * 3), ("", [0.0] * 14)]:
        assert distortion_of(lens(model, d), told) is None
    assert told == []


@pytest.mark.parametrize(
    ("model", "d", "reason"),
    [
        ("barrel", [0.1] * 5, "unknown distortion model 'barrel'"),
        ("plumb_bob", [0.1], "4 or 5 coefficients, not 1"),
        ("plumb_bob", [0.1] * 15, "8 or 12 or 14 coefficients, not 15"),
        ("plumb_bob", [math.nan] * 5, "finite"),
        ("plumb_bob", [math.inf] * 5, "finite"),
        ("equidistant", [0.1] * 5, "4 coefficients, not 5"),
    ],
)
def test_with_a_distortion_that_cannot_be_used_k_is_used_alone_and_told(told, model, d, reason):
    camera = intrinsics_of(lens(model, d), warn=told).camera
    assert (camera.fx, camera.cx, camera.known) == (500.0, 320.0, True)
    assert camera.distortion is None
    ((kind, text),) = told
    assert kind == "distortion"
    assert reason in text
    assert "K is used without the distortion" in text


def test_rectified_images_have_the_projections_intrinsics_and_no_distortion(told):
    camera = intrinsics_of(lens("barrel", [0.1] * 5), rectified=True, warn=told).camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (400.0, 410.0, 310.0, 230.0)
    assert camera.distortion is None
    assert told == []


def test_rectified_images_without_a_projection_have_k_and_it_is_told(told):
    message = lens("plumb_bob", [0.1] * 5, p=[0.0] * 12)
    camera = intrinsics_of(message, rectified=True, warn=told).camera
    assert (camera.fx, camera.distortion) == (500.0, None)
    ((kind, _),) = told
    assert kind == "projection"


def test_a_part_of_the_sensor_has_its_own_origin_and_size():
    intrinsics = intrinsics_of(with_roi(100, 60, 320, 240))
    assert intrinsics.for_image(320, 240) == Camera(320, 240, 500.0, 500.0, 220.0, 180.0)


@pytest.mark.parametrize("part", [(400, 0, 320, 240), (0, 300, 320, 240)])
def test_a_part_that_is_not_on_the_sensor_is_refused(part):
    with pytest.raises(BadInput, match="not inside the sensor's 640x480 pixels"):
        intrinsics_of(with_roi(*part))


def test_a_part_as_large_as_the_calibrated_image_was_calibrated_itself(told):
    """Such a CameraInfo comes from a calibration with images of the part."""
    camera = intrinsics_of(with_roi(100, 60, 640, 480), warn=told).camera
    assert (camera.width, camera.cx, camera.cy) == (640, 320.0, 240.0)
    ((kind, text),) = told
    assert kind == "region"
    assert "640x480 at (100, 60)" in text


def test_binning_is_that_of_the_sensor_not_of_the_part(told):
    """By sensor_msgs/CameraInfo the part is given in pixels before binning."""
    message = with_roi(100, 60, 320, 240, binning_x=2, binning_y=2)
    camera = intrinsics_of(message).for_image(160, 120, told)
    assert (camera.fx, camera.cx, camera.cy) == (250.0, 109.75, 89.75)
    assert told == []


def test_binning_in_one_direction_is_no_stretch(told):
    camera = intrinsics_of(lens(binning_x=2)).for_image(320, 480, told)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (250.0, 500.0, 159.75, 240.0)
    assert told == []


def test_a_driver_that_gives_the_size_after_binning_is_understood(told):
    camera = intrinsics_of(lens(binning_x=4, binning_y=2)).for_image(640, 480, told)
    assert (camera.fx, camera.fy) == (500.0, 500.0)
    assert told == []


@pytest.mark.parametrize("size", [(1280, 960), (320, 240), (213, 160), (80, 60)])
def test_an_image_that_was_resized_is_told_of_nothing(told, size):
    camera = intrinsics_of(lens()).for_image(*size, told)
    assert camera.fx == pytest.approx(500.0 * size[0] / 640)
    assert told == []


def test_an_image_of_another_aspect_is_told_with_numbers(told):
    camera = intrinsics_of(lens()).for_image(1280, 720, told)
    assert (camera.fx, camera.fy, camera.known) == (1000.0, 750.0, True)
    ((kind, text),) = told
    assert kind == "aspect"
    assert "for 640x480 pixels, but the image has 1280x720" in text
    assert "33 %" in text


def test_an_image_with_exchanged_sides_has_assumed_intrinsics(told):
    assert intrinsics_of(lens()).for_image(480, 640, told) == Camera.assumed(480, 640)
    ((kind, text),) = told
    assert kind == "turned"
    assert "for 640x480 pixels, but the image has 480x640" in text
