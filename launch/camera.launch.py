"""Follow people in the images of a camera whose driver is running already."""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from stdformer_ros.ros.launch_parts import (
    NODE_ARGUMENTS,
    SHARE,
    declarations,
    given,
    human_node,
    transport,
)

ARGUMENTS = {
    "image": ("/camera/image_raw", "The topic of the colour images (sensor_msgs/Image)."),
    "camera_info": (
        "/camera/camera_info",
        "The topic of the intrinsics (sensor_msgs/CameraInfo).",
    ),
    "depth": ("/camera/depth", "The topic of the depth images, used with the parameter depth."),
    **NODE_ARGUMENTS,
    "rviz": ("false", "Show the people in RViz."),
    "fixed_frame": ("camera_optical_frame", "RViz's fixed frame: the frame_id of the images."),
}


def processes(context: LaunchContext) -> list[Node]:
    """The node and RViz."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    node = human_node(
        context, [(topic, value[topic]) for topic in ("image", "camera_info", "depth")]
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=["-d", str(SHARE / "config/stdformer.rviz"), "-f", value["fixed_frame"]],
        # stdformer.rviz names the topics without a namespace.
        remappings=[
            (f"/stdformer/{topic}", f"stdformer/{topic}")
            for topic in ("markers", "joints", "joints_cloud", "overlay")
        ],
        parameters=[given(context, ["use_sim_time"])],
        condition=IfCondition(value["rviz"]),
    )
    return [node, rviz]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [*declarations(ARGUMENTS), *transport(), OpaqueFunction(function=processes)]
    )
