"""The node's life cycle: transitions, parameters, failures to start, and its end."""

import gc
import signal
import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.lifecycle import LifecyclePublisher, TransitionCallbackReturn
from rclpy.parameter import Parameter
from visualization_msgs.msg import Marker

from helpers import fake_pipeline
from helpers.ros_client import PATIENCE, NodeProcess
from stdformer_ros.ros.node import HumanNode
from stdformer_ros.ros.outputs.diagnostics import heap_in_use

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros")]


def test_all_transitions_work_again_and_again(tmp_path, client):
    client.listen_to_all()
    with NodeProcess(tmp_path / "log") as node:
        assert client.state() == "unconfigured"
        for _ in range(2):
            assert client.transition(Transition.TRANSITION_CONFIGURE)
            assert client.transition(Transition.TRANSITION_ACTIVATE)
            client.connect()
            client.answer(1)
            markers = client.heard["/stdformer/markers"]
            assert client.until(lambda: len(markers) >= 2)  # noqa: B023
            markers.clear()
            assert client.transition(Transition.TRANSITION_DEACTIVATE)
            assert client.until(lambda: markers), "RViz was not cleared"  # noqa: B023
            assert {marker.action for marker in markers[0].markers} == {Marker.DELETE}
            client.humans.clear()
            for _ in range(3):
                client.send(1)
            client.until(lambda: False, 0.3)
            assert client.humans == [], "an inactive node answered"
            assert client.transition(Transition.TRANSITION_CLEANUP)
        assert client.transition(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert client.state() == "finalized"
        assert node.process.poll() is None


def test_a_wrong_parameter_fails_with_the_reason_and_can_be_corrected(tmp_path, client):
    with NodeProcess(tmp_path / "log", model="missing") as node:
        assert not client.transition(Transition.TRANSITION_CONFIGURE)
        assert client.state() == "unconfigured"
        assert "cannot configure: missing.bin was looked for in /nowhere" in node.output

        names = ["landmarks", "detect_every", "image_timeout"]
        answer = client.call(
            DescribeParameters, "describe_parameters", DescribeParameters.Request(names=names)
        )
        landmarks, detect_every, _ = answer.descriptors
        assert all(descriptor.description for descriptor in answer.descriptors)
        assert landmarks.additional_constraints == "one of lite, full"
        assert detect_every.integer_range[0].from_value == 1

        wrong = refusal(client, "landmarks", "heavy")
        assert wrong == "landmarks must be one of lite, full, not heavy"
        assert refusal(client, "detect_every", 0)
        assert refusal(client, "mesh_level", 5)
        assert not refusal(client, "model", "present")
        assert client.transition(Transition.TRANSITION_CONFIGURE)
        assert "applies on configure" in refusal(client, "model", "another")


def refusal(client, name, value):
    """The reason why the node refuses this value for a parameter; empty if it accepts it."""
    parameter = Parameter(name, value=value).to_parameter_msg()
    request = SetParameters.Request(parameters=[parameter])
    result = client.call(SetParameters, "set_parameters", request).results[0]
    return "" if result.successful else result.reason


def test_files_can_be_named_at_start_only(tmp_path, client):
    with NodeProcess(tmp_path / "log", checkpoint="/somewhere/net.bin"):
        assert "can only be set at start" in refusal(client, "checkpoint", "/else/where.bin")
        assert refusal(client, "file_folders", "/")
        assert not refusal(client, "checkpoint", "")
        assert client.transition(Transition.TRANSITION_CONFIGURE)


def test_files_lie_in_the_folders_that_were_named_at_start(tmp_path, client):
    with NodeProcess(tmp_path / "log", file_folders=tmp_path, smpl="/etc/passwd") as node:
        assert not refusal(client, "checkpoint", str(tmp_path / "net.bin"))
        assert "lies in none of" in refusal(client, "checkpoint", f"{tmp_path}/../secret.bin")
        assert refusal(client, "file_folders", "/")
        assert not client.transition(Transition.TRANSITION_CONFIGURE)
        assert "smpl is /etc/passwd, which lies in none of" in node.output


def test_with_autostart_a_failure_ends_the_process(tmp_path):
    with NodeProcess(tmp_path / "log", model="missing", autostart=True) as node:
        assert node.process.wait(PATIENCE) == 1
        assert "missing.bin was looked for" in node.output


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_two_signals_end_the_process_cleanly(tmp_path, client, how):
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        client.connect()
        client.send(1, hundredths=20)
        node.process.send_signal(how)
        client.until(lambda: False, 0.05)
        node.process.send_signal(how)
        assert node.process.wait(PATIENCE) == 0
        assert "Traceback" not in node.output


def life_cycle(node):
    for transition in ("configure", "activate", "deactivate", "cleanup"):
        result = getattr(node, f"trigger_{transition}")()
        assert result == TransitionCallbackReturn.SUCCESS, transition


def memory():
    """Megabytes that this process holds, without what its heap keeps for later use."""
    in_use = heap_in_use()
    if in_use is None:
        pytest.skip("the C library does not tell how much of the heap is in use")
    return in_use


def test_fifty_life_cycles_leak_nothing():
    """Memory, threads, topics and services of the process, without the networks."""
    node = HumanNode(fake_pipeline.build)

    def resources():
        publishers, subscriptions = len(list(node.publishers)), len(list(node.subscriptions))
        services, timers = len(list(node.services)), len(list(node.timers))
        gc.collect()
        remembered = sum(type(thing) is LifecyclePublisher for thing in gc.get_objects())
        return publishers, subscriptions, services, timers, threading.active_count(), remembered

    for _ in range(10):  # what is allocated once is not growth
        life_cycle(node)
    before, had = memory(), resources()
    for _ in range(50):
        life_cycle(node)
    assert resources() == had
    assert memory() - before < 8.0  # MB
    node.destroy_node()


@pytest.mark.slow
def test_life_cycles_with_the_real_networks_leak_none_of_them():
    """docs/operating.md has the numbers of fifty."""
    node = HumanNode()
    for _ in range(3):
        life_cycle(node)
    before = memory()
    for _ in range(8):
        life_cycle(node)
    assert memory() - before < 40.0  # MB; the networks of one life are over 100
    node.destroy_node()


def test_an_inactive_node_has_no_image_subscription_and_no_worker():
    node = HumanNode(fake_pipeline.build)

    def works():
        return "inference" in {thread.name for thread in threading.enumerate()}

    def hears():
        return "/image" in {subscription.topic_name for subscription in node.subscriptions}

    node.trigger_configure()
    assert (works(), hears()) == (False, False)
    for _ in range(2):
        node.trigger_activate()
        assert (works(), hears()) == (True, True)
        node.trigger_deactivate()
        assert (works(), hears()) == (False, False)
    node.destroy_node()
