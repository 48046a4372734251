"""People under /humans/bodies, as REP-155 names things, for nodes that understand ros4hri."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.transform_buffer import tf_message
from stdformer_ros.ros.outputs.messages import pelvis_rotation, rgb_message
from stdformer_ros.ros.outputs.rep155 import body_id, joint_angles, skeleton_2d
from stdformer_ros.ros.outputs.rep155_urdf import body_urdf
from stdformer_ros.ros.outputs.target_frame import stamped_transform
from stdformer_ros.types import Frame, Human, ImageArray

QUEUE = 1
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Rep155Topics:
    """/humans/bodies/tracked, and of each person /humans/bodies/ID/{roi,cropped,skeleton2d,
    joint_states,urdf} and, where tf2_msgs are installed, the frame body_ID on /tf.

    A person's topics exist as long as the person is seen.

    Args:
        node: whose publishers they are.
        joint_names: of the bodies.

    Raises:
        ValueError: if hri_msgs is not installed.
    """

    def __init__(self, node: Node, joint_names: Sequence[str]) -> None:
        try:
            import hri_msgs.msg
        except ImportError as error:
            raise ValueError(
                "the parameter rep155 needs hri_msgs, which is not installed: "
                "sudo apt install ros-$ROS_DISTRO-hri-msgs"
            ) from error
        self._messages: Any = hri_msgs.msg
        self._node = node
        self._joint_names = list(joint_names)
        self._tracked = node.create_publisher(
            self._messages.IdsList, "/humans/bodies/tracked", QUEUE
        )
        self._bodies: dict[str, dict[str, Publisher]] = {}
        self._header = Header()
        self._tf: Publisher | None = None
        try:
            self._tf = node.create_publisher(tf_message(), "/tf", 100)
        except ValueError:
            node.get_logger().warning(
                "rep155: no frames body_ID on /tf, since tf2_msgs is not installed"
            )

    def publish(self, header: Header, humans: Sequence[Human], frame: Frame) -> None:
        """Everybody in an image, in its camera's frame; who is missing has left."""
        camera = frame.camera
        present = {body_id(human.person.track_id): human for human in humans}
        for name in set(self._bodies) - set(present):
            self._forget(name)
        for name, human in present.items():
            if name not in self._bodies:
                self._bodies[name] = self._announce(name, human)
            topics = self._bodies[name]
            topics["roi"].publish(self._roi(header, human, camera))
            if topics["cropped"].get_subscription_count():
                topics["cropped"].publish(rgb_message(header, cropped(frame.image, human)))
            topics["skeleton2d"].publish(self._skeleton(header, human, camera))
            topics["joint_states"].publish(self._joint_state(header, name, human))
        if self._tf is not None and present:
            names = self._joint_names
            frames = [body_frame(header, i, human, names) for i, human in present.items()]
            self._tf.publish(tf_message()(transforms=frames))
        self._tracked.publish(self._messages.IdsList(header=header, ids=sorted(present)))
        self._header = header

    def clear(self) -> None:
        """Nobody is tracked any more."""
        for name in list(self._bodies):
            self._forget(name)
        self._tracked.publish(self._messages.IdsList(header=self._header))

    def destroy(self) -> None:
        """Give the publishers back to the node."""
        for name in list(self._bodies):
            self._forget(name)
        self._node.destroy_publisher(self._tracked)
        if self._tf is not None:
            self._node.destroy_publisher(self._tf)

    def _announce(self, name: str, human: Human) -> dict[str, Publisher]:
        kinds = {
            "roi": (self._messages.NormalizedRegionOfInterest2D, QUEUE),
            "cropped": (Image, QUEUE),
            "skeleton2d": (self._messages.Skeleton2D, QUEUE),
            "joint_states": (JointState, QUEUE),
            "urdf": (String, LATCHED),
        }
        topics = {
            topic: self._node.create_publisher(kind, f"/humans/bodies/{name}/{topic}", qos)
            for topic, (kind, qos) in kinds.items()
        }
        topics["urdf"].publish(String(data=body_urdf(name, human.body.joints, self._joint_names)))
        return topics

    def _forget(self, name: str) -> None:
        for publisher in self._bodies.pop(name).values():
            self._node.destroy_publisher(publisher)

    def _roi(self, header: Header, human: Human, camera: Camera) -> Any:
        x0, y0, x1, y1 = (float(value) for value in human.person.box)
        return self._messages.NormalizedRegionOfInterest2D(
            header=header,
            xmin=_part(x0, camera.width),
            ymin=_part(y0, camera.height),
            xmax=_part(x1, camera.width),
            ymax=_part(y1, camera.height),
            c=float(human.person.score),
        )

    def _skeleton(self, header: Header, human: Human, camera: Camera) -> Any:
        points = skeleton_2d(human.person, camera).astype(float).tolist()
        return self._messages.Skeleton2D(
            header=header,
            skeleton=[
                self._messages.NormalizedPointOfInterest2D(x=x, y=y, c=c) for x, y, c in points
            ],
        )

    def _joint_state(self, header: Header, name: str, human: Human) -> JointState:
        body = human.body
        pelvis = pelvis_rotation(body, self._joint_names)
        angles = joint_angles(body.joints, self._joint_names, pelvis)
        return JointState(
            header=header,
            name=[f"{joint}_{name}" for joint in angles],
            position=list(angles.values()),
        )


def body_frame(
    header: Header, name: str, human: Human, joint_names: Sequence[str]
) -> TransformStamped:
    """The frame of a body: amid the hips, x to the body's front, z up its spine."""
    hips = [joint_names.index(f"{side}_hip") for side in ("left", "right")]
    place = human.body.joints[hips].mean(axis=0)
    axes = pelvis_rotation(human.body, joint_names)[:, [2, 0, 1]]
    return stamped_transform(header, f"body_{name}", axes, place)


def cropped(image: ImageArray, human: Human) -> ImageArray:
    """The part of an image (H, W, 3) with a human in it: at least one pixel."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = np.round(human.person.box + 0.5).astype(int)
    x0, y0 = np.clip([x0, y0], 0, [width - 1, height - 1])
    return image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _part(pixels: float, size: int) -> float:
    return min(1.0, max(0.0, pixels / size))
