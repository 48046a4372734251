"""`ros2 launch stdformer_ros` as a user types it, both launch files, and other `ros2` commands."""

import os
import re
import shutil
import signal
import subprocess

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")
pytest.importorskip("launch_ros", reason="needs ROS 2's launch_ros, which no registry carries")
pytest.importorskip("ros2launch", reason="needs ROS 2's ros2launch")
if shutil.which("ros2") is None:
    pytest.skip("needs the ros2 command", allow_module_level=True)


from helpers.ros_client import Client

pytestmark = [pytest.mark.ros, pytest.mark.slow]

LOADING = 120.0
"""Seconds that the real networks may take to load, on a machine that is busy."""


class Launched:
    """`ros2 launch` in a process group of its own; what it prints is kept."""

    def __init__(self, log, *arguments):
        self._log = log
        self._file = log.open("wb")
        self.process = subprocess.Popen(
            ["ros2", "launch", "stdformer_ros", *arguments],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def output(self):
        return self._log.read_text()

    def pids(self):
        """Of the nodes that it has started so far, in order."""
        found = re.findall(r"\[node-\d+\]: process started with pid \[(\d+)\]", self.output)
        return [int(pid) for pid in found]

    def end(self):
        """Ctrl-C; returns the exit status."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self._file.close()
        return self.process.wait()


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    log = tmp_path_factory.mktemp("launch") / "log"
    topics = ["image:=/camera/image", "camera_info:=/camera/camera_info"]
    launched = Launched(log, "camera.launch.py", *topics, "respawn:=true")
    yield launched
    launched.end()


def active(client, launched, topic="/camera/image"):
    """Wait for the node to be active and to hear us."""
    assert client.until(lambda: client.node.count_subscribers(topic), LOADING), launched.output
    client.connect()


def ros2(*command):
    """What `ros2 COMMAND` prints; the daemon would outlive the test."""
    hidden = ["--no-daemon", "--spin-time", "5"] if command[0] in ("param", "lifecycle") else []
    result = subprocess.run(
        ["ros2", *command[:2], *hidden, *command[2:]], capture_output=True, text=True, timeout=90
    )
    return result.stdout + result.stderr


def test_the_launched_node_answers_images(launched, client):
    active(client, launched)
    answer = client.answer(0)
    assert answer.estimator == "stdformer_s_keypoints"
    assert answer.header.frame_id == "optical"
    assert answer.humans == []  # a grey image
    assert "respawn" not in launched.output


def test_the_commands_lifecycle_and_param_work(launched, client):
    active(client, launched)
    assert "active [3]" in ros2("lifecycle", "get", "/stdformer")
    assert "stdformer_s_keypoints" in ros2("param", "get", "/stdformer", "model")
    refused = ros2("param", "set", "/stdformer", "max_people", "1000")
    assert "Setting parameter failed" in refused


def test_the_commands_echo_and_hz_work(launched, client, tmp_path):
    active(client, launched)
    for options, expected in (
        (["echo", "--field", "header"], "frame_id: optical"),
        (["hz"], "average rate:"),
    ):
        log = tmp_path / options[0]
        with log.open("wb") as file:
            command = subprocess.Popen(
                ["ros2", "topic", *options, "/stdformer/humans"],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
            client.send_until(lambda: expected in log.read_text(), 0)  # noqa: B023
            command.send_signal(signal.SIGINT)
            command.wait(30)


def test_a_killed_node_is_started_again_and_answers_the_same_client(launched, client):
    active(client, launched)
    (killed,) = launched.pids()
    os.kill(killed, signal.SIGKILL)
    assert client.until(lambda: len(launched.pids()) == 2, LOADING), launched.output
    assert "process has died" in launched.output
    answers = len(client.humans)
    for _ in range(int(LOADING / 0.3)):
        client.send(0)
        if client.until(lambda: len(client.humans) > answers, 0.3):
            break
    assert len(client.humans) > answers, launched.output


def test_ctrl_c_ends_all_processes(launched):
    assert launched.end() == 0
    for pid in launched.pids():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in launched.output


def test_several_cameras_are_launched_as_one_node(ros, tmp_path):
    topics = [f"{topic}:=/{{}}/{topic}" for topic in ("image", "camera_info")]
    arguments = ["multi_camera.launch.py", "cameras:=[left, right]", *topics, "device:=cpu"]
    launched = Launched(tmp_path / "log", *arguments)
    cameras = [Client(camera=name) for name in ("left", "right")]
    for camera, name in zip(cameras, ("left", "right"), strict=True):
        active(camera, launched, f"/{name}/image")
        assert camera.answer(0).estimator == "stdformer_s_keypoints"
    assert "['left', 'right']" in ros2("param", "get", "/stdformer", "cameras")
    assert "active [3]" in ros2("lifecycle", "get", "/stdformer")
    assert len(launched.pids()) == 1
    for camera in cameras:
        camera.close()
    assert launched.end() == 0
    assert "Traceback" not in launched.output
