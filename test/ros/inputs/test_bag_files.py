"""Bags as people have them: every container, damaged ones, topics that must be named or not."""

import os
import sqlite3

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")
pytest.importorskip("rosbags", reason="needs rosbags (requirements-ros.txt)")

from rclpy.serialization import serialize_message
from rosbags import rosbag1, rosbag2
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_typestore
from visualization_msgs.msg import MarkerArray

from helpers.bag_recorder import (
    IMAGE,
    INFO,
    image,
    info,
    people_of,
    read_bag,
    results_of,
    write_bag,
    write_ros1_bag,
)
from helpers.disk import largest_file
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


def test_the_bags_of_ros_1_in_a_folder_are_read_one_after_the_other(run, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    for part in (0, 2, 10):
        images = [("/image", IMAGE, image(5 + part / 30, people=part))]
        write_ros1_bag(folder / f"x_{part}.bag", images)
    assert run(folder) == 0
    assert people_of(tmp_path / "out") == [0, 2, 10]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("mcap", "BAG.MCAP"),
        ("mcap", "a?b.mcap"),
        ("db3", "BAG.DB3"),
        ("db3", "a#b.db3"),
        ("folder", "a?b"),
        ("folder", "a#b%20"),
        ("folder", os.fsdecode(b"a\xff\xfe")),
        ("ros1", "X.BAG"),
        ("ros1", "x.bag.active"),
    ],
)
def test_a_bag_may_have_any_name(run, tmp_path, kind, name):
    """SQLite takes a part of some names for options, and opens or makes another file."""
    if kind == "ros1":
        bag = write_ros1_bag(tmp_path / "old.bag", MESSAGES)
    else:
        storage = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
        bag = write_bag(tmp_path / "bag", MESSAGES, storage)
    if kind in ("mcap", "db3"):
        bag = bag / f"bag.{kind}"
    assert run(bag.rename(tmp_path / name)) == 0
    assert people_of(tmp_path / "out") == [1] * 5


def test_the_results_folder_may_have_any_name(run, tmp_path):
    bag = write_bag(tmp_path / "bag", MESSAGES)
    out = tmp_path / "a#b?c%20"
    assert run(bag, "--out", str(out)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "bag"]
    assert people_of(out.rename(tmp_path / "out")) == [1] * 5


def test_the_metadata_of_a_bag_may_be_named(run, tmp_path):
    assert run(write_bag(tmp_path / "bag", MESSAGES) / "metadata.yaml") == 0
    assert people_of(tmp_path / "out") == [1] * 5


