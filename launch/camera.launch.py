"""People from a camera that publishes already."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

SHARE = Path(get_package_share_directory("stdformer_ros"))

RESPAWN_SECONDS = 2.0
"""Before the node is started again: one that cannot start should not fill the log."""

ARGUMENTS = {
    "image": ("/camera/image_raw", "The topic of the colour images (sensor_msgs/Image)."),
    "camera_info": ("/camera/camera_info", "The topic of the intrinsics that belong to them."),
    "params_file": (str(SHARE / "config/default.yaml"), "The node's parameters (YAML)."),
    "device": ("cpu", "Where the estimator runs: cpu, cuda, cuda:1 ..."),
    "namespace": ("", "The namespace of the node and its topics."),
    "use_sim_time": ("false", "Take the time from /clock."),
    "autostart": ("true", "Configure and activate the node; false leaves it to a manager."),
    "respawn": ("false", "Start the node again when it has died."),
    "rviz": ("false", "Show the people in RViz."),
    "fixed_frame": ("camera_optical_frame", "RViz' fixed frame: the images' frame_id."),
}


def generate_launch_description() -> LaunchDescription:
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    node = LifecycleNode(
        package="stdformer_ros",
        executable="node",
        name="stdformer",
        namespace=value["namespace"],
        parameters=[
            value["params_file"],
            {name: value[name] for name in ("device", "use_sim_time", "autostart")},
        ],
        remappings=[("image", value["image"]), ("camera_info", value["camera_info"])],
        respawn=value["respawn"],
        respawn_delay=RESPAWN_SECONDS,
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=["-d", str(SHARE / "config/stdformer.rviz"), "-f", value["fixed_frame"]],
        # stdformer.rviz knows the topics without a namespace.
        remappings=[
            (f"/stdformer/{topic}", f"stdformer/{topic}")
            for topic in ("markers", "joints", "joints_cloud", "overlay")
        ],
        parameters=[{"use_sim_time": value["use_sim_time"]}],
        condition=IfCondition(value["rviz"]),
    )
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, *transport(), node, rviz])


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
