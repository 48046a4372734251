"""The node as a process, over real topics: its messages, its log, and errors that it survives."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from visualization_msgs.msg import Marker

from helpers.fake_pipeline import BOX_FACES, JOINTS
from helpers.ros_client import LATCHED
from stdformer_ros.msg import BodyModel

pytestmark = pytest.mark.ros

PARAMETERS = {"image_timeout": 1.0}


def test_without_calibration_the_field_of_view_is_assumed_and_logged_once(running, client):
    client.connect()
    for _ in range(3):
        assert client.answer(1).humans[0].metric_depth is False
    assert running.output.count("assuming a field of view of 60 degrees") == 1


def test_each_image_is_answered_with_its_own_stamp_and_frame(running, client):
    client.connect()
    for people in (0, 1, 2, 1):
        answer = client.answer(people)  # compares the headers
        assert [human.track_id for human in answer.humans] == list(range(1, people + 1))
    assert answer.estimator == "fake"
    assert answer.joint_names == list(JOINTS)
    assert answer.header.frame_id == "optical"
    assert len(answer.humans[0].vertices) == 0  # publish_vertices is off


def test_late_subscribers_get_the_body_model_too(running, client):
    client.listen(BodyModel, "/stdformer/body_model", LATCHED)
    assert client.until(lambda: client.heard["/stdformer/body_model"])
    (model,) = client.heard["/stdformer/body_model"]
    np.testing.assert_array_equal(np.reshape(model.triangles, (-1, 3)), BOX_FACES)
    assert list(model.bones) == [0, 1, 0, 2, 0, 3, 3, 4]
    assert model.joint_names == list(JOINTS)


def test_all_outputs_of_an_image_agree(running, client):
    client.listen_to_all()
    client.connect()
    answer = client.answer(2)
    joints, cloud, overlay, markers = (
        client.heard[f"/stdformer/{name}"]
        for name in ("joints", "joints_cloud", "overlay", "markers")
    )
    assert client.until(lambda: joints and cloud and overlay and len(markers) >= 3)
    picture = overlay[0]
    assert (picture.width, picture.height, picture.encoding) == (64, 48, "rgb8")
    assert np.mean(np.array(picture.data) != 90) > 0.05, "nothing was drawn"
    shown = [marker for message in markers for marker in message.markers]
    assert {(marker.ns, marker.id) for marker in shown} == {
        (namespace, i) for namespace in ("mesh", "skeleton", "label") for i in (1, 2)
    }
    for message in (joints[0], cloud[0], picture, *shown):
        assert message.header == answer.header


def test_people_who_left_are_deleted_from_rviz(running, client):
    client.listen_to_all()
    client.connect()
    messages = client.heard["/stdformer/markers"]
    client.answer(2)
    assert client.until(lambda: len(messages) >= 3)
    messages.clear()
    client.answer(1)
    assert client.until(lambda: len(messages) >= 2)
    deleted = {
        (marker.ns, marker.id)
        for message in messages
        for marker in message.markers
        if marker.action == Marker.DELETE
    }
    assert deleted == {("mesh", 2), ("skeleton", 2), ("label", 2)}


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"encoding": "hologram8"}, "unknown encoding 'hologram8'"),
        ({"step": 3}, "step 3 is too short"),
        ({"data": b""}, "0 bytes of data, but 48 rows of step 192 need 9216"),
        ({"height": 0}, "the image is empty (64x0)"),
        ({"width": 32, "height": 96, "step": 96}, "changed its size from 64x48 to 32x96"),
    ],
)
def test_a_bad_image_is_logged_with_the_reason_and_dropped(running, client, fields, warning):
    client.connect()
    client.send_until(lambda: warning in running.output, **fields)
    (line,) = (line for line in running.output.splitlines() if warning in line)
    assert "/camera/image: " in line
    assert "frame dropped" in line
    assert len(client.answer(2).humans) == 2


def test_many_bad_images_do_not_stop_the_node(running, client):
    client.connect()
    for fields in (
        {"encoding": "16UC1"},
        {"step": 2**32 - 1},
        {"data": bytes(100)},
        {"height": 2**32 - 1},
        {"width": 2**32 - 1},
        {"encoding": "nv12", "width": 63},
    ):
        for _ in range(5):
            client.send(1, **fields)
    client.until(lambda: False, 0.3)
    assert client.humans == []
    assert len(client.answer(2).humans) == 2


def test_stamps_that_repeat_or_go_back_are_dropped(running, client):
    client.connect()
    header = client.answer(1).header
    before = len(client.humans)
    client.send_until(lambda: "repeats; frame dropped" in running.output, header=header)
    assert len(client.humans) == before
    client.rewind()
    client.send_until(lambda: "the stamp went back from" in running.output)
    client.answer(1)


def test_an_exception_in_the_pipeline_does_not_stop_the_node(running, client):
    client.connect()
    client.send_until(lambda: "the image asked for it" in running.output, fail=True)
    assert "/camera/image: frame failed with RuntimeError" in running.output
    assert len(client.answer(2).humans) == 2


def test_missing_images_are_logged_and_reported_in_diagnostics(running, client):
    client.listen_to_all()
    client.connect()
    assert client.until(lambda: "/camera/image: no image for" in running.output)
    statuses = client.heard["/diagnostics"]
    stale = b"\x03"
    assert client.until(lambda: any(s.status[0].level == stale for s in statuses))
    values = {item.key: item.value for item in statuses[-1].status[0].values}
    assert values["model"] == "fake"
    assert values["image topic"] == "/camera/image"


def test_overload_drops_frames_and_answers_the_newest(running, client):
    client.connect()
    slow = client.send_until(lambda: client.humans, hundredths=1)[-1]
    client.humans.clear()
    slow = client.send(1, hundredths=200)
    client.until(lambda: False, 0.3)  # now it is being worked on
    sent = []
    for _ in range(5):
        sent.append(client.send(2))
        client.until(lambda: False, 0.05)
    assert client.until(lambda: len(client.humans) >= 2)
    client.until(lambda: False, 0.3)
    stamps = [answer.header.stamp for answer in client.humans]
    assert stamps == [slow.header.stamp, sent[-1].header.stamp]


def test_intrinsics_make_distances_metric_and_bad_ones_are_ignored(running, client):
    client.connect()
    client.send_info()
    assert client.until(lambda: client.answer(1).humans[0].metric_depth)
    for fx in (math.nan, 0.0, -60.0, math.inf):
        client.send_info(fx=fx)
    assert client.answer(1).humans[0].metric_depth is True
    warning = "/camera/camera_info: camera intrinsics must be finite"
    assert client.until(lambda: warning in running.output)
    assert running.output.count(warning) == 1
