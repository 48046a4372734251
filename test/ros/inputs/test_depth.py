"""Depth in the node: matched by time, units checked, and a log message where it is not used."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from helpers.ros_client import stamp_of
from stdformer_ros.ros.inputs.arrivals import KEPT
from stdformer_ros.ros.inputs.images import depth_of
from stdformer_ros.ros.inputs.intake import DepthIntake
from stdformer_ros.ros.log import BadInput

pytestmark = pytest.mark.ros

PARAMETERS = {"depth": True, "depth_tolerance": 0.1}


def message(values, kind, seconds=1.0, **fields):
    image = Image(
        header=Header(stamp=stamp_of(seconds)),
        height=values.shape[0],
        width=values.shape[1],
        encoding=kind,
        step=values.strides[0],
        data=values.tobytes(),
    )
    for name, value in fields.items():
        setattr(image, name, value)
    return image


def metres(image):
    depth = depth_of(image)
    return depth.values * depth.metres


def test_integers_are_millimetres_and_floats_are_metres():
    assert metres(message(np.full((2, 3), 2500, "<u2"), "16UC1")) == pytest.approx(2.5)
    assert metres(message(np.full((2, 3), 2.5, "<f4"), "32FC1")) == pytest.approx(2.5)


def test_padding_and_byte_order_are_respected():
    padded = np.zeros((2, 5), ">u2")
    padded[:, :3] = 1234
    image = message(padded, "16UC1", width=3, is_bigendian=1)
    np.testing.assert_allclose(metres(image), np.full((2, 3), 1.234))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"encoding": "mono8"}, "encoding"),
        ({"step": 1}, "step"),
        ({"data": b"12"}, "data"),
        ({"height": 0}, "empty"),
        ({"height": 2**32 - 1}, "data"),
    ],
)
def test_a_malformed_depth_image_is_refused(fields, kind):
    with pytest.raises(BadInput) as refusal:
        depth_of(message(np.ones((4, 4), np.uint16), "16UC1", **fields))
    assert refusal.value.kind == kind


def test_floats_in_millimetres_are_refused_as_such():
    values = np.full((48, 64), 2500, np.float32)
    values[::2] = math.nan  # holes do not hide it
    with pytest.raises(BadInput, match="are these millimetres"):
        depth_of(message(values, "32FC1"))


def test_a_depth_image_without_any_depth_is_valid():
    assert np.isnan(metres(message(np.full((4, 4), np.nan, np.float32), "32FC1"))).all()


def depth_at(seconds):
    return message(np.full((2, 2), round(1000 * seconds), np.uint16), "16UC1", seconds)


def test_the_depth_nearest_in_time_is_taken():
    intake = DepthIntake(tolerance=0.05)
    for stamp in (1.0, 1.033, 1.066):
        intake.take(depth_at(stamp))
    assert intake.at(1_040_000_000).values[0, 0] == 1033
    assert intake.at(1_100_000_000).values[0, 0] == 1066


def test_a_depth_image_of_another_time_is_not_used():
    intake = DepthIntake(tolerance=0.05)
    assert intake.at(1_000_000_000) is None
    intake.take(depth_at(1.0))
    assert intake.at(1_060_000_000) is None
    assert intake.at(940_000_000) is None


def test_only_the_newest_are_kept():
    intake = DepthIntake(tolerance=0.001)
    for i in range(KEPT + 1):
        intake.take(depth_at(1.0 + i))
    assert intake.at(1_000_000_000) is None
    assert intake.at(2_000_000_000) is not None


def test_an_exact_stamp_is_preferred_to_all_others():
    intake = DepthIntake(tolerance=0.05)
    for stamp in (1.0, 1.001, 0.999):
        intake.take(depth_at(stamp))
    assert intake.at(1_000_000_000).values[0, 0] == 1000


def test_an_image_without_depth_is_told_with_the_nearest_and_the_count(told):
    intake = DepthIntake(tolerance=0.05, warn=told)
    assert intake.at(1_000_000_000) is None
    intake.take(depth_at(1.1))
    assert intake.at(1_000_000_000) is None
    assert intake.at(1_100_000_000) is not None
    assert intake.at(1_100_000_000 + 7200 * 10**9) is None
    assert {kind for kind, _ in told} == {"depth missing"}
    texts = [text for _, text in told]
    assert "none has come; 1 of 1 images had none" in texts[0]
    assert "the nearest is 100 ms newer; 2 of 2 images had none" in texts[1]
    assert "the nearest is 7200.0 s older: do both drivers use the same clock?" in texts[2]
    assert "3 of 4 images" in texts[2]


def test_the_previous_depth_image_is_not_used_without_a_word(told):
    intake = DepthIntake(0.05, told)
    for i in range(5):
        intake.take(depth_at(1.0 + i / 30))
    assert intake.at(round(1e9 * (1.0 + 5 / 30))) is not None
    ((kind, text),) = told
    assert kind == "depth late"
    assert "the nearest is 33 ms older and is used; so it was for 1 of 1 images" in text


def test_depth_that_is_slower_than_the_images_is_used_without_a_word_while_it_is_the_nearest(told):
    intake = DepthIntake(0.05, told)
    for i in range(5):
        intake.take(depth_at(1.0 + 0.1 * i))
    assert intake.at(1_433_000_000) is not None
    assert told == []


@pytest.fixture
def client(client):
    client.connect()
    return client


def answer_with_depth(client, done, *depth, **fields):
    """Depth and images of nearly one time, until an answer satisfies `done`."""

    def answered():
        return client.humans and done(client.humans[-1].humans[0])

    for _ in range(40):
        client.send_depth(*depth, **fields)
        client.send(1)
        if client.until(answered, 0.3):
            return client.humans[-1].humans[0]
    raise AssertionError("no such answer")


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_the_distance_is_taken_from_depth_and_marked_as_measured(running, client, encoding):
    human = answer_with_depth(client, lambda h: h.measured_depth, 2.4, encoding)
    assert human.pose.pose.position.z == pytest.approx(2.4, abs=1e-3)
    assert human.pose.covariance[14] < 0.1**2  # without depth: (0.1 x 2 m)^2 at best


def test_missing_depth_is_logged_and_the_distance_is_estimated(running, client):
    warning = "/camera/depth: no depth image within 0.1 s of the image"
    client.send_until(lambda: client.humans and warning in running.output)
    human = client.humans[-1].humans[0]
    assert not human.measured_depth
    assert human.pose.pose.position.z == pytest.approx(2.0)


def test_depth_in_wrong_units_is_logged_and_not_used(running, client):
    human = answer_with_depth(client, lambda h: not h.measured_depth, 20.0, "16UC1")
    assert not human.measured_depth
    warning = (
        "the torso of person 1 is at 20.00 m in the depth image, but 2.00 m are estimated: "
        "depth not used"
    )
    assert client.until(lambda: warning in running.output)
    answer_with_depth(client, lambda h: not h.measured_depth, 2400.0, "32FC1")
    assert client.until(lambda: "are these millimetres?" in running.output)


def test_a_broken_depth_image_is_logged_and_the_distance_is_estimated(running, client):
    human = answer_with_depth(client, lambda h: not h.measured_depth, 2.4, data=b"123")
    assert human.pose.pose.position.z == pytest.approx(2.0)
    assert client.until(lambda: "/camera/depth: 3 bytes of data" in running.output)
