"""What the launch files share: the node, its arguments, and environment variables for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode

SHARE = Path(get_package_share_directory("stdformer_ros"))

RESPAWN_SECONDS = 2.0
"""Pause before a restart, so that a node that cannot start does not fill the log."""

NODE_ARGUMENTS = {
    "params_file": (str(SHARE / "config/default.yaml"), "File with the node's parameters (YAML)."),
    "device": ("cpu", "The device that the estimator runs on: cpu, cuda, cuda:1 ..."),
    "namespace": ("", "The namespace of the node and its topics."),
    "use_sim_time": ("false", "Take the time from /clock."),
    "autostart": ("true", "Configure and activate the node; false: a lifecycle manager does it."),
    "respawn": ("false", "Start the node again when its process has died."),
}
"""Default and description of the launch arguments that `human_node` reads."""


def declarations(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Declare launch arguments, given default and description by name."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


def human_node(
    remappings: Sequence[tuple[Any, Any]], parameters: Mapping[str, Any] | None = None
) -> LifecycleNode:
    """The node, set up by the launch arguments NODE_ARGUMENTS and by further parameters."""
    value = {name: LaunchConfiguration(name) for name in NODE_ARGUMENTS}
    named = {name: value[name] for name in ("device", "use_sim_time", "autostart")}
    return LifecycleNode(
        package="stdformer_ros",
        executable="node",
        name="stdformer",
        namespace=value["namespace"],
        parameters=[value["params_file"], {**named, **(parameters or {})}],
        remappings=list(remappings),
        respawn=value["respawn"],
        respawn_delay=RESPAWN_SECONDS,
        output="screen",
    )


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
