"""Follow people in a video, which a player publishes as a camera driver would."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from stdformer_ros.ros.launch_parts import NODE_ARGUMENTS, SHARE, declarations

IMAGE, CAMERA_INFO = "/camera/image_raw", "/camera/camera_info"
ARGUMENTS = {
    **{name: NODE_ARGUMENTS[name] for name in ("params_file", "device")},
    "rviz": ("true", "Show the people in RViz."),
}


def generate_launch_description() -> LaunchDescription:
    passed = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    camera = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch/camera.launch.py")),
        launch_arguments={"image": IMAGE, "camera_info": CAMERA_INFO, **passed}.items(),
    )
    # Started after the included file, which sets environment variables for the player too.
    player = Node(
        package="stdformer_ros",
        executable="player",
        name="player",
        arguments=[LaunchConfiguration("video"), "--loop"],
        remappings=[("image", IMAGE), ("camera_info", CAMERA_INFO)],
    )
    video = DeclareLaunchArgument("video", description="A video file or a folder of images.")
    return LaunchDescription([video, *declarations(ARGUMENTS), camera, player])
