"""`target_fps` over real topics: quality falls under load, is reported, and rises again."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from helpers.ros_client import LATCHED, NodeProcess
from stdformer_ros.config import NodeSettings
from stdformer_ros.msg import BodyModel
from stdformer_ros.ros.adaptive_quality import AdaptiveQuality

pytestmark = pytest.mark.ros

TOPIC = "/stdformer/body_model"


def test_quality_falls_under_load_is_reported_and_rises_again(tmp_path, client):
    """The fake pipeline's meshes have levels 8 and 4, and at 4 half the faces."""
    options = {"target_fps": 8.0, "landmarks": "lite", "detect_every": 40}
    with NodeProcess(tmp_path / "log", autostart=True, **options) as node:
        client.listen_to_all()
        client.listen(BodyModel, TOPIC, LATCHED)
        client.connect()
        told = client.heard["/diagnostics"]

        def values():
            return {v.key: v.value for v in told[-1].status[0].values} if told else {}

        def step():
            return values().get("quality step")

        client.send_until(lambda: step() == "0 of 2")
        assert values()["target frames per second"] == "8"
        assert values()["quality"] == "lite landmarks, search every 40, 6890"

        client.send_until(lambda: step() == "2 of 2", hundredths=20)
        assert values()["quality"] == "lite landmarks, search every 40, 4"
        status = told[-1].status[0]
        assert status.level == b"\x01"
        assert status.message.startswith("quality lowered to reach 8 frames/s: lite landmarks")
        assert client.until(lambda: client.heard[TOPIC])
        assert len(client.heard[TOPIC][-1].triangles) == 3 * 6, "the new faces were not published"

        client.send_until(lambda: step() == "1 of 2")
        assert client.until(lambda: len(client.heard[TOPIC][-1].triangles) == 3 * 12)
        assert "quality is now lite landmarks, search every 40, 8" in node.output


class Told:
    """Pipelines that remember what they were told, and a logger."""

    def __init__(self, people=None):
        self.estimator = self
        self.mesh_levels = (6890, 1723, 431)
        self.people_at_once = people
        self.qualities = []
        self.use_quality = self.qualities.append

    def info(self, text):
        self.text = text


def test_without_a_target_nothing_is_measured_or_changed():
    told = Told()
    quality = AdaptiveQuality(told, NodeSettings(), told)
    assert not any(quality.frame(100.0) for _ in range(100))
    assert told.qualities == []
    assert quality.settings() == {
        "target frames per second": "0",
        "people at once on the device": "all",
    }
    assert quality.restrictions() == []


def test_a_device_that_ran_out_of_memory_is_reported():
    told = Told(people=4)
    quality = AdaptiveQuality(told, NodeSettings(), told)
    assert quality.settings()["people at once on the device"] == "4"
    assert quality.restrictions() == ["the device ran out of memory: it takes 4 people at a time"]


def test_a_new_activation_begins_with_the_configured_quality():
    told, clock = Told(), iter(range(10**6))
    parameters = NodeSettings(target_fps=30.0)
    first = AdaptiveQuality(told, parameters, told, lambda: float(next(clock)))
    changed = [first.frame(1.0) for _ in range(100)]
    assert changed.count(True) == 2  # 6890 -> 1723 -> 431
    assert (told.qualities[-1].landmarks, told.qualities[-1].mesh_level) == ("lite", 431)
    AdaptiveQuality(told, parameters, told)
    assert told.qualities[-1] == told.qualities[0]
