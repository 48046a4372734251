"""Over topics: an image waits for depth that comes a little later, and only then."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from lifecycle_msgs.msg import Transition
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros

PARAMETERS = {"depth": True, "depth_wait": 0.5}


def answers_with_late_depth(client, count=40):
    """The errors of measured distances. Images are 1/30 s apart, and each depth image is sent some
    milliseconds after its image; of both, some may be lost."""
    errors = []
    for i in range(count):
        distance = 1.5 + 0.02 * i
        client.humans.clear()
        sent = client.send(1)
        client.until(lambda: False, 0.02)
        client.send_depth(distance)
        if client.until(lambda: client.humans, 0.6) and client.humans[0].header == sent.header:
            human = client.humans[0].humans[0]
            if human.measured_depth:
                errors.append(human.pose.pose.position.z - distance)
    return errors


def test_depth_that_comes_after_its_image_is_used_and_not_the_previous_one(running, client):
    client.connect()
    client.send_depth(1.5)
    errors = answers_with_late_depth(client)
    assert len(errors) > 20
    assert sum(abs(error) < 1e-3 for error in errors) > 0.9 * len(errors)


def test_images_do_not_wait_for_depth_that_has_fallen_silent(running, client):
    """If each waited, most would be dropped for newer ones."""
    client.connect()
    client.send_depth(1.5)
    assert answers_with_late_depth(client, 5)
    client.until(lambda: False, 1.0)
    client._stamp += 1.0
    client.humans.clear()
    for _ in range(30):
        client.send(1)
        client.until(lambda: False, 0.05)
    assert len(client.humans) > 15
    assert not any(answer.humans[0].measured_depth for answer in client.humans)
    warning = "/camera/depth: no depth image within 0.05 s of the image: the nearest is"
    assert client.until(lambda: warning in running.output)


def test_the_node_is_reset_and_deactivated_while_an_image_waits(running, client):
    client.connect()
    client.send_depth(1.5)
    for _ in range(3):
        answers_with_late_depth(client, 2)
        client.send(1)  # waits
        assert client.call(Trigger, "reset", Trigger.Request()).success
        client.send(1)
        assert client.transition(Transition.TRANSITION_DEACTIVATE)
        assert client.transition(Transition.TRANSITION_ACTIVATE)
        client.until(lambda: False, 0.3)
    client.answer(1)
    assert "Traceback" not in running.output
