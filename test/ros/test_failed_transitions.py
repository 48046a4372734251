"""Transitions that fail: the cause is in the log, and nothing of them is left."""

import gc
import threading
from copy import copy
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import LifecyclePublisher, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import String

from helpers import fake_pipeline
from helpers.ros_client import NodeProcess
from stdformer_ros.config import NodeSettings
from stdformer_ros.ros import node as node_module
from stdformer_ros.ros.node import HumanNode
from stdformer_ros.ros.outputs.publishers import Outputs

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros")]

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ALLOWED_GROWTH = 8.0  # MB


def resources(node):
    """What a node holds: numbers of its publishers, subscriptions, services, timers, threads."""
    gc.collect()
    return {
        "publishers": len(list(node.publishers)),
        "subscriptions": len(list(node.subscriptions)),
        "services": len(list(node.services)),
        "clients": len(list(node.clients)),
        "timers": len(list(node.timers)),
        "threads": threading.active_count(),
        "lifecycle publishers": sum(type(t) is LifecyclePublisher for t in gc.get_objects()),
    }


@pytest.fixture
def node():
    node = HumanNode(fake_pipeline.build)
    yield node
    node.destroy_node()


@pytest.fixture
def logged(node, monkeypatch):
    """The errors that the node logs."""
    errors = []
    logger = node.get_logger()

    class Logger:
        def error(self, text):
            errors.append(text)

        def __getattr__(self, name):
            return getattr(logger, name)

    monkeypatch.setattr(node, "get_logger", Logger)
    return errors


def works(node):
    """Whether it configures, activates, and comes back."""
    transitions = ("configure", "activate", "deactivate", "cleanup")
    return [getattr(node, f"trigger_{name}")() for name in transitions] == 4 * [SUCCESS]


class AfterMany:
    """Outputs whose second camera cannot be made, after the publishers of the first."""

    def __init__(self, error):
        self._error = error

    def __call__(self, node, camera, *arguments):
        outputs = Outputs(node, camera, *arguments)
        if camera == "rear":
            raise copy(self._error)  # its traceback would keep what it passed through
        return outputs


def two_cameras(node, **others):
    parameters = {"cameras": ["front", "rear"], **others}
    for result in node.set_parameters([Parameter(n, value=v) for n, v in parameters.items()]):
        assert result.successful, result.reason


def test_a_failed_configure_leaves_no_publisher(node, logged):
    two_cameras(node, rep155=True)
    before = resources(node)
    for _ in range(3):
        assert node.trigger_configure() == FAILURE
        assert resources(node) == before
    assert len(logged) == 3
    assert all(text.startswith("cannot configure: ") and "rep155" in text for text in logged)
    assert all(len(text.splitlines()) == 1 for text in logged)
    assert node.set_parameters([Parameter("rep155", value=False)])[0].successful
    assert works(node)
    assert resources(node) == before


def test_subscriptions_of_a_failed_configure_are_gone_too(node, logged, monkeypatch):
    def open_transforms(node):
        node.create_subscription(String, "/tf", print, 10)
        raise ValueError("no transforms")

    monkeypatch.setattr(node_module, "open_transforms", open_transforms)
    assert node.set_parameters([Parameter("target_frame", value="map")])[0].successful
    before = resources(node)
    assert node.trigger_configure() == FAILURE
    assert resources(node) == before
    assert logged == ["cannot configure: no transforms"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("what to do"), "cannot configure: what to do"),
        (FileNotFoundError(2, "No such file", "net.bin"), "cannot configure: [Errno 2] No such"),
        (KeyError("faces"), "cannot configure: KeyError: 'faces'"),
        (ValueError(), "cannot configure: ValueError"),
        (MemoryError(), "cannot configure: MemoryError"),
        (
            RuntimeError("CUDA error:\n  no kernel"),
            "cannot configure: RuntimeError: CUDA error: no",
        ),
    ],
)
def test_the_cause_is_the_first_line_of_an_error(node, logged, monkeypatch, error, line):
    monkeypatch.setattr(node_module, "Outputs", AfterMany(error))
    two_cameras(node)
    before = resources(node)
    assert node.trigger_configure() == FAILURE
    assert resources(node) == before
    (text,) = logged
    first, *trace = text.splitlines()
    assert first.startswith(line)
    foreseen = isinstance(error, ValueError | OSError) and bool(str(error))
    assert bool(trace) != foreseen
    if trace:
        assert trace[0] == "Traceback (most recent call last):"
        assert any("raise copy(self._error)" in step for step in trace)


@pytest.mark.parametrize("broken", ["resume", "use_filter", "reset"])
def test_a_failed_activation_leaves_nothing_and_the_next_one_works(node, logged, broken):
    def fail(*_):
        raise KeyError(broken)

    assert node.trigger_configure() == SUCCESS
    before = resources(node)
    setattr(node._pipelines, broken, fail)
    for _ in range(2):
        assert node.trigger_activate() == FAILURE
        assert resources(node) == before
    assert [text.splitlines()[0] for text in logged] == 2 * [
        f"cannot activate: KeyError: '{broken}'"
    ]
    delattr(node._pipelines, broken)
    assert node.trigger_activate() == SUCCESS
    assert node.trigger_deactivate() == SUCCESS
    assert resources(node) == before


