"""What the launch files have in common: the node, its arguments, the transport of images."""

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
"""Before the node is started again: one that cannot start should not fill the log."""

NODE_ARGUMENTS = {
    "params_file": (str(SHARE / "config/default.yaml"), "The node's parameters (YAML)."),
    "device": ("cpu", "Where the estimator runs: cpu, cuda, cuda:1 ..."),
    "namespace": ("", "The namespace of the node and its topics."),
    "use_sim_time": ("false", "Take the time from /clock."),
    "autostart": ("true", "Configure and activate the node; false leaves it to a manager."),
    "respawn": ("false", "Start the node again when it has died."),
}
"""Default and description of what `human_node` reads."""


def declarations(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Launch arguments by name, with default and description."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


def human_node(
    remappings: Sequence[tuple[Any, Any]], parameters: Mapping[str, Any] | None = None
) -> LifecycleNode:
    """The node as NODE_ARGUMENTS say, with further parameters if there are any."""
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
    """Images through shared memory, unless the user has set something else."""
    defaults = {
        "FASTDDS_DEFAULT_PROFILES_FILE": str(SHARE / "config/fastdds_shm.xml"),
        # glibc keeps large arrays for the next image instead of returning them to the system.
        "MALLOC_MMAP_THRESHOLD_": "268435456",
        "MALLOC_TRIM_THRESHOLD_": "1073741824",
        "MALLOC_TOP_PAD_": "67108864",
    }
    return [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=default))
        for name, default in defaults.items()
    ]
