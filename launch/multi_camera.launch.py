"""People from several cameras in one node, which share one batch."""

from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode

SHARE = Path(get_package_share_directory("stdformer_ros"))

ARGUMENTS = {
    "cameras": ("[front, rear]", "The cameras' names, as a YAML list."),
    "image": ("/{}/image_raw", "The topic of each camera's images; {} is its name."),
    "camera_info": ("/{}/camera_info", "The topic of each camera's intrinsics."),
    "depth": ("/{}/depth", "The topic of each camera's depth, used with the parameter depth."),
    "params_file": (str(SHARE / "config/default.yaml"), "The node's parameters (YAML)."),
    "device": ("cpu", "Where the estimator runs: cpu, cuda, cuda:1 ..."),
    "namespace": ("", "The namespace of the node and its topics."),
    "use_sim_time": ("false", "Take the time from /clock."),
    "autostart": ("true", "Configure and activate the node; false leaves it to a manager."),
}


def node(context: LaunchContext) -> list[LifecycleNode]:
    """The node, with topics for each of the cameras that the arguments name."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    cameras = yaml.safe_load(value["cameras"])
    if not isinstance(cameras, list) or not all(isinstance(name, str) for name in cameras):
        raise ValueError(f"cameras must be a list of names like [front, rear], not {cameras!r}")
    settings = {name: yaml.safe_load(value[name]) for name in ("use_sim_time", "autostart")}
    return [
        LifecycleNode(
            package="stdformer_ros",
            executable="node",
            name="stdformer",
            namespace=value["namespace"],
            parameters=[
                value["params_file"],
                {"cameras": cameras, "device": value["device"], **settings},
            ],
            remappings=[
                (f"{camera}/{topic}", value[topic].format(camera))
                for camera in cameras
                for topic in ("image", "camera_info", "depth")
            ],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, *transport(), OpaqueFunction(function=node)])


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
