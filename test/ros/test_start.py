"""Wrong, unknown and converted parameters and arguments, as a user gives them at start."""

import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from lifecycle_msgs.msg import Transition

from helpers.paths import FAKE_NODE
from helpers.ros_client import PATIENCE, NodeProcess

pytestmark = pytest.mark.ros

WRONG = {
    "detect_every": (0, "detect_every must be between 1 and 300, not 0"),
    "device": (0, "device must be text (in quotes, if YAML takes it for something else), not 0"),
    "cameras": ("front", "cameras must be a list of names, as in [front, rear]"),
    "landmarks": ("off", "landmarks must be text"),
    "depth": ("1", "depth must be true or false, not 1"),
    "markers": ("[]", "markers must be a list of names"),
    "target_fps": ("fast", "target_fps must be a number, not 'fast'"),
    "mesh_level": (5, "mesh_level must be one of 431, 1723, 6890, not 5"),
    "min_fps": (-1, "min_fps must be between 0.0 and 1000.0, not -1"),
    "max_people": (2.5, "max_people must be a whole number, not 2.5"),
}


def run(*arguments):
    """The node's exit code and what it prints; it must end by itself."""
    command = [sys.executable, str(FAKE_NODE), "--ros-args", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return ended.returncode, ended.stdout + ended.stderr


def test_all_wrong_parameters_are_named_in_one_line():
    options = [o for name, (value, _) in WRONG.items() for o in ("-p", f"{name}:={value}")]
    code, printed = run(*options)
    assert code == 1
    assert "Traceback" not in printed
    (line,) = printed.splitlines()
    for _, said in WRONG.values():
        assert said in line


@pytest.mark.parametrize("name", ["detect_every", "cameras"])
def test_a_single_wrong_parameter_is_one_line(name):
    value, said = WRONG[name]
    code, printed = run("-p", f"{name}:={value}")
    assert code == 1
    (line,) = printed.splitlines()
    assert line.startswith(f"cannot start: {said}")


def test_a_wrong_parameter_in_a_yaml_file_is_one_line(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text("/**:\n  ros__parameters:\n    cameras: [1, 2]\n    tf: on\n")
    code, printed = run("--params-file", str(file))
    assert code == 1
    (line,) = printed.splitlines()
    assert "cameras must be a list of names" in line
    assert "tf must be text (in quotes, if YAML takes it for something else), not True" in line


@pytest.mark.parametrize(
    "arguments",
    [("--params-file", "/nowhere.yaml"), ("-p", "detect_every"), ("-r", "__node:=a-b")],
)
def test_arguments_that_ros_cannot_read_give_no_traceback(arguments):
    code, printed = run(*arguments)
    assert code == 1
    assert "Traceback" not in printed
    assert printed.splitlines()[-1].startswith("cannot start: ")
    assert arguments[1] in printed.splitlines()[-1]


def test_whole_numbers_are_numbers_at_start_and_later(tmp_path, client):
    file = tmp_path / "parameters.yaml"
    file.write_text("stdformer:\n  ros__parameters:\n    latency_warn: 3\n")
    script = tmp_path / "node.py"
    script.write_text(
        f"import runpy, sys\nsys.argv += ['--params-file', {str(file)!r}]\n"
        f"runpy.run_path({str(FAKE_NODE)!r}, run_name='__main__')\n"
    )
    with NodeProcess(tmp_path / "log", script, target_fps=15) as node:
        assert client.transition(Transition.TRANSITION_CONFIGURE), node.output
        assert client.set_parameter("latency_warn", 4) == ""
        assert client.set_parameter("target_fps", 20) == ""
        assert client.set_parameter("min_score", 2) != ""
        assert client.set_parameter("detect_every", 2.5) != ""
        assert client.state() == "inactive"


def test_a_parameter_that_does_not_exist_is_named_with_the_nearest_one(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    landmark: lite\n    use_sim_time: false\n"
        "stdformer:\n  ros__parameters:\n    robot.wheels: 4\n"
        "    qos_overrides:\n      /stdformer/humans:\n        publisher:\n          depth: 3\n"
        "other_node:\n  ros__parameters:\n    not_ours: 1\n"
    )
    options = ("-p", "traget_fps:=15.0", "-p", "model:=missing", "-p", "autostart:=true")
    code, printed = run("--params-file", str(file), *options)
    assert code == 1
    (warning,) = [line for line in printed.splitlines() if "[WARN]" in line]
    assert warning.endswith(
        "parameters that stdformer does not have are ignored: landmark (did you mean landmarks?), "
        "robot.wheels, traget_fps (did you mean target_fps?); `ros2 param list` shows those that "
        "it has"
    )
