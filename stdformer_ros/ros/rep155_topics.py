"""People under /humans/bodies, as REP-155 names things, for nodes that understand ros4hri."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from stdformer_ros.camera import Camera
from stdformer_ros.rep155 import body_id, joint_angles, skeleton_2d
from stdformer_ros.ros.messages import pelvis_rotation
from stdformer_ros.types import Human

QUEUE = 1


class Rep155Topics:
    """/humans/bodies/tracked, and of each person /humans/bodies/ID/{roi,skeleton2d,joint_states}.

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
        self._bodies: dict[str, tuple[Publisher, ...]] = {}
        self._header = Header()

    def publish(self, header: Header, humans: Sequence[Human], camera: Camera) -> None:
        """Everybody in an image of this camera, in its frame; who is missing has left."""
        present = {body_id(human.person.track_id): human for human in humans}
        for name in set(self._bodies) - set(present):
            self._forget(name)
        for name, human in present.items():
            if name not in self._bodies:
                self._bodies[name] = self._announce(name)
            roi, skeleton, joint_states = self._bodies[name]
            roi.publish(self._roi(header, human, camera))
            skeleton.publish(self._skeleton(header, human, camera))
            joint_states.publish(self._joint_state(header, name, human))
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

    def _announce(self, name: str) -> tuple[Publisher, ...]:
        under = f"/humans/bodies/{name}"
        kinds = (
            (self._messages.NormalizedRegionOfInterest2D, "roi"),
            (self._messages.Skeleton2D, "skeleton2d"),
            (JointState, "joint_states"),
        )
        return tuple(
            self._node.create_publisher(kind, f"{under}/{topic}", QUEUE) for kind, topic in kinds
        )

    def _forget(self, name: str) -> None:
        for publisher in self._bodies.pop(name):
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


def _part(pixels: float, size: int) -> float:
    return min(1.0, max(0.0, pixels / size))
