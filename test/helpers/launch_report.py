"""What launch files start, without starting it: a real launch, whose processes only report.

`processes` launches a file in a process of its own and puts this module, as a program, before every
command that is started there. It writes down the arguments, and the parameters that a ROS node with
these arguments has, instead of running the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [argument.split(":=", 1) for argument in sys.argv[2:]]
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""
"""As `ros2 launch FILE ARGUMENTS`, which needs more packages."""


@dataclass(frozen=True)
class Process:
    """A process that a launch file starts.

    Attributes:
        name: of its executable.
        parameters: of its ROS node.
        remappings: of its ROS node, by the name that is replaced.
    """

    name: str
    parameters: dict[str, Any]
    remappings: dict[str, str]


def processes(file: Path, arguments: Mapping[str, str], folder: Path) -> dict[str, Process]:
    """What a launch file starts, by the executable's name; `folder` is empty and for this alone.

    Raises:
        RuntimeError: if the launch fails.
    """
    _add_rviz(folder)
    prefix = f"launch-prefix:={sys.executable} {__file__} {folder}"
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, file, prefix, *map(":=".join, arguments.items())],
        env=os.environ | {"AMENT_PREFIX_PATH": f"{folder}:{os.environ['AMENT_PREFIX_PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    reports = [Process(**json.loads(path.read_text())) for path in folder.glob("*.json")]
    if done.returncode or not reports:
        raise RuntimeError(done.stdout + done.stderr)
    return {process.name: process for process in reports}


def _add_rviz(folder: Path) -> None:
    """Let launch find an RViz, which need not be installed because it is not started."""
    program = folder / "lib/rviz2/rviz2"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    index = folder / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "rviz2").touch()


def _report(folder: Path, command: list[str]) -> None:
    import rclpy

    rclpy.init(args=command)
    node = rclpy.create_node("name", automatically_declare_parameters_from_overrides=True)
    name = Path(command[0]).name
    given = {key: value.value for key, value in node.get_parameters_by_prefix("").items()}
    rules = [word.split(":=") for word in command if ":=" in word and "__" not in word]
    report = {"name": name, "parameters": given, "remappings": dict(rules)}
    (folder / f"{name}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    _report(Path(sys.argv[1]), sys.argv[2:])
