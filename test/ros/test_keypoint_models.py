"""A keypoint network in the node: joints, skeletons and stamps; there is no mesh."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from lifecycle_msgs.msg import Transition
from visualization_msgs.msg import Marker

from helpers.keypoint_node import STANDING, place_of, poseformer_checkpoint
from helpers.paths import KEYPOINT_NODE as NODE
from helpers.paths import ROOT
from helpers.ros_client import LATCHED, NodeProcess
from stdformer_ros.models.lifting.estimator import LiftingEstimator
from stdformer_ros.msg import BodyModel

pytestmark = pytest.mark.ros

NODE_ITSELF = ROOT / "stdformer_ros" / "ros" / "node.py"
DELAY = 3


def stamp(header):
    return header.stamp.sec, header.stamp.nanosec


def places(answer):
    return [(human.pose.pose.position.x, human.pose.pose.position.z) for human in answer.humans]


def test_it_publishes_joints_and_skeletons_but_no_mesh(tmp_path, client):
    client.listen_to_all()
    options = {
        "model": "poseformer_9",
        "checkpoint": poseformer_checkpoint(tmp_path, future_frames=0),
    }
    with NodeProcess(tmp_path / "log", NODE, autostart=True, **options):
        client.connect()
        client.listen(BodyModel, "/stdformer/body_model", LATCHED)
        client.send_info()
        client.send_until(lambda: client.humans and client.humans[-1].humans[0].metric_depth, 50)
        answer = client.humans[-1]
        (human,) = answer.humans
        assert answer.estimator == "poseformer_9"
        assert tuple(answer.joint_names) == LiftingEstimator.joint_names
        joints = np.array([(j.x, j.y, j.z) for j in human.joints])
        expected = np.pad(STANDING, ((0, 0), (0, 1))) + place_of(50)
        np.testing.assert_allclose(joints, expected, atol=0.02)
        assert len(human.vertices) == len(human.body_pose) == len(human.betas) == 0
        topics = ("markers", "joints", "joints_cloud", "overlay", "body_model")
        assert client.until(lambda: all(client.heard[f"/stdformer/{topic}"] for topic in topics))
        shown = [m for array in client.heard["/stdformer/markers"] for m in array.markers]
        kinds = {marker.ns for marker in shown if marker.action != Marker.DELETEALL}
        assert kinds == {"skeleton", "label"}
        skeleton = next(marker for marker in shown if marker.ns == "skeleton")
        assert len(skeleton.points) == 2 * len(LiftingEstimator.skeleton)
        (model,) = client.heard["/stdformer/body_model"][:1]
        assert len(model.triangles) == 0
        assert len(model.bones) == 2 * len(LiftingEstimator.skeleton)


def test_with_a_delay_stamp_and_person_are_those_of_the_delayed_frame(tmp_path, client):
    options = {
        "model": "poseformer_9",
        "checkpoint": poseformer_checkpoint(tmp_path),
        "delay_frames": DELAY,
    }
    with NodeProcess(tmp_path / "log", NODE, autostart=True, **options):
        client.connect()
        sent = {}
        for red in range(10, 100, 8):
            sent[stamp(client.send(red).header)] = red
            client.until(lambda: False, 0.2)
        assert client.until(lambda: len(client.humans) > DELAY)
        answers = [answer for answer in client.humans if stamp(answer.header) in sent]
        assert len(answers) >= 3
        assert stamp(answers[-1].header) <= sorted(sent)[-1 - DELAY]
        for answer in answers:
            ((x, z),) = places(answer)
            red = sent[stamp(answer.header)]
            assert x / z == pytest.approx(place_of(red)[0] / 4.0, abs=0.01), "where they were then"
            region = answer.humans[0].region
            seen = region.x_offset + 0.5 * region.width
            focal = 0.5 * 64 / np.tan(np.radians(30.0))
            assert seen == pytest.approx(32 + focal * red / 400, abs=2.0)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"model": "poseformer_9"}, "poseformer_9 needs checkpoint"),
        ({"model": "poseformer_9", "checkpoint": "WEIGHTS", "delay_frames": 500},
         "delay_frames must be 0 to 4, not 500"),
        ({"delay_frames": 2}, "stdformer_s_keypoints answers for the newest frame"),
        ({"model": "poseformer_9", "backbone": "vgg"}, "has a backbone of its own, or none"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_fails_with_the_reason_and_the_node_keeps_running(
    tmp_path, client, parameters, said
):
    weights = poseformer_checkpoint(tmp_path)
    given = {k: weights if v == "WEIGHTS" else v for k, v in parameters.items()}
    with NodeProcess(tmp_path / "log", NODE_ITSELF, **given) as node:
        assert not client.transition(Transition.TRANSITION_CONFIGURE)
        assert client.until(lambda: "cannot configure:" in node.output)
        assert said in node.output
        assert client.state() == "unconfigured"
        assert node.process.poll() is None
