"""An exception anywhere in the running node: it is reported, and the next image is answered."""

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from std_srvs.srv import SetBool, Trigger

from helpers.failing_node import STAGES
from helpers.paths import FAILING_NODE
from helpers.ros_client import NodeProcess

pytestmark = pytest.mark.ros
ALLOWED_GROWTH = 8.0  # MB


@pytest.fixture
def client(client):
    client.listen_to_all()
    return client


def failed(client):
    """How many images could not be answered, as the newest diagnostics say."""
    heard = client.heard["/diagnostics"]
    values = {v.key: v.value for v in heard[-1].status[0].values} if heard else {}
    return int(values.get("frames failed", 0))


def held(node):
    """The node's number of threads, and its resident memory in MB."""
    status = (Path("/proc") / str(node.process.pid) / "status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines())
    return int(values["Threads"]), int(values["VmRSS"].split()[0]) / 1024


def test_an_exception_in_any_stage_costs_only_that_image(tmp_path, client):
    """docs/operating.md has the numbers."""
    with NodeProcess(tmp_path / "log", FAILING_NODE, autostart=True) as node:
        client.connect()
        client.answer(2)
        threads, memory = held(node)
        for number, (stage, error) in enumerate(STAGES.items()):
            if error is None:
                continue
            before = failed(client)
            for _ in range(40):
                client.send(1, hundredths=number)
                client.until(lambda: False, 0.02)
            client.send_until(lambda: failed(client) > before, hundredths=number)  # noqa: B023
            assert f"frame failed with {error.__name__}(" in node.output, stage
            assert len(client.answer(2).humans) == 2, stage
        assert client.state() == "active"
        for stage in ("perception", "encode", "decode", "correction", "exit"):
            assert f"in {stage}" in node.output
        later = held(node)
        print(f"{failed(client)} images failed: {(threads, memory)} -> {later} threads, MB")
        assert later[0] == threads
        assert later[1] - memory < ALLOWED_GROWTH
        assert node.process.poll() is None


def test_a_quality_that_cannot_be_used_costs_no_image_and_is_reported(tmp_path, client):
    options = {"model": "lite_fails", "target_fps": 100, "detect_every": 40}
    with NodeProcess(tmp_path / "log", FAILING_NODE, autostart=True, **options) as node:
        client.connect()
        client.send_until(lambda: "adaptive quality failed" in node.output)
        assert "RuntimeError: cannot use lite landmarks" in node.output
        told = client.heard["/diagnostics"]
        reason = "the quality could not be changed: RuntimeError: cannot use lite landmarks"
        client.send_until(lambda: told and reason in told[-1].status[0].message)
        values = {v.key: v.value for v in told[-1].status[0].values}
        assert values["quality"].startswith("full landmarks")
        for people in (0, 1, 2, 3) * 5:
            assert len(client.answer(people).humans) == people
        assert failed(client) == 0


def test_even_what_answers_to_an_exception_may_fail(tmp_path, client):
    """Windows cannot be reset, people not be forgotten, diagnostics not be made."""
    client.heard.pop("/diagnostics")
    with NodeProcess(tmp_path / "log", FAILING_NODE, autostart=True, model="hostile") as node:
        client.connect()
        client.send_until(
            lambda: "frame failed with KeyError" in node.output,
            hundredths=list(STAGES).index("decode"),
        )
        assert client.until(lambda: "reset of camera '' failed: cannot reset" in node.output)
        assert client.until(lambda: "diagnostics failed: LookupError: cannot tell" in node.output)
        response = client.call(Trigger, "reset", Trigger.Request())
        assert (response.success, response.message) == (False, "RuntimeError: cannot forget")
        for wanted in (False, True):
            response = client.call(SetBool, "enable", SetBool.Request(data=wanted))
            assert not response.success
        assert len(client.answer(2).humans) == 2
        assert client.state() == "active"
        assert node.process.poll() is None
