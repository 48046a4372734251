"""Follow people in the images of several cameras, in one node that processes them as one batch."""

from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from stdformer_ros.ros.launch_parts import (
    NODE_ARGUMENTS,
    cameras_in,
    declarations,
    human_node,
    transport,
)

TOPICS = {
    "image": ("/{}/image_raw", "The topic of each camera's images; {} stands for its name."),
    "camera_info": ("/{}/camera_info", "The topic of each camera's intrinsics."),
    "depth": ("/{}/depth", "The topic of each camera's depth, used with the parameter depth."),
}
ARGUMENTS = {
    "cameras": (
        "",
        "The cameras' names, as a YAML list; empty: as params_file says, or else [front, rear].",
    ),
    **TOPICS,
    **NODE_ARGUMENTS,
}


def node(context: LaunchContext) -> list[LifecycleNode]:
    """The node, with remapped topics for each camera of the launch argument `cameras`."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    cameras = yaml.safe_load(value["cameras"]) or cameras_in(Path(value["params_file"]))
    cameras = cameras or ["front", "rear"]
    if not isinstance(cameras, list) or not all(isinstance(name, str) for name in cameras):
        raise ValueError(f"cameras must be a list of names like [front, rear], not {cameras!r}")
    remappings = [
        (f"{camera}/{topic}", value[topic].format(camera)) for camera in cameras for topic in TOPICS
    ]
    return [human_node(context, remappings, {"cameras": cameras})]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [*declarations(ARGUMENTS), *transport(), OpaqueFunction(function=node)]
    )