def test_an_error_while_a_session_ends_is_logged_and_all_of_it_is_closed(node, logged, monkeypatch):
    assert node.trigger_configure() == SUCCESS
    before = resources(node)
    assert node.trigger_activate() == SUCCESS

    def fail():
        raise KeyError("markers")

    monkeypatch.setattr(node._outputs[""], "clear", fail)
    assert node.trigger_deactivate() == SUCCESS
    assert resources(node) == before
    assert [text.splitlines()[0] for text in logged] == ["deactivation failed: KeyError: 'markers'"]


class Prepared(fake_pipeline.FakeMultiCameraPipeline):
    """Remembers for which landmark models the networks were loaded."""

    def __init__(self):
        super().__init__()
        self.loaded = set()
        self.missing = set()

    def prepare_quality(self, quality):
        if quality.landmarks in self.missing:
            raise FileNotFoundError(f"{quality.landmarks} is missing")
        self.loaded.add(quality.landmarks)


@pytest.mark.parametrize(
    ("parameters", "loaded"),
    [
        ({}, {"full"}),
        ({"target_fps": 15.0}, {"full", "lite"}),
        ({"target_fps": 15.0, "landmarks": "lite"}, {"lite"}),
    ],
)
def test_networks_that_a_lower_quality_needs_are_loaded_on_configure(parameters, loaded):
    pipelines = Prepared()
    node = HumanNode(lambda _: pipelines)
    node.set_parameters([Parameter(name, value=value) for name, value in parameters.items()])
    assert node.trigger_configure() == SUCCESS
    assert pipelines.loaded == loaded
    node.destroy_node()


def test_a_parameter_whose_network_cannot_be_loaded_is_refused_with_the_reason():
    pipelines = Prepared()
    node = HumanNode(lambda _: pipelines)
    assert node.trigger_configure() == SUCCESS
    pipelines.missing = {"lite"}
    for change in (Parameter("landmarks", value="lite"), Parameter("target_fps", value=15.0)):
        (result,) = node.set_parameters([change])
        assert (result.successful, result.reason) == (False, "lite is missing")
    assert node._settings == NodeSettings()
    pipelines.missing = set()
    assert node.set_parameters([Parameter("landmarks", value="lite")])[0].successful
    assert pipelines.loaded == {"full", "lite"}
    node.destroy_node()


@pytest.mark.slow
def test_fifty_life_cycles_after_failed_configures_over_real_processes(tmp_path, client):
    """docs/operating.md has the numbers."""
    cycles, warm = 50, 10
    with NodeProcess(tmp_path / "log") as node:
        services = {
            name: client.node.create_client(kind, f"/stdformer/{name}")
            for name, kind in (("change_state", ChangeState), ("set_parameters", SetParameters))
        }
        assert client.until(lambda: all(s.service_is_ready() for s in services.values()))
        client.until(lambda: False, 0.3)

        def call(name, request):
            future = services[name].call_async(request)
            assert client.until(future.done)
            return future.result()

        def transition(number):
            request = ChangeState.Request()
            request.transition.id = number
            return call("change_state", request).success

        def set_parameters(**values):
            parameters = [Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
            results = call("set_parameters", SetParameters.Request(parameters=parameters)).results
            assert all(result.successful for result in results)

        def publishers():
            topics = client.node.get_topic_names_and_types()
            every = [i for n, _ in topics for i in client.node.get_publishers_info_by_topic(n)]
            return sum(info.node_name == "stdformer" for info in every)

        def held():
            process = Path("/proc") / str(node.process.pid)
            status = dict(
                line.split(":", 1) for line in (process / "status").read_text().splitlines()
            )
            count = {"threads": int(status["Threads"]), "files": len(list(process.glob("fd/*")))}
            return count, int(status["VmRSS"].split()[0]) / 1024

        def cycle():
            set_parameters(cameras=["front", "rear"], rep155=True)
            assert not transition(Transition.TRANSITION_CONFIGURE)
            set_parameters(cameras=[""], rep155=False)
            for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
                assert transition(number)
            client.connect()
            assert len(client.answer(2).humans) == 2
            for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
                assert transition(number)

        client.until(lambda: False, 0.5)
        own = publishers()
        for _ in range(warm):
            cycle()
        before, memory = held()
        for _ in range(cycles):
            cycle()
        after, later = held()
        client.until(lambda: publishers() == own, 5.0)
        print(
            f"{cycles} cycles: {own} -> {publishers()} publishers, {before} -> {after}, "
            f"{memory:.1f} -> {later:.1f} MB"
        )
        assert publishers() == own
        assert after == before
        assert later - memory < ALLOWED_GROWTH
        assert node.process.poll() is None
