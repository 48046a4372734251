"""`cli run` on bags: read offline, results written as a bag, the bag played back."""

from itertools import islice

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")
pytest.importorskip("rosbags", reason="needs rosbags (requirements-ros.txt)")

from rosbags import rosbag2
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from helpers.bag_recorder import (
    CTRL_C,
    DEPTH,
    ERROR,
    IMAGE,
    INFO,
    depth,
    image,
    info,
    people_of,
    read_bag,
    results_of,
    write_bag,
)
from helpers.fake_pipeline import JOINTS, FakePipeline
from helpers.ros_client import stamp_of
from stdformer_ros import cli
from stdformer_ros.io.video import read_video
from stdformer_ros.msg import BodyModel, HumanArray

pytestmark = pytest.mark.ros


def play(results, client):
    """Publish a bag's /stdformer/humans, once the client is there to hear it."""
    player = client.node.create_publisher(HumanArray, "/stdformer/humans", 10)
    assert client.until(lambda: player.get_subscription_count() > 0)
    client.until(lambda: False, 0.3)  # the client, too, must know of us
    with rosbag2.Reader(results) as reader:
        for connection, _, data in reader.messages():
            if connection.topic == "/stdformer/humans":
                player.publish(bytes(data))


@pytest.fixture
def bag(tmp_path):
    """Five images of 0 to 4 people, with intrinsics."""
    messages = [("/cam/camera_info", INFO, info())]
    messages += [("/cam/image_raw", IMAGE, image(5 + i / 30, people=i)) for i in range(5)]
    return write_bag(tmp_path / "bag", messages)


def test_every_image_of_a_bag_is_answered_with_its_header_at_its_time(bag, run, tmp_path, capsys):
    assert run(bag) == 0
    output = capsys.readouterr()
    assert "4 people in 5 frames" in output.out
    assert str(tmp_path / "out" / "humans.npz") in output.out
    assert "5/5" in output.err
    archive = np.load(tmp_path / "out" / "humans.npz")
    assert archive["frame"].tolist() == [1, 2, 2, 3, 3, 3, 4, 4, 4, 4]
    assert archive["metric_depth"].all()
    assert float(archive["fps"]) == pytest.approx(30.0, abs=0.1)
    results = results_of(tmp_path / "out")
    images = read_bag(bag, "/cam/image_raw", Image)
    assert [time for time, _ in results] == [time for time, _ in images]
    assert [message.header for _, message in results] == [m.header for _, m in images]
    assert people_of(tmp_path / "out") == [0, 1, 2, 3, 4]
    ((_, model),) = read_bag(tmp_path / "out" / "humans", "/stdformer/body_model", BodyModel)
    assert model.joint_names == results[0][1].joint_names


def test_results_of_a_bag_are_in_the_cameras_own_frame_also_if_its_images_are_turned(
    bag, run, tmp_path
):
    """The header names that frame. humans.npz has the coordinates of the upright image."""
    assert run(bag, "--markers", fake=FakePipeline(rotate=90)) == 0
    joints = np.load(tmp_path / "out" / "humans.npz")["joints"]
    np.testing.assert_allclose(joints[0], list(JOINTS.values()) + np.array([0, 0, 2]), atol=1e-6)
    _, message = results_of(tmp_path / "out")[1]
    published = np.array([[p.x, p.y, p.z] for p in message.humans[0].joints])
    # what is up in the turned image was left before
    x, y, z = joints[0].T
    np.testing.assert_allclose(published, np.stack([y, -x, z], axis=1), atol=1e-6)
    marker_arrays = read_bag(tmp_path / "out" / "humans", "/stdformer/markers", MarkerArray)
    (label,) = (m for m in marker_arrays[1][1].markers if m.ns == "label")
    p = label.pose.position
    assert (p.x, p.y, p.z) == pytest.approx((-0.9, 0.0, 2.0))


def test_with_a_delay_every_image_is_answered_with_its_own_header(bag, run, tmp_path):
    assert run(bag, fake=FakePipeline(delay_frames=2)) == 0
    assert people_of(tmp_path / "out") == [0, 1, 2, 3, 4]
    images = read_bag(bag, "/cam/image_raw", Image)
    results = results_of(tmp_path / "out")
    assert [(time, m.header) for time, m in results] == [(time, m.header) for time, m in images]


@pytest.mark.parametrize("delay", [0, 2])
def test_a_bag_that_jumps_back_loses_one_image_and_starts_anew(run, tmp_path, delay):
    """What a delay has kept back is answered before."""
    stamps = [5.0, 5.1, 5.2, 1.0, 1.1, 1.2]
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE, image(stamp)) for stamp in stamps])
    fake = FakePipeline(delay)
    assert run(bag, fake=fake) == 0
    assert fake.resets == 1
    answered = [message.header.stamp for _, message in results_of(tmp_path / "out")]
    assert answered == [stamp_of(stamp) for stamp in (5.0, 5.1, 5.2, 1.1, 1.2)]


