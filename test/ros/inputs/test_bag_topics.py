"""Topics of a bag: which are taken, which are refused, and what is said of messages left out."""

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")
pytest.importorskip("rosbags", reason="needs rosbags (requirements-ros.txt)")

from sensor_msgs.msg import CameraInfo

from helpers.bag_recorder import (
    COMPRESSED,
    DEPTH,
    IMAGE,
    INFO,
    compressed,
    depth,
    image,
    info,
    people_of,
    results_of,
    write_bag,
)
from helpers.fake_pipeline import FakePipeline
from stdformer_ros.ros.inputs.bags import LOOK_AHEAD_IMAGES, Bag

pytestmark = pytest.mark.ros

IMAGES = [("/cam/image_raw", IMAGE, image(5 + i / 30)) for i in range(4)]
KNOWN = ("/cam/camera_info", INFO, info())
UNKNOWN = ("/cam/camera_info", INFO, CameraInfo(width=64, height=48))
PACKED = ("/depth/compressedDepth", COMPRESSED, compressed(image(5.0), "16UC1; compressedDepth"))
ASSUMED = "assuming a field of view of 60 degrees"


def distances_of(out):
    return [message.humans[0].joints[0].z for _, message in results_of(out)]


@pytest.mark.parametrize(
    ("option", "topic", "text"),
    [
        ("--image-topic", "/cam/camera_info", "sensor_msgs/msg/CameraInfo, not images"),
        ("--camera-info-topic", "/cam/image_raw", "sensor_msgs/msg/Image, not CameraInfo"),
        ("--depth-topic", "/cam/camera_info", "sensor_msgs/msg/CameraInfo, not raw depth images"),
        ("--depth-topic", PACKED[0], "sensor_msgs/msg/CompressedImage, not raw depth images"),
        ("--image-topic", "/depth", "holds depth images; colour images are on: /cam/image_raw"),
        ("--image-topic", PACKED[0], "holds depth images; colour images are on: /cam/image_raw"),
    ],
)
def test_a_topic_of_another_kind_is_refused_at_once(run, tmp_path, capsys, option, topic, text):
    messages = [KNOWN, *IMAGES, ("/depth", DEPTH, depth(5.0, 2.4)), PACKED]
    assert run(write_bag(tmp_path / "bag", messages), option, topic) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {topic} ")
    assert text in error
    assert not (tmp_path / "out").exists()


def test_one_colour_and_one_depth_topic_need_no_names(run, tmp_path, capsys):
    messages = [("/d/depth", DEPTH, depth(5.0, 2.4)), ("/c/color", IMAGE, image(5.0))]
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert "images /c/color, depth (must be aligned to the images) /d/depth" in (
        capsys.readouterr().out
    )
    ((_, message),) = results_of(tmp_path / "out")
    assert message.humans[0].measured_depth
    assert message.humans[0].joints[0].z == pytest.approx(2.4)


def test_depth_can_be_ignored(run, tmp_path):
    messages = [("/d/depth", DEPTH, depth(5.0, 2.4)), ("/c/color", IMAGE, image(5.0))]
    assert run(write_bag(tmp_path / "bag", messages), "--depth-topic", "none") == 0
    assert not results_of(tmp_path / "out")[0][1].humans[0].measured_depth


def test_of_several_depth_topics_none_is_guessed(run, tmp_path, capsys):
    messages = [(f"/{i}/depth", DEPTH, depth(5.0, 2.4)) for i in (1, 2)]
    messages.append(("/c/color", IMAGE, image(5.0)))
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert "several topics: /1/depth, /2/depth; choose" in capsys.readouterr().err


def test_raw_images_are_preferred_to_the_compressed_ones_of_the_same_camera(run, tmp_path, capsys):
    raw = image(5.0, people=2)
    messages = [
        ("/cam/image_raw/compressed", COMPRESSED, compressed(raw)),
        ("/cam/image_raw", IMAGE, raw),
        ("/cam/ir", IMAGE, image(5.0)),
    ]
    messages[2][2].encoding, messages[2][2].step = "mono8", 64
    messages[2][2].data = bytes(48 * 64)
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert "images /cam/image_raw" in capsys.readouterr().out
    assert people_of(tmp_path / "out") == [2]


