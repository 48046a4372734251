"""Everything the node publishes about the humans of an image."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from stdformer_ros.msg import BodyModel, HumanArray
from stdformer_ros.overlay import Figure, draw_overlay
from stdformer_ros.ros.markers import MeshMarkerWriter, deletions, people_markers
from stdformer_ros.ros.messages import human_array, joint_cloud, joint_poses
from stdformer_ros.types import Frame, Human, ImageArray

if TYPE_CHECKING:
    from stdformer_ros.models.estimator import Estimator

QUEUE = 5
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Outputs:
    """The publishers of one camera, under `~/`. What nobody subscribes to is not computed.

    Args:
        node: whose publishers they are.
        camera: name of the camera, which the topics begin with; empty for the only one.
        estimator: its name, joint names, skeleton and faces.
        publish_vertices: whether ~/humans holds the meshes.
    """

    def __init__(
        self, node: LifecycleNode, camera: str, estimator: Estimator, publish_vertices: bool
    ) -> None:
        self._node = node
        self._estimator = estimator
        self._publish_vertices = publish_vertices
        create = node.create_lifecycle_publisher
        under = f"~/{camera}/" if camera else "~/"
        self._humans = create(HumanArray, f"{under}humans", QUEUE)
        self._markers = create(MarkerArray, f"{under}markers", 10 * QUEUE)
        self._joints = create(PoseArray, f"{under}joints", QUEUE)
        self._cloud = create(PointCloud2, f"{under}joints_cloud", QUEUE)
        self._overlay = create(Image, f"{under}overlay", 1)
        self._body_model = create(BodyModel, f"{under}body_model", LATCHED)
        self._writer: MeshMarkerWriter | None = None
        self._shown: set[int] = set()
        self._header = Header()

    def announce(self) -> None:
        """Publish for all, later subscribers too, how the bodies are connected now."""
        faces = self._estimator.faces
        self._body_model.publish(
            BodyModel(
                estimator=self._estimator.name,
                joint_names=list(self._estimator.joint_names),
                bones=_indices(np.asarray(self._estimator.skeleton)),
                triangles=_indices(np.zeros(0) if faces is None else faces),
            )
        )

    def publish(self, header: Header, frame: Frame, humans: Sequence[Human]) -> None:
        """The humans of one image to every topic that has a subscriber.

        Args:
            header: the image's own; its stamp goes into every message unchanged.
            frame: the image.
            humans: everybody in it.
        """
        names = self._estimator.joint_names
        message = human_array(
            header, self._estimator.name, names, humans, frame.camera, self._publish_vertices
        )
        self._humans.publish(message)
        if _wanted(self._joints):
            self._joints.publish(joint_poses(header, humans))
        if _wanted(self._cloud):
            self._cloud.publish(joint_cloud(header, humans))
        if _wanted(self._markers):
            self._publish_markers(header, humans)
        if _wanted(self._overlay):
            self._overlay.publish(rgb_message(header, self._draw(frame, humans)))

    def clear(self) -> None:
        """Take everybody out of RViz."""
        gone = deletions(self._header, sorted(self._shown))
        self._shown.clear()
        if gone:
            self._markers.publish(MarkerArray(markers=gone))

    def destroy(self) -> None:
        """Give the publishers back to the node."""
        for publisher in (
            self._humans,
            self._markers,
            self._joints,
            self._cloud,
            self._overlay,
            self._body_model,
        ):
            self._node.destroy_publisher(publisher)

    def _publish_markers(self, header: Header, humans: Sequence[Human]) -> None:
        present = {human.person.track_id for human in humans}
        markers = people_markers(header, humans, self._estimator.skeleton)
        markers += deletions(header, sorted(self._shown - present))
        self._shown, self._header = present, header
        if markers:
            self._markers.publish(MarkerArray(markers=markers))
        faces = self._estimator.faces
        if faces is None:
            return
        writer = self._writer
        if writer is None or writer.frame_id != header.frame_id or writer.faces is not faces:
            writer = self._writer = MeshMarkerWriter(header.frame_id, faces)
        for human in humans:
            if human.body.vertices is not None:
                self._markers.publish(
                    writer.write(header.stamp, human.person.track_id, human.body.vertices)
                )

    def _draw(self, frame: Frame, humans: Sequence[Human]) -> ImageArray:
        figures = [
            Figure(human.person.track_id, human.body.joints, human.body.vertices)
            for human in humans
        ]
        faces, skeleton = self._estimator.faces, self._estimator.skeleton
        return draw_overlay(frame.image, figures, frame.camera, faces, skeleton)


def rgb_message(header: Header, image: ImageArray) -> Image:
    """An RGB picture (H, W, 3) as an Image."""
    height, width = image.shape[:2]
    # rclpy takes bytes as a block of memory, but copies a numpy array element by element.
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=image.tobytes(),
    )


def _indices(values: NDArray[np.integer]) -> array[int]:
    return array("I", np.ascontiguousarray(values, np.uint32).tobytes())


def _wanted(publisher: Publisher) -> bool:
    return publisher.get_subscription_count() > 0
