"""People from a video file, which a player publishes as a camera would."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("stdformer_ros"))
IMAGE, CAMERA_INFO = "/camera/image_raw", "/camera/camera_info"


def generate_launch_description() -> LaunchDescription:
    camera = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch/camera.launch.py")),
        launch_arguments={
            "image": IMAGE,
            "camera_info": CAMERA_INFO,
            "params_file": LaunchConfiguration("params_file"),
            "device": LaunchConfiguration("device"),
            "rviz": LaunchConfiguration("rviz"),
        }.items(),
    )
    # After the inclusion, so that the player inherits the transport that it sets.
    player = Node(
        package="stdformer_ros",
        executable="player",
        name="player",
        arguments=[LaunchConfiguration("video"), "--loop"],
        remappings=[("image", IMAGE), ("camera_info", CAMERA_INFO)],
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("video", description="A video file or a folder of images."),
            DeclareLaunchArgument(
                "params_file",
                default_value=str(SHARE / "config/default.yaml"),
                description="The node's parameters (YAML).",
            ),
            DeclareLaunchArgument(
                "device", default_value="cpu", description="Where the estimator runs."
            ),
            DeclareLaunchArgument(
                "rviz", default_value="true", description="Show the people in RViz."
            ),
            camera,
            player,
        ]
    )
