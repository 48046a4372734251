"""Everything that the node publishes about the humans in an image.

`Outputs.publish` is called once for each answered image. First it publishes the overlay, of the
upright image. Then it moves the humans to the frame that the image's header names, and publishes
the bodies of REP-155. At last it transforms the humans to the `target_frame`, and publishes
everything else in that frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseArray
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from stdformer_ros.config import NodeSettings
from stdformer_ros.io.overlay import Figure, draw_overlay
from stdformer_ros.msg import BodyModel, HumanArray
from stdformer_ros.ros.inputs.transform_buffer import Transform
from stdformer_ros.ros.inputs.transforms import TransformSource, tf_message
from stdformer_ros.ros.outputs.markers import (
    LABEL,
    MESH,
    SKELETON,
    MeshMarkerWriter,
    bones_marker,
    deletions,
    label_marker,
)
from stdformer_ros.ros.outputs.messages import (
    body_model,
    human_array,
    joint_cloud,
    joint_poses,
    rgb_message,
)
from stdformer_ros.ros.outputs.rep155 import Rep155Topics
from stdformer_ros.ros.outputs.target_frame import CameraPose, as_taken, human_frames, upright_pose
from stdformer_ros.types import Frame, Human, ImageArray

if TYPE_CHECKING:
    from stdformer_ros.models.estimator import Estimator

QUEUE = 5
OVERRIDABLE = QoSOverridingOptions.with_default_policies()
"""Parameters `qos_overrides` can change the history, depth and reliability of every topic."""


class Outputs:
    """The publishers of one camera, under `~/`.

    ~/markers, ~/joints, ~/joints_cloud and ~/overlay cost nothing while they have no subscriber.

    Args:
        node: whose publishers they are.
        camera: name of the camera, which the topics begin with; empty for the only one.
        estimator: gives its name, joint names, skeleton and faces.
        settings: the node's parameters.
        transforms: give the camera's pose in the `target_frame`; None without a `target_frame`.

    Attributes:
        settings: may be replaced, if only `live` parameters differ.

    Raises:
        ValueError: if a parameter needs messages that are not installed, or does not fit others.
    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        estimator: Estimator,
        settings: NodeSettings,
        transforms: TransformSource | None,
    ) -> None:
        self.settings = settings
        self._camera = camera
        self._transforms = transforms
        self._node = node
        self._estimator = estimator
        reliability = ReliabilityPolicy[settings.output_reliability.upper()]

        def create(
            kind: type, topic: str, depth: int, latched: bool = False
        ) -> LifecyclePublisher[Any]:
            durability = "TRANSIENT_LOCAL" if latched else "VOLATILE"
            # Latched topics are always reliable: a subscriber that joins late must get the message.
            profile = QoSProfile(
                depth=depth,
                reliability=ReliabilityPolicy.RELIABLE if latched else reliability,
                durability=DurabilityPolicy[durability],
            )
            return node.create_lifecycle_publisher(
                kind, topic, profile, qos_overriding_options=OVERRIDABLE
            )

        under = f"~/{camera}/" if camera else "~/"
        self._humans = create(HumanArray, f"{under}humans", QUEUE)
        self._markers = create(MarkerArray, f"{under}markers", 10 * QUEUE)
        self._joints = create(PoseArray, f"{under}joints", QUEUE)
        self._cloud = create(PointCloud2, f"{under}joints_cloud", QUEUE)
        self._overlay = create(Image, f"{under}overlay", 1)
        self._body_model = create(BodyModel, f"{under}body_model", 1, latched=True)
        self._tf: LifecyclePublisher[Any] | None = None
        if settings.tf != "none":
            self._tf = node.create_lifecycle_publisher(tf_message(), "/tf", 100)
        self._rep155: Rep155Topics | None = None
        if settings.rep155:
            if camera:
                raise ValueError(
                    "rep155 works with one camera only, because REP-155 has one list of bodies: "
                    "leave the parameter cameras empty"
                )
            self._rep155 = Rep155Topics(node, estimator.joint_names)
        self._writer: MeshMarkerWriter | None = None
        self._shown: set[tuple[str, int]] = set()
        self._header = Header()
        self._late_told = False

    def announce(self) -> None:
        """Publish how joints and vertices are connected, to present and later subscribers."""
        self._body_model.publish(body_model(self._estimator))

    def publish(self, header: Header, frame: Frame, humans: Sequence[Human]) -> None:
        """Publish the humans in one image.

        Args:
            header: of the image; every message has its stamp, unchanged.
            frame: the image; it may have been turned upright.
            humans: everybody in it, in the frame of the camera of this upright image.

        Raises:
            TransformError: if the camera's pose in the `target_frame` is not known.
        """
        names, settings = self._estimator.joint_names, self.settings
        humans = [human for human in humans if human.person.score >= settings.min_score]
        if _wanted(self._overlay):
            self._overlay.publish(rgb_message(header, self._draw(frame, humans)))
        image_pose = upright_pose(frame)
        frame, humans = as_taken(frame, humans)
        if self._rep155 is not None:
            self._rep155.publish(header, humans, frame)
        if self._transforms is not None and settings.target_frame:
            camera_pose = CameraPose.at(self._transforms, settings.target_frame, header)
            self._tell_if_late(camera_pose.now, header)
            header = Header(stamp=header.stamp, frame_id=settings.target_frame)
            humans = [camera_pose.to_target_frame(human) for human in humans]
            image_pose = image_pose.then(camera_pose.now)
        vertices = settings.publish_vertices
        message = human_array(
            header, self._estimator.name, names, humans, frame.camera, vertices, image_pose
        )
        self._humans.publish(message)
        if self._tf is not None:
            frames = human_frames(
                header,
                humans,
                names,
                with_joints=settings.tf == "joints",
                camera=self._camera,
            )
            self._tf.publish(tf_message()(transforms=frames))
        if _wanted(self._joints):
            self._joints.publish(joint_poses(header, humans))
        if _wanted(self._cloud):
            self._cloud.publish(joint_cloud(header, humans))
        if _wanted(self._markers):
            self._publish_markers(header, humans, image_pose)

    def clear(self) -> None:
        """Remove everybody's markers from RViz, and everybody's topics of REP-155."""
        if self._rep155 is not None:
            self._rep155.clear()
        gone = deletions(self._header, sorted(self._shown))
        self._shown.clear()
        if gone:
            self._markers.publish(MarkerArray(markers=gone))

    def destroy(self) -> None:
        """Remove the publishers from the node."""
        for publisher in (
            self._humans,
            self._markers,
            self._joints,
            self._cloud,
            self._overlay,
            self._body_model,
            self._tf,
        ):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)
        if self._rep155 is not None:
            self._rep155.destroy()

    def _tell_if_late(self, pose: Transform, header: Header) -> None:
        """Say once that the camera's pose is a guess, because its transforms come late."""
        if pose.extrapolated and not self._late_told:
            self._late_told = True
            self._node.get_logger().warning(
                f"the transform from '{header.frame_id}' to '{self.settings.target_frame}' is "
                f"{pose.extrapolated:.2f} s older than the image: the camera's pose is "
                "extrapolated; publish /tf more often, or delay the images"
            )

    def _publish_markers(
        self, header: Header, humans: Sequence[Human], image_pose: Transform
    ) -> None:
        wanted, estimator = self.settings.markers, self._estimator
        markers: list[Marker] = []
        for human in humans:
            if SKELETON in wanted:
                markers.append(bones_marker(header, human, estimator.skeleton))
            if LABEL in wanted:
                markers.append(label_marker(header, human, image_pose))
        faces = estimator.faces
        meshes = {
            human.person.track_id: human.body.vertices
            for human in humans
            if MESH in wanted and faces is not None and human.body.vertices is not None
        }
        present = {(marker.ns, marker.id) for marker in markers} | {(MESH, i) for i in meshes}
        markers += deletions(header, sorted(self._shown - present))
        self._shown, self._header = present, header
        if markers:
            self._markers.publish(MarkerArray(markers=markers))
        if faces is None or not meshes:
            return
        writer = self._writer
        if writer is None or writer.frame_id != header.frame_id or writer.faces is not faces:
            writer = self._writer = MeshMarkerWriter(header.frame_id, faces)
        for track_id, vertices in meshes.items():
            self._markers.publish(writer.write(header.stamp, track_id, vertices))

    def _draw(self, frame: Frame, humans: Sequence[Human]) -> ImageArray:
        figures = [
            Figure(human.person.track_id, human.body.joints, human.body.vertices)
            for human in humans
        ]
        faces, skeleton = self._estimator.faces, self._estimator.skeleton
        return draw_overlay(frame.image, figures, frame.camera, faces, skeleton)


def _wanted(publisher: LifecyclePublisher[Any]) -> bool:
    return publisher.get_subscription_count() > 0
