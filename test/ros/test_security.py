"""The SROS 2 policy allows exactly the topics and services that the running node opens."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from rclpy.node import NodeNameNonExistentError

from helpers.paths import ROOT
from helpers.ros_client import Client, NodeProcess

pytestmark = pytest.mark.ros

POLICY = ROOT / "config/sros2_policy.xml"


def allowed(enclave, kind, action):
    """The full names that an enclave of the policy allows."""
    (profile,) = ElementTree.parse(POLICY).findall(f".//enclave[@path='{enclave}']//profile")
    return {
        item.text.replace("~", profile.get("ns") + profile.get("node"))
        for group in profile.findall(f"{kind}s[@{action}='ALLOW']")
        for item in group
    }


KINDS = [("topic", "publish"), ("topic", "subscribe"), ("service", "reply"), ("service", "request")]


@pytest.fixture(scope="module")
def opened(ros, tmp_path_factory):
    """The names of the topics and services that the active node has opened, by action."""
    log = tmp_path_factory.mktemp("security") / "log"
    with NodeProcess(log, autostart=True):
        client = Client()
        graph = client.node
        names_of = {
            "publish": graph.get_publisher_names_and_types_by_node,
            "subscribe": graph.get_subscriber_names_and_types_by_node,
            "reply": graph.get_service_names_and_types_by_node,
            "request": graph.get_client_names_and_types_by_node,
        }

        def found() -> dict[str, set[str]]:
            # the tests' camera publishes under another name than the launch file's default
            return {
                action: {name.replace("/camera/image", "/camera/image_raw") for name, _ in names}
                for action, names in ((a, f("stdformer", "/")) for a, f in names_of.items())
            }

        def complete() -> bool:
            # a node of the same name that has died before is not forgotten at once
            try:
                now = found()
            except NodeNameNonExistentError:
                return False
            return all(allowed("/stdformer/node", kind, a) <= now[a] for kind, a in KINDS)

        client.until(complete)
        client.until(lambda: False, 1.0)  # for names that the policy does not allow
        answer = found()
        client.close()
    return answer


@pytest.mark.parametrize(("kind", "action"), KINDS)
def test_the_policy_allows_exactly_what_the_node_opens(opened, kind, action):
    assert opened[action] == allowed("/stdformer/node", kind, action)


def test_a_subscriber_can_neither_control_the_node_nor_publish_in_its_name():
    assert "/stdformer/humans" in allowed("/stdformer/controller", "topic", "subscribe")
    assert not allowed("/stdformer/controller", "service", "request")
    spoken = allowed("/stdformer/controller", "topic", "publish")
    assert not spoken & allowed("/stdformer/node", "topic", "publish") - {
        "/parameter_events",
        "/rosout",
    }


def test_sros2_makes_permissions_from_the_policy(tmp_path):
    pytest.importorskip("sros2", reason="needs ROS 2's sros2, which no Python registry carries")
    pytest.importorskip("cryptography", reason="needs what sros2 signs with")
    enclave = "/stdformer/node"

    def security(*command):
        ros2 = "import sys; from ros2cli.cli import main; sys.exit(main())"
        result = subprocess.run(
            [sys.executable, "-c", ros2, "security", *command],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr

    security("create_keystore", str(tmp_path))
    security("create_enclave", str(tmp_path), enclave)
    security("create_permission", str(tmp_path), enclave, str(POLICY))
    folder = tmp_path / f"enclaves{enclave}"
    rules = ElementTree.parse(folder / "permissions.xml")
    assert rules.findtext(".//grant/default") == "DENY"
    published = {topic.text for topic in rules.findall(".//allow_rule/publish//topic")}
    heard = {topic.text for topic in rules.findall(".//allow_rule/subscribe//topic")}
    assert {"rt/stdformer/humans", "rt/diagnostics", "rr/stdformer/get_stateReply"} <= published
    assert {"rt/camera/image_raw", "rq/stdformer/get_stateRequest"} <= heard
    assert "rt/stdformer/humans" not in heard
    assert (folder / "permissions.p7s").stat().st_size > 1000
