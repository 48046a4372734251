"""RViz's configuration fits the node's topics; the program for Rerun in docs/viewers.md runs."""

import re
import subprocess
import sys

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from helpers.paths import ROOT
from helpers.ros_client import PATIENCE, Client, NodeProcess
from stdformer_ros.demo.player import FRAME_ID
from stdformer_ros.ros.outputs.markers import LABEL, MESH, SKELETON

pytestmark = pytest.mark.ros

RVIZ = yaml.safe_load((ROOT / "config/stdformer.rviz").read_text())["Visualization Manager"]
TYPES = {
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/PoseArray": "geometry_msgs/msg/PoseArray",
    "rviz_default_plugins/PointCloud2": "sensor_msgs/msg/PointCloud2",
}


def displays():
    return {item["Name"]: item for item in RVIZ["Displays"]}


@pytest.fixture(scope="module")
def running(ros, tmp_path_factory):
    log = tmp_path_factory.mktemp("viewers") / "log"
    with NodeProcess(log, autostart=True, publish_vertices=True) as node:
        client = Client()
        client.connect()
        yield node, client
        client.close()


def test_markers_and_overlay_are_shown_at_start():
    assert displays()["People"]["Enabled"] is True
    assert displays()["Overlay"]["Enabled"] is True


def test_each_namespace_of_the_markers_can_be_switched_in_rviz():
    assert displays()["People"]["Namespaces"] == {MESH: True, SKELETON: True, LABEL: True}


def test_the_fixed_frame_is_the_one_that_the_player_uses():
    assert RVIZ["Global Options"]["Fixed Frame"] == FRAME_ID


def test_every_display_shows_a_topic_of_the_node(running):
    _, client = running
    shown = [item for item in RVIZ["Displays"] if "Topic" in item]
    assert len(shown) == 4
    for item in shown:
        topic = item["Topic"]
        name = topic["Value"]
        assert client.until(lambda name=name: client.node.get_publishers_info_by_topic(name))
        (publisher,) = client.node.get_publishers_info_by_topic(name)
        assert publisher.topic_type == TYPES[item["Class"]]
        # RViz asks for no more than the node offers.
        assert publisher.qos_profile.reliability.name == topic["Reliability Policy"].upper()
        assert topic["Durability Policy"] == "Volatile"


def test_the_program_for_rerun_shows_the_people(running, tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk")
    _, client = running
    (program,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/viewers.md").read_text(), re.DOTALL
    )
    recording = tmp_path / "people.rrd"
    assert 'rr.init("stdformer_ros", spawn=True)' in program
    into_file = f'rr.init("stdformer_ros")\nrr.save("{recording}")'
    file = tmp_path / "to_rerun.py"
    file.write_text(program.replace('rr.init("stdformer_ros", spawn=True)', into_file))
    viewer = subprocess.Popen([sys.executable, str(file)], stderr=subprocess.PIPE, text=True)
    sent = 0
    assert client.until(lambda: client.node.count_subscribers("/stdformer/humans") > 1)
    while sent < PATIENCE / 0.1 and not (recording.exists() and recording.stat().st_size > 10_000):
        client.send(2)
        client.until(lambda: False, 0.1)
        sent += 1
        assert viewer.poll() is None, viewer.stderr.read()
    viewer.terminate()
    viewer.wait(PATIENCE)
    data = recording.read_bytes()
    for name in (b"people/1/mesh", b"people/2/skeleton", b"people/2/label"):
        assert name in data or b"/" + name in data
