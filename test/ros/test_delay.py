"""The node with delay_frames: every message has the stamp of the frame that it answers."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from helpers.ros_client import NodeProcess

pytestmark = pytest.mark.ros

DELAY = 2


def stamp(header):
    return header.stamp.sec, header.stamp.nanosec


def test_a_delayed_answer_has_the_stamp_of_its_frame(tmp_path, client):
    client.listen_to_all()
    with NodeProcess(tmp_path / "log", autostart=True, delay_frames=DELAY):
        client.connect()
        sent = {}
        for people in (1, 2, 3, 2, 1, 3, 1, 2, 3, 1):
            image = client.send(people)
            sent[stamp(image.header)] = people
            client.until(lambda: False, 0.2)
        assert client.until(lambda: len(client.humans) >= 4)
        client.humans[:] = [answer for answer in client.humans if stamp(answer.header) in sent]
        answered = [stamp(answer.header) for answer in client.humans]
        assert [len(answer.humans) for answer in client.humans] == [sent[s] for s in answered]
        assert answered == sorted(set(answered))
        assert answered[-1] <= sorted(sent)[-1 - DELAY]
        for topic in ("joints", "overlay"):
            heard = {stamp(message.header) for message in client.heard[f"/stdformer/{topic}"]}
            assert heard & set(answered), topic
            assert not heard & set(sorted(sent)[-DELAY:]), topic