def test_compressed_images_alone_are_taken(run, tmp_path):
    messages = [("/cam/image_raw/compressed", COMPRESSED, compressed(image(5.0, people=2)))]
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert people_of(tmp_path / "out") == [2]


@pytest.mark.parametrize("late", [1, 12])
def test_depth_that_was_recorded_later_is_matched_by_its_stamp(run, tmp_path, capsys, late):
    """By one message or many; never the depth of the image before."""
    colours = [("/c", IMAGE, image(5 + i / 30)) for i in range(30)]
    depths = [("/d", DEPTH, depth(5 + i / 30, 2 + 0.02 * i)) for i in range(30)]
    messages = colours[:late]
    for i in range(30):
        messages += [depths[i], *colours[i + late : i + late + 1]]
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    distances = [m.humans[0].joints[0].z for _, m in results_of(tmp_path / "out")]
    np.testing.assert_allclose(distances, 2 + 0.02 * np.arange(30), atol=2e-3)
    assert "depth matched" not in capsys.readouterr().err


def test_images_without_depth_are_counted(run, tmp_path, capsys):
    messages = [("/c", IMAGE, image(5 + i / 10)) for i in range(10)]
    messages.insert(3, ("/d", DEPTH, depth(5.2, 2.4)))
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert "/d: depth matched 1 of 10 images" in capsys.readouterr().err


def test_the_first_intrinsics_hold_for_the_images_before_them(run, tmp_path, capsys):
    messages = [*IMAGES, ("/cam/camera_info", INFO, info())]
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert np.load(tmp_path / "out/humans.npz")["metric_depth"].all()
    assert "calibration" not in capsys.readouterr().err


def test_without_intrinsics_a_bag_warns_as_the_node_does(run, tmp_path, capsys):
    assert run(write_bag(tmp_path / "bag", IMAGES)) == 0
    assert "no calibration in the bag: assuming a field of view of 60 degrees" in (
        capsys.readouterr().err
    )


