"""kill -9 of node, camera or subscriber: the other processes notice it and go on."""

import signal
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from helpers.fake_pipeline import FILL
from helpers.ros_client import LATCHED, PATIENCE, NodeProcess
from stdformer_ros.bench.soak import sample
from stdformer_ros.msg import BodyModel

pytestmark = pytest.mark.ros

LISTENER = """
import rclpy
from stdformer_ros.msg import HumanArray
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray
rclpy.init()
node = rclpy.create_node("victim")
for kind, topic in ((HumanArray, "humans"), (MarkerArray, "markers"), (Image, "overlay")):
    node.create_subscription(kind, "/stdformer/" + topic, lambda m: print("heard", flush=True), 10)
rclpy.spin(node)
"""
"""Reliable subscriptions, for which the node keeps messages that were not acknowledged."""


def kill(process):
    """kill -9: the process cannot clean up."""
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL


def test_subscribers_find_a_node_that_was_killed_and_started_again(tmp_path, client):
    client.listen(BodyModel, "/stdformer/body_model", LATCHED)
    for round_ in range(3):
        client.humans.clear()
        client.heard["/stdformer/body_model"].clear()
        with NodeProcess(tmp_path / f"log{round_}", autostart=True) as node:
            assert client.until(lambda: client.heard["/stdformer/body_model"]), node.output
            answer = client.answer(2)
            assert [human.track_id for human in answer.humans] == [1, 2]
            client.send(1, hundredths=20)  # it is killed while it processes this frame
            kill(node.process)


@pytest.fixture
def pictures(tmp_path):
    """A video of two people, as the fake pipeline sees it."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = np.full((48, 64, 3), 90, np.uint8)
    picture[0, 0] = 0, 0, 2  # BGR: two people, no failure, no time
    for i in range(30):
        cv2.imwrite(str(folder / f"{i:03}.png"), picture)
    return folder


class Camera:
    """The player, which is a camera process of its own."""

    def __init__(self, folder):
        topics = ["-r", "image:=/camera/image", "-r", "camera_info:=/camera/camera_info"]
        command = [sys.executable, "-m", "stdformer_ros.demo.player", str(folder), "--loop"]
        self.process = subprocess.Popen(
            [*command, "--ros-args", *topics], stdout=subprocess.DEVNULL
        )


def test_a_killed_camera_is_reported_and_a_new_one_is_used(tmp_path, client, pictures):
    with NodeProcess(tmp_path / "log", autostart=True, image_timeout=0.5) as node:
        for _ in range(2):
            camera = Camera(pictures)
            try:
                assert client.until(lambda: len(client.humans) > 5), node.output
                assert len(client.humans[-1].humans) == 2
            finally:
                kill(camera.process)
            silences = node.output.count("/camera/image: no image for")
            assert client.until(
                lambda: node.output.count("/camera/image: no image for") > silences,  # noqa: B023
            ), "the silence was not noticed"
            client.until(lambda: False, 0.3)  # what was still on its way
            client.humans.clear()
        assert node.process.poll() is None
        assert "Traceback" not in node.output


def test_killed_subscribers_delay_nobody_else(tmp_path, client):
    client.listen(MarkerArray, "/stdformer/markers")
    client.listen(Image, "/stdformer/overlay", 1)
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        assert client.until(lambda: client.node.count_subscribers("/camera/image"))
        client.connect()
        for _ in range(3):
            victim = subprocess.Popen(
                [sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True
            )
            heard = []
            reader = threading.Thread(target=lambda: heard.append(victim.stdout.readline()))  # noqa: B023
            reader.start()
            for _ in range(round(PATIENCE / 0.2)):
                client.send(1)
                client.until(lambda: heard, 0.2)  # noqa: B023
                if heard:
                    break
            assert heard == ["heard\n"]
            kill(victim)
            reader.join()
            # More than any queue of the node holds; each is answered without that subscriber.
            for people in (0, 1, 2, 3) * 15:
                answer = client.answer(people)
                assert len(answer.humans) == people
            client.humans.clear()
        assert node.process.poll() is None
        assert "Traceback" not in node.output


def test_a_camera_that_keeps_changing_its_resolution_is_answered_after_each_change(
    tmp_path, client
):
    """Each change costs one image, and nothing is left behind."""
    client.listen(MarkerArray, "/stdformer/markers")
    with NodeProcess(tmp_path / "log", autostart=True) as node:
        client.connect()
        used = []
        for change in range(60):
            width, height = ((64, 48), (128, 96), (48, 64))[change % 3]
            pixels = np.full((height, width, 3), FILL, np.uint8)
            pixels[0, 0] = change % 4, 0, 0
            fields = {"width": width, "height": height, "step": 3 * width}
            answer = client.answer(**fields, data=pixels.tobytes())
            assert len(answer.humans) == change % 4
            if change % 20 == 19:
                used.append(resources(node))
        print(f"threads and MB after 20, 40, 60 changes of resolution: {used}")
        threads, megabytes = zip(*used, strict=True)
        assert len(set(threads)) == 1
        assert megabytes[-1] - megabytes[0] < 20.0
        assert "the image changed its size from" in node.output
        assert "Traceback" not in node.output


def resources(node):
    """Threads and resident megabytes of the node's process."""
    now = sample(node.process.pid, 0.0, 0)
    return now.threads, now.megabytes