def test_depth_of_the_bag_is_used(run, tmp_path):
    messages = [("/depth", DEPTH, depth(5.0, 2.4)), ("/image", IMAGE, image(5.01))]
    bag = write_bag(tmp_path / "bag", messages)
    assert run(bag, "--image-topic", "/image", "--depth-topic", "/depth") == 0
    ((_, message),) = results_of(tmp_path / "out")
    assert message.humans[0].measured_depth
    assert message.humans[0].joints[0].z == pytest.approx(2.4)


def test_a_bag_gives_vertices_and_an_overlay_as_a_video_does(bag, run, tmp_path):
    assert run(bag, "--vertices", "--overlay") == 0
    assert np.load(tmp_path / "out" / "humans.npz")["vertices"].shape == (10, 8, 3)
    assert len(results_of(tmp_path / "out")[1][1].humans[0].vertices) == 24
    frames = list(read_video(tmp_path / "out" / "overlay.mp4"))
    assert len(frames) == 5
    assert frames[1].stamp == pytest.approx(1 / 30, abs=1e-3)
    drawn = [np.ptp(frame.image[8:]) > 60 for frame in frames]
    assert drawn == [False, True, True, True, True]


@pytest.mark.parametrize("end", [ERROR, CTRL_C])
def test_what_was_answered_before_an_error_or_ctrl_c_is_kept(run, tmp_path, end):
    people = [1, 2, end, 1]
    images = [("/image", IMAGE, image(5 + i / 30, n)) for i, n in enumerate(people)]
    bag = write_bag(tmp_path / "bag", images)
    if end == CTRL_C:
        assert run(bag, "--overlay") == cli.INTERRUPTED
    else:
        with pytest.raises(RuntimeError, match="the image asked for it"):
            run(bag, "--overlay")
    assert people_of(tmp_path / "out") == [1, 2]
    assert np.load(tmp_path / "out" / "humans.npz")["frame"].tolist() == [0, 1, 1]
    assert len(list(read_video(tmp_path / "out" / "overlay.mp4"))) == 2


def test_which_images_to_take_must_be_clear(bag, run, tmp_path, capsys):
    two = write_bag(
        tmp_path / "two", [("/a/image", IMAGE, image(1.0)), ("/b/image", IMAGE, image(1.0))]
    )
    assert run(two) == 2
    assert (
        "--image-topic; the bag has 2 topics of images: /a/image, /b/image"
        in capsys.readouterr().err
    )
    assert run(two, "--image-topic", "/c") == 2
    assert "the bag has no topic /c; it has: /a/image, /b/image" in capsys.readouterr().err
    assert run(bag, "--image-topic", "/cam/camera_info") == 2
    assert "has messages of sensor_msgs/msg/CameraInfo, not images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_bag_is_named(run, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "metadata.yaml").write_text("nonsense: true\n")
    assert run(empty) == 2
    assert f"{empty} cannot be read as a bag" in capsys.readouterr().err


def test_earlier_results_are_not_overwritten(bag, run, tmp_path, capsys):
    assert run(bag) == 0
    before = results_of(tmp_path / "out")
    assert run(bag) == 2
    assert "exists already" in capsys.readouterr().err
    assert results_of(tmp_path / "out") == before


def test_results_that_are_played_back_are_the_same_messages(bag, run, tmp_path, client):
    assert run(bag, "--vertices") == 0
    recorded = results_of(tmp_path / "out")
    play(tmp_path / "out" / "humans", client)
    assert client.until(lambda: len(client.humans) == len(recorded))
    assert client.humans == [message for _, message in recorded]


@pytest.mark.slow
def test_a_bag_of_a_real_video_is_answered_as_the_video_is(real_video, tmp_path, client):
    """The default networks over the same pictures twice; the results played back are the same."""
    pictures, messages = tmp_path / "pictures", []
    pictures.mkdir()
    for i, frame in enumerate(islice(read_video(real_video), 8)):
        bgr = np.ascontiguousarray(frame.image[..., ::-1])
        cv2.imwrite(str(pictures / f"{i:03}.png"), bgr)
        header = Header(stamp=stamp_of(5 + i / 30), frame_id="optical")
        height, width = bgr.shape[:2]
        messages.append(
            Image(
                header=header,
                height=height,
                width=width,
                encoding="bgr8",
                step=3 * width,
                data=bgr.tobytes(),
            )
        )
    bag = write_bag(tmp_path / "bag", [("/cam/image_raw", IMAGE, m) for m in messages])
    for source, out in ((pictures, "video"), (bag, "bag")):
        assert cli.main(["run", str(source), "--out", str(tmp_path / out)]) == 0
    video, answered = (np.load(tmp_path / out / "humans.npz") for out in ("video", "bag"))
    assert len(video["track_id"]) >= 8
    for name in ("frame", "track_id"):
        assert answered[name].tolist() == video[name].tolist()
    assert answered["joints"] == pytest.approx(video["joints"], abs=1e-4)  # stamps are rounded

    results = tmp_path / "bag" / "humans"
    recorded = [message for _, message in read_bag(results, "/stdformer/humans", HumanArray)]
    assert [message.header for message in recorded] == [message.header for message in messages]
    assert recorded[-1].humans[0].joints[0].z == pytest.approx(answered["joints"][-1][0, 2], 0.5)
    play(results, client)
    assert client.until(lambda: len(client.humans) == len(recorded))
    assert client.humans == recorded