def test_rectified_images_use_the_projection(run, tmp_path):
    message = info()
    message.d, message.distortion_model = [0.1, 0.0, 0.0, 0.0, 0.0], "plumb_bob"
    message.p = [80.0, 0.0, 31.5, 0.0, 0.0, 80.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    bag = write_bag(tmp_path / "bag", [("/cam/camera_info", INFO, message), *IMAGES])
    seen = []

    class Watching(FakePipeline):
        def __call__(self, frame):
            seen.append(frame.camera)
            return super().__call__(frame)

    assert run(bag, "--rectified", fake=Watching()) == 0
    assert {(camera.fx, camera.distortion) for camera in seen} == {(80.0, None)}


def test_compressed_depth_that_is_not_used_is_said(run, tmp_path, capsys):
    assert run(write_bag(tmp_path / "bag", [KNOWN, *IMAGES, PACKED])) == 0
    assert f"depth is not used, because it is compressed: {PACKED[0]}" in capsys.readouterr().err


def test_the_first_usable_intrinsics_hold_for_the_images_before_them(run, tmp_path, capsys):
    """Drivers send a K of zeros until their calibration is loaded."""
    messages = [UNKNOWN, *IMAGES, ("/cam/camera_info", INFO, b""), KNOWN]
    fake = FakePipeline()
    assert run(write_bag(tmp_path / "bag", messages), fake=fake) == 0
    assert all(m.humans[0].metric_depth for _, m in results_of(tmp_path / "out"))
    assert fake.resets == 0
    assert ASSUMED not in capsys.readouterr().err


@pytest.mark.parametrize("unusable", [UNKNOWN, ("/cam/camera_info", INFO, b"\0\1\0\0")])
def test_without_usable_intrinsics_it_is_said_that_they_are_assumed(
    run, tmp_path, capsys, unusable
):
    assert run(write_bag(tmp_path / "bag", [unusable, *IMAGES])) == 0
    assert not results_of(tmp_path / "out")[0][1].humans[0].metric_depth
    assert f"no calibration on /cam/camera_info: {ASSUMED}" in capsys.readouterr().err


def test_intrinsics_in_another_namespace_are_named(run, tmp_path, capsys):
    assert run(write_bag(tmp_path / "bag", [("/other/camera_info", INFO, info()), *IMAGES])) == 0
    error = capsys.readouterr().err
    assert f"no calibration in the bag: {ASSUMED}" in error
    assert "--camera-info-topic can choose /other/camera_info" in error


def test_intrinsics_that_change_start_anew(run, tmp_path, capsys):
    zoomed = info()
    zoomed.k = [120.0, 0.0, 31.5, 0.0, 120.0, 23.5, 0.0, 0.0, 1.0]
    messages = [KNOWN, *IMAGES[:2], ("/cam/camera_info", INFO, zoomed), *IMAGES[2:]]
    fake = FakePipeline()
    assert run(write_bag(tmp_path / "bag", messages), fake=fake) == 0
    assert people_of(tmp_path / "out") == [1] * 4
    assert fake.resets == 1
    assert "the intrinsics changed from (fx 60.00" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("topic", "option", "said"),
    [
        ("/cam/image_rect", (), True),
        ("/cam/rect/image", (), True),
        ("/cam/image_rect_color", ("--rectified",), False),
        ("/cam/image_direct", (), False),
    ],
)
def test_images_that_are_rectified_by_their_name_ask_for_the_option(
    run, tmp_path, capsys, topic, option, said
):
    distorted = info()
    distorted.d, distorted.distortion_model = [0.1, 0.0, 0.0, 0.0, 0.0], "plumb_bob"
    messages = [("/cam/camera_info", INFO, distorted), (topic, IMAGE, image(5.0))]
    assert run(write_bag(tmp_path / "bag", messages), *option) == 0
    assert ("is applied: if they are, add --rectified" in capsys.readouterr().err) == said


def test_images_that_are_dropped_are_counted(run, tmp_path, capsys):
    strange = image(5.5)
    strange.encoding = "hologram8"
    messages = [*IMAGES, ("/cam/image_raw", IMAGE, strange), *IMAGES[3:]]
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert people_of(tmp_path / "out") == [1] * 4
    assert "/cam/image_raw: 2 of 6 images were dropped (encoding: 1, stamp back: 1)" in (
        capsys.readouterr().err
    )


def test_if_no_image_can_be_used_nothing_is_written(run, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE, b"\0\1\0\0nonsense")] * 3)
    assert run(bag, "--image-topic", "/image") == 2
    error = capsys.readouterr().err
    assert "/image: 3 of 3 messages could not be read" in error
    assert "error: none of the 3 images on /image can be used" in error
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("early", [1, 12])
def test_depth_that_was_recorded_earlier_is_matched_by_its_stamp(run, tmp_path, capsys, early):
    colours = [("/c", IMAGE, image(5 + i / 30)) for i in range(30)]
    depths = [("/d", DEPTH, depth(5 + i / 30, 2 + 0.02 * i)) for i in range(30)]
    messages = depths[:early]
    for i in range(30):
        messages += [*depths[i + early : i + early + 1], colours[i]]
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    expected = [2 + 0.02 * i for i in range(30)]
    assert distances_of(tmp_path / "out") == pytest.approx(expected, abs=2e-3)
    assert "depth matched" not in capsys.readouterr().err


def test_images_that_wait_for_depth_are_few_however_long_the_bag_is(tmp_path):
    """Depth that ends before them lets all of them wait in vain."""
    images = [("/c", IMAGE, image(5 + i / 1000)) for i in range(400)]
    bag = write_bag(tmp_path / "bag", [("/d", DEPTH, depth(4.9, 2.0)), *images])
    size = 48 * 64 * 3
    frames = Bag(bag, warn=lambda text: None).frames()
    next(frames)
    tracemalloc.start()
    assert sum(1 for _ in frames) == 399
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * LOOK_AHEAD_IMAGES * size
