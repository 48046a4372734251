"""REP-155's topics, with the real hri_msgs where they are installed."""

import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from helpers.rep155_body import NAMES, standing
from helpers.ros_client import PATIENCE, stamp_of
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.outputs.rep155_topics import LATCHED, Rep155Topics, body_frame, cropped
from stdformer_ros.types import Body, Frame, Human, Person

pytestmark = pytest.mark.ros

COLUMNS = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (50, 1, 3))
FRAME = Frame(COLUMNS, 12.5, Camera.assumed(100, 50))


@pytest.fixture
def node(ros):
    node = rclpy.create_node("bodies")
    yield node
    node.destroy_node()


def human(track_id):
    joints = standing(left_wrist=(1, 0, 0)) + np.array([0, 0, 3], np.float32)
    person = Person(
        track_id,
        0.75,
        np.array([10, -5, 60, 40], np.float32),
        np.full((33, 2), 24.5, np.float32),
        np.full(33, 0.5, np.float32),
    )
    body = Body(joints, np.ones(len(joints)), None, None, None, True)
    return Human(person, body, np.zeros_like(joints), 1.0)


def heard_next(executor, messages):
    """The newest message once nothing more comes."""
    end = time.monotonic() + PATIENCE
    while messages[-1].ids and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    return messages[-1]


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((10, -5, 60, 40), (40, 50)),
        ((-0.5, -0.5, 99.5, 49.5), (50, 100)),
        ((90, 40, 300, 300), (10, 10)),
        ((500, 500, 600, 600), (1, 1)),
        ((30, 30, 20, 20), (1, 1)),
    ],
)
def test_a_crop_is_the_part_of_the_image_in_the_box(box, shape):
    somebody = human(1)
    somebody.person.box[:] = box
    assert cropped(COLUMNS, somebody).shape[:2] == shape


def test_a_bodys_frame_is_amid_the_hips_with_its_front_ahead():
    """`standing` is upright in REP-103 axes, three metres up."""
    header = Header(stamp=stamp_of(12.5), frame_id="optical")
    frame = body_frame(header, "b0007", human(7), NAMES)
    assert (frame.header, frame.child_frame_id) == (header, "body_b0007")
    t, r = frame.transform.translation, frame.transform.rotation
    assert (t.x, t.y, t.z) == pytest.approx((0.0, 0.0, 3.0), abs=1e-6)
    assert (r.x, r.y, r.z, r.w) == pytest.approx((0.0, 0.0, 0.0, 1.0), abs=1e-6)


def test_without_hri_msgs_it_says_what_to_install(node, monkeypatch):
    monkeypatch.setitem(sys.modules, "hri_msgs", None)
    with pytest.raises(ValueError, match=r"sudo apt install ros-\$ROS_DISTRO-hri-msgs"):
        Rep155Topics(node, NAMES)


def test_who_is_seen_has_topics_and_who_has_left_has_none(node):
    messages = pytest.importorskip("hri_msgs.msg", reason="needs hri_msgs").__dict__
    topics = Rep155Topics(node, NAMES)
    heard = {}
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def listen(kind, name, qos=10):
        heard[name] = []
        node.create_subscription(kind, f"/humans/bodies/{name}", heard[name].append, qos)

    listen(messages["IdsList"], "tracked")
    listen(messages["NormalizedRegionOfInterest2D"], "b0007/roi")
    listen(messages["Skeleton2D"], "b0007/skeleton2d")
    listen(JointState, "b0007/joint_states")
    listen(Image, "b0007/cropped")
    listen(String, "b0007/urdf", LATCHED)
    header = Header(stamp=stamp_of(12.5), frame_id="optical")
    end = time.monotonic() + PATIENCE
    while not all(heard.values()) and time.monotonic() < end:
        topics.publish(header, [human(7), human(12)], FRAME)
        executor.spin_once(timeout_sec=0.1)
    assert all(heard.values())

    assert list(heard["tracked"][-1].ids) == ["b0007", "b0012"]
    roi = heard["b0007/roi"][-1]
    found = [roi.xmin, roi.ymin, roi.xmax, roi.ymax, roi.c]
    assert found == pytest.approx([0.1, 0.0, 0.6, 0.8, 0.75])
    skeleton = heard["b0007/skeleton2d"][-1].skeleton
    assert len(skeleton) == 18
    assert (skeleton[0].x, skeleton[0].y, skeleton[0].c) == pytest.approx((0.25, 0.5, 0.5))
    state = heard["b0007/joint_states"][-1]
    angles = dict(zip(state.name, state.position, strict=True))
    assert angles["r_elbow_b0007"] == pytest.approx(0.0, abs=1e-3)
    assert len(angles) == 17
    picture = heard["b0007/cropped"][-1]
    assert (picture.width, picture.height, picture.encoding) == (50, 40, "rgb8")
    assert picture.data[0] == 10  # the column where the box begins
    (urdf,) = heard.pop("b0007/urdf")
    assert 'link name="l_wrist_b0007"' in urdf.data
    for messages_of_topic in heard.values():
        assert messages_of_topic[-1].header == header

    own = {name for name, _ in node.get_publisher_names_and_types_by_node("bodies", "/")}
    assert "/humans/bodies/b0012/roi" in own
    topics.publish(header, [human(7)], FRAME)
    own = {name for name, _ in node.get_publisher_names_and_types_by_node("bodies", "/")}
    assert "/humans/bodies/b0012/roi" not in own
    assert "/humans/bodies/b0007/roi" in own
    topics.clear()
    assert list(heard_next(executor, heard["tracked"]).ids) == []
    topics.destroy()
    own = {name for name, _ in node.get_publisher_names_and_types_by_node("bodies", "/")}
    assert not any(name.startswith("/humans") for name in own)
    executor.shutdown()