def test_files_that_the_metadata_do_not_name_are_read(run, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", MESSAGES)
    (bag / "bag.db3").rename(bag / "renamed.db3")
    assert run(bag) == 0
    assert people_of(tmp_path / "out") == [1] * 5
    assert "`ros2 bag reindex FOLDER` makes it anew; the rest is read" in capsys.readouterr().err


def compressed_bag(folder, mode):
    """A bag whose files or messages are compressed by its recorder."""
    writer = rosbag2.Writer(folder, version=9)
    writer.set_compression(mode, rosbag2.CompressionFormat.ZSTD)
    with writer:
        types = get_typestore(Stores.ROS2_KILTED)
        connection = writer.add_connection("/image", IMAGE, typestore=types)
        for i, (_, _, message) in enumerate(IMAGES):
            writer.write(connection, 10**9 + i, serialize_message(message))
    return folder


@pytest.mark.parametrize("with_metadata", [True, False])
def test_messages_that_the_recorder_has_compressed_are_read(run, tmp_path, with_metadata):
    bag = compressed_bag(tmp_path / "bag", rosbag2.CompressionMode.MESSAGE)
    if not with_metadata:
        (bag / "metadata.yaml").unlink()
    assert run(bag) == 0
    assert people_of(tmp_path / "out") == [1] * 5


def test_files_that_the_recorder_has_compressed_are_read_or_the_remedy_is_named(
    run, tmp_path, capsys
):
    bag = compressed_bag(tmp_path / "bag", rosbag2.CompressionMode.FILE)
    assert run(bag) == 0
    assert people_of(tmp_path / "out") == [1] * 5
    (bag / "metadata.yaml").unlink()
    for path in (bag, bag / "bag.db3.zstd"):
        assert run(path) == 2
        assert "bag.db3.zstd is packed; `unzstd FILE` unpacks it" in capsys.readouterr().err


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


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_of_a_killed_recording_the_files_that_are_complete_are_answered(
    run, tmp_path, capsys, part
):
    folder = tmp_path / "recording"
    folder.mkdir()
    for number in (0, 1):
        images = [("/image", IMAGE, image(5 + number + i / 30)) for i in range(3)]
        bag = write_bag(tmp_path / f"r_{number}", images, StoragePlugin.MCAP)
        (bag / f"r_{number}.mcap").rename(folder / f"r_{number}.mcap")
    last = folder / "r_1.mcap"
    last.write_bytes(last.read_bytes()[: int(part * last.stat().st_size)])
    assert run(folder) == 0
    assert people_of(tmp_path / "out") == [1] * 3
    error = capsys.readouterr().err
    assert "r_1.mcap cannot be read as a bag" in error
    assert "`mcap recover FILE -o NEW` repairs it; the rest is read" in error


def test_messages_that_sqlite_has_left_beside_its_file_are_said(run, tmp_path, capsys):
    """A recorder that is killed leaves them there; `rosbags` does not read them."""
    bag = write_bag(tmp_path / "bag", IMAGES) / "bag.db3"
    with sqlite3.connect(bag) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(
            "INSERT INTO messages SELECT id + 5, topic_id, timestamp, data FROM messages"
        )
        database.commit()
        left = bag.with_name("bag.db3-wal").read_bytes()
    database.close()
    bag.with_name("bag.db3-wal").write_bytes(left)
    assert run(bag) == 0
    error = capsys.readouterr().err
    assert "bag.db3-wal holds messages that are not read: its recording was cut off" in error
    assert "`sqlite3 FILE 'PRAGMA wal_checkpoint(TRUNCATE)'` completes it" in error


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


def test_behind_a_damaged_file_the_next_one_is_read(run, tmp_path, capsys):
    folder = mcap_of_300_images(tmp_path).parent
    (folder / "metadata.yaml").unlink()
    data = (folder / "bag.mcap").read_bytes()
    place = data.index(b"optical", len(data) // 2) - (4 + 8 + 4) - (2 + 4 + 8 + 8) - 8
    (folder / "bag.mcap").write_bytes(data[:place] + b"\xff" * 8 + data[place + 8 :])
    later = write_bag(
        tmp_path / "later", [("/image", IMAGE, image(90 + i / 30, 2)) for i in (0, 1)]
    )
    (later / "later.db3").rename(folder / "later.db3")
    assert run(folder) == 0
    people = people_of(tmp_path / "out")
    assert people.count(2) == 2
    assert 2 < len(people) < 302
    error = capsys.readouterr().err
    assert error.count("bag.mcap is damaged: ") == 1
    assert f"{302 - len(people)} of 302 images are missing from the bag" in error


def test_messages_that_cannot_be_read_are_counted(run, tmp_path, capsys):
    images = [("/image", IMAGE, image(5 + i / 30)) for i in range(4)]
    images[1:1] = [("/image", IMAGE, b"\0\1\0\0nonsense"), ("/image", IMAGE, b"")]
    assert run(write_bag(tmp_path / "bag", images)) == 0
    assert people_of(tmp_path / "out") == [1] * 4
    assert "/image: 2 of 6 messages could not be read" in capsys.readouterr().err


def test_messages_of_ros_1_that_cannot_be_read_are_counted(run, tmp_path, capsys):
    ros1, ros2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_KILTED)
    with rosbag1.Writer(tmp_path / "a.bag") as writer:
        connection = writer.add_connection("/image", IMAGE, typestore=ros1)
        for i, (_, _, message) in enumerate(IMAGES):
            data = bytes(ros2.cdr_to_ros1(serialize_message(message), IMAGE))
            data = {1: data[:20], 2: b"\xff" * 60}.get(i, data)
            writer.write(connection, 10**9 + i, bytes(4) + data)
    assert run(tmp_path / "a.bag") == 0
    assert people_of(tmp_path / "out") == [1] * 3
    assert "/image: 2 of 5 messages could not be read" in capsys.readouterr().err


def test_a_first_message_that_cannot_be_read_does_not_hide_its_topic(run, tmp_path, capsys):
    messages = [("/cam/image_raw", IMAGE, b"\0\1\0\0nonsense"), *IMAGES]
    assert run(write_bag(tmp_path / "bag", messages)) == 0
    assert "/cam/image_raw: 1 of 6 messages could not be read" in capsys.readouterr().err


def test_a_topic_without_messages_is_named(run, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", [("/cam/camera_info", INFO, info())])
    assert run(bag) == 2
    error = capsys.readouterr().err
    assert "the bag has no images of sensor_msgs/msg/Image or" in error
    assert "it has: /cam/camera_info (sensor_msgs/msg/CameraInfo)" in error


def test_options_for_bags_are_refused_for_videos(run, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert run(tmp_path / "a.mp4", "--rectified") == 2
    assert "--rectified is for bags" in capsys.readouterr().err
    assert run(tmp_path / "a.mp4", "--image-topic", "/image") == 2
    assert "--image-topic is for bags" in capsys.readouterr().err
    assert run(write_bag(tmp_path / "bag", MESSAGES), "--fps", "10") == 2
    assert "--fps is for pictures" in capsys.readouterr().err


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
    assert len(np.load(tmp_path / "out/humans.npz")["frame"]) > 0
