"""Bags as people have them: every container, damaged ones, topics that must be named or not."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")
pytest.importorskip("rosbags", reason="needs rosbags (requirements-ros.txt)")

from rosbags import rosbag2
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import StoragePlugin
from visualization_msgs.msg import MarkerArray

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
    read_bag,
    results_of,
    write_bag,
    write_ros1_bag,
)
from helpers.disk import largest_file
from helpers.fake_pipeline import FakePipeline
from helpers.ros_client import stamp_of

pytestmark = pytest.mark.ros

IMAGES = [("/cam/image_raw", IMAGE, image(5 + i / 30)) for i in range(5)]
MESSAGES = [("/cam/camera_info", INFO, info()), *IMAGES]


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("what", ["folder", "file", "no metadata"])
def test_a_rosbag2_is_read_in_every_form(run, tmp_path, storage, what):
    bag = write_bag(tmp_path / "bag", MESSAGES, storage)
    if what == "no metadata":
        (bag / "metadata.yaml").unlink()
    if what == "file":
        (bag,) = (path for path in bag.iterdir() if path.suffix in (".db3", ".mcap"))
    assert run(bag) == 0
    assert people_of(tmp_path / "out") == [1] * 5
    assert results_of(tmp_path / "out")[0][1].humans[0].metric_depth


def test_the_files_of_a_folder_without_metadata_are_read_one_after_the_other(run, tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    for part in (0, 2, 10):
        images = [("/image", IMAGE, image(5 + part / 30, people=part))]
        written = write_bag(tmp_path / f"part{part}", images)
        (written / f"part{part}.db3").rename(folder / f"bag_{part}.db3")
    assert run(folder) == 0
    assert people_of(tmp_path / "out") == [0, 2, 10]


def test_a_bag_of_ros_1_is_read(run, tmp_path):
    assert run(write_ros1_bag(tmp_path / "old.bag", MESSAGES)) == 0
    results = results_of(tmp_path / "out")
    assert [message.header for _, message in results] == [m.header for _, _, m in IMAGES]
    assert results[0][1].humans[0].metric_depth


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "a.bag"])
def test_a_file_that_is_no_bag_names_a_remedy(run, tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"no bag at all" * 100)
    assert run(tmp_path / name) == 2
    error = capsys.readouterr().err
    assert f"{name} cannot be read as a bag" in error
    assert "repairs it" in error


def test_a_cut_mcap_names_a_remedy(run, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", MESSAGES, StoragePlugin.MCAP) / "bag.mcap"
    bag.write_bytes(bag.read_bytes()[: bag.stat().st_size * 2 // 3])
    assert run(bag) == 2
    assert "`mcap recover" in capsys.readouterr().err


def mcap_of_300_images(tmp_path):
    images = [("/image", IMAGE, image(5 + i / 30)) for i in range(300)]
    return write_bag(tmp_path / "bag", images, StoragePlugin.MCAP) / "bag.mcap"


def test_images_that_damage_has_swallowed_are_counted(run, tmp_path, capsys):
    bag = mcap_of_300_images(tmp_path)
    data = bytearray(bag.read_bytes())
    begin, end = len(data) * 30 // 100, len(data) * 31 // 100
    data[begin:end] = bytes(end - begin)
    bag.write_bytes(data)
    assert run(bag) == 0
    output = capsys.readouterr()
    answered = len(results_of(tmp_path / "out"))
    assert 0 < answered < 300
    assert f"{answered} frames" in output.out
    assert f"{300 - answered} of 300 images are missing from the bag" in output.err


def test_what_is_there_before_a_broken_record_is_answered(run, tmp_path, capsys):
    bag = mcap_of_300_images(tmp_path)
    data = bytearray(bag.read_bytes())
    place = -1
    for _ in range(150):
        place = data.index(b"optical", place + 1)
    # Before it: the record's length, channel, number, two times; then the beginning of the message.
    begin = place - (4 + 8 + 4) - (2 + 4 + 8 + 8) - 8
    data[begin : begin + 8] = b"\xff" * 8
    bag.write_bytes(data)
    assert run(bag) == 0
    output = capsys.readouterr()
    answered = len(results_of(tmp_path / "out"))
    assert 0 < answered < 300
    assert "bag.mcap is damaged: " in output.err
    assert f"{300 - answered} of 300 images are missing from the bag" in output.err


def test_messages_that_cannot_be_read_are_counted(run, tmp_path, capsys):
    images = [("/image", IMAGE, image(5 + i / 30)) for i in range(4)]
    images[1:1] = [("/image", IMAGE, b"\0\1\0\0nonsense"), ("/image", IMAGE, b"")]
    assert run(write_bag(tmp_path / "bag", images)) == 0
    assert people_of(tmp_path / "out") == [1] * 4
    assert "/image: 2 of 6 messages could not be read" in capsys.readouterr().err


def test_a_topic_without_messages_is_named(run, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", [("/cam/camera_info", INFO, info())])
    assert run(bag) == 2
    assert "the bag has no images" in capsys.readouterr().err


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


def test_options_for_bags_are_refused_for_videos(run, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert run(tmp_path / "a.mp4", "--rectified") == 2
    assert "--rectified and --markers are for bags" in capsys.readouterr().err


def test_images_without_a_stamp_get_the_time_of_recording(run, tmp_path, capsys):
    images = [("/image", IMAGE, image(0.0)) for _ in range(3)]
    assert run(write_bag(tmp_path / "bag", images)) == 0
    stamps = [message.header.stamp for _, message in results_of(tmp_path / "out")]
    assert stamps == [stamp_of(1.0), stamp_of(1.01), stamp_of(1.02)]
    assert "header.stamp is not set (0): the time of recording is used" in capsys.readouterr().err


def test_the_body_model_is_latched_and_markers_are_written_if_wanted(run, tmp_path):
    images = [("/image", IMAGE, image(5 + i / 30, people=n)) for i, n in enumerate((2, 1, 0))]
    assert run(write_bag(tmp_path / "bag", images), "--markers", "--vertices") == 0
    results = tmp_path / "out" / "humans"
    with rosbag2.Reader(results) as reader:
        kept = {c.topic: c.ext.offered_qos_profiles[0].durability for c in reader.connections}
    assert kept == {
        "/stdformer/humans": QosDurability.VOLATILE,
        "/stdformer/body_model": QosDurability.TRANSIENT_LOCAL,
        "/stdformer/markers": QosDurability.VOLATILE,
    }
    arrays = [m.markers for _, m in read_bag(results, "/stdformer/markers", MarkerArray)]
    drawn = [[(m.ns, m.id) for m in markers if m.action == m.ADD] for markers in arrays]
    assert [len(markers) for markers in drawn] == [6, 3, 0]
    removed = [[(m.ns, m.id) for m in markers if m.action == m.DELETE] for markers in arrays]
    assert [len(markers) for markers in removed] == [0, 3, 3]


def test_a_full_disk_is_said_and_costs_the_results_bag_alone(run, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE, image(5 + i / 30)) for i in range(60)])
    with largest_file(30_000):
        assert run(bag) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: cannot write the bag {tmp_path}/out/humans")
    assert len(np.load(tmp_path / "out/humans.npz")["frame"]) >= 0
