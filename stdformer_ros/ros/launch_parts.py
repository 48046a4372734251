"""What the launch files share: the node, its arguments, and environment variables for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode

SHARE = Path(get_package_share_directory("stdformer_ros"))

RESPAWN_SECONDS = 2.0
"""Pause before a restart, so that a node that cannot start does not fill the log."""

NODE_ARGUMENTS = {
    "params_file": (str(SHARE / "config/default.yaml"), "File with the node's parameters (YAML)."),
    "device": (
        "",
        "The device that the estimator runs on: cpu, cuda, cuda:1 ...; empty: as params_file says.",
    ),
    "namespace": ("", "The namespace of the node and its topics."),
    "use_sim_time": ("", "true: take the time from /clock; empty: as params_file says."),
    "autostart": (
        "",
        "true: configure and activate the node; false: a lifecycle manager does it; empty: as "
        "params_file says, or else true.",
    ),
    "respawn": ("false", "Start the node again when its process has died."),
}
"""Default and description of the launch arguments that `human_node` reads. Those that are also
parameters of the node have no default, so that only an argument that is given overrides the file
with parameters."""

PARAMETERS = ("device", "use_sim_time", "autostart")
"""The launch arguments that are also parameters of the node."""


def declarations(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Declare launch arguments, given default and description by name."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


def given(context: LaunchContext, names: Sequence[str]) -> dict[str, LaunchConfiguration]:
    """The launch arguments among these that have a value, as parameters of a node."""
    values = {name: LaunchConfiguration(name) for name in names}
    return {name: value for name, value in values.items() if value.perform(context)}


def human_node(
    context: LaunchContext,
    remappings: Sequence[tuple[Any, Any]],
    parameters: Mapping[str, Any] | None = None,
) -> LifecycleNode:
    """The node, set up by the launch arguments NODE_ARGUMENTS and by further parameters."""
    return LifecycleNode(
        package="stdformer_ros",
        executable="node",
        name="stdformer",
        namespace=LaunchConfiguration("namespace"),
        # Before the file on the command line of the node, so that the file overrides it.
        ros_arguments=["-p", "autostart:=true"],
        parameters=[
            LaunchConfiguration("params_file"),
            {**given(context, PARAMETERS), **(parameters or {})},
        ],
        remappings=list(remappings),
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=RESPAWN_SECONDS,
        output="screen",
    )


def cameras_in(params_file: Path) -> Any:
    """The parameter `cameras` of a file with parameters, unchecked; None if it names none.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not YAML.
    """
    try:
        sections = yaml.safe_load(params_file.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{params_file} is not YAML: {error}") from error
    for section in sections.values() if isinstance(sections, dict) else ():
        parameters = section.get("ros__parameters") if isinstance(section, dict) else None
        names = parameters.get("cameras") if isinstance(parameters, dict) else None
        if names and names != [""]:
            return names
    return None


def transport() -> list[SetEnvironmentVariable]:
    """Environment variables for images through shared memory; what the user has set is kept."""
    defaults = {
        "FASTDDS_DEFAULT_PROFILES_FILE": str(SHARE / "config/fastdds_shm.xml"),
        # glibc keeps the memory of large arrays for the next image instead of giving it back.
        "MALLOC_MMAP_THRESHOLD_": "268435456",
        "MALLOC_TRIM_THRESHOLD_": "1073741824",
        "MALLOC_TOP_PAD_": "67108864",
    }
    return [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=default))
        for name, default in defaults.items()
    ]
