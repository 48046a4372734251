"""People under /humans/bodies as REP-155 describes them, for nodes of ros4hri.

REP-155 is "Conventions, Topics, Interfaces for Perception in Human-Robot Interaction". The joints
of its human model and their axes are those of ros4hri's human_description. Links have x ahead, y to
the left and z up; the links of a limb point along -z when all angles are 0. The four parts:

1. `skeleton_2d`: the 18 points of hri_msgs/Skeleton2D, from the landmarks.
2. `joint_angles`: the angles of the human model, from the 3D joints.
3. `body_urdf`: the human model as a URDF with the person's bone lengths.
4. `Rep155Topics`: the publishers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import acos, asin, atan2, pi
from typing import Any
from xml.etree import ElementTree

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.ros.inputs.transforms import tf_message
from stdformer_ros.ros.outputs.messages import pelvis_rotation, rgb_message
from stdformer_ros.ros.outputs.target_frame import stamped_transform
from stdformer_ros.types import FloatArray, Frame, Human, ImageArray, Person

Vector = NDArray[np.float64]

QUEUE = 1
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

SKELETON: tuple[tuple[int, ...], ...] = (
    *((0,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,), (24,), (26,), (28,)),
    *((23,), (25,), (27,), (2,), (5,), (7,), (8,)),
)
"""The BlazePose landmarks whose mean is each of the 18 points of hri_msgs/Skeleton2D: nose; neck;
right shoulder, elbow, wrist; left shoulder, elbow, wrist; right hip, knee, ankle; left hip, knee,
ankle; left eye, right eye, left ear, right ear."""

STRAIGHT = 0.15
"""A knee whose angle has a smaller sine counts as straight: its bending plane is not known."""

RADIUS, HEAD_RADIUS = 0.03, 0.11
"""Radii in metres of the URDF's cylinders and of its head."""

Offset = tuple[float, float, float]
UrdfJoint = tuple[str, str, str, Offset, Offset | None]
"""Name, parent link, child link, place in the parent in metres, axis (None: a fixed joint)."""


def body_id(track_id: int) -> str:
    """A name for a person that can be part of a topic, which may not begin with a digit."""
    return f"b{track_id:04d}"


def skeleton_2d(person: Person, camera: Camera) -> FloatArray:
    """The 18 points of hri_msgs/Skeleton2D.

    Returns:
        (18, 3) x and y as fractions of the image's width and height, 0..1, and confidence. Points
        outside the image are moved to its border and have confidence 0.
    """
    size = np.array([camera.width, camera.height], np.float32)
    points = np.zeros((len(SKELETON), 3), np.float32)
    for point, landmarks in zip(points, SKELETON, strict=True):
        rows = list(landmarks)
        # Pixel coordinates begin at the centre of the first pixel, fractions at its corner.
        place = (person.landmarks[rows].mean(axis=0) + 0.5) / size
        inside = bool(np.all((place >= 0.0) & (place <= 1.0)))
        point[:2] = place.clip(0.0, 1.0)
        point[2] = person.visibility[rows].min() if inside else 0.0
    return points


def joint_angles(
    joints: FloatArray, joint_names: Sequence[str], pelvis: NDArray[np.float64]
) -> dict[str, float]:
    """Joint angles with which the human model's limbs have the directions of the person's limbs.

    Args:
        joints: (J, 3) in any frame.
        joint_names: their names; there must be hips, knees, ankles, shoulders, elbows, wrists,
            pelvis and neck.
        pelvis: (3, 3) columns to the body's left, up its spine and to its front, in that frame.

    Returns:
        Radians by joint, without the body's identifier: waist, and with l_ and r_ y_shoulder,
        p_shoulder, r_shoulder, elbow, y_hip, p_hip, r_hip and knee. The head's angles are not
        known.
    """
    body = pelvis[:, [2, 0, 1]]
    by_name = dict(zip(joint_names, joints.astype(np.float64), strict=True))

    def direction(start: str, end: str) -> Vector:
        vector = (by_name[end] - by_name[start]) @ body
        length = float(np.linalg.norm(vector))
        return vector / length if length > 1e-6 else np.array([0.0, 0.0, -1.0])

    spine = direction("pelvis", "neck")
    angles = {"waist": atan2(spine[0], spine[2])}
    torso = _about("y", angles["waist"])
    for side, prefix, sign in (("left", "l", 1.0), ("right", "r", -1.0)):
        upper, lower = (
            direction(f"{side}_shoulder", f"{side}_elbow") @ torso,
            direction(f"{side}_elbow", f"{side}_wrist") @ torso,
        )
        angles |= _arm_angles(prefix, sign, upper, lower)
        thigh, shin = (
            direction(f"{side}_hip", f"{side}_knee"),
            direction(f"{side}_knee", f"{side}_ankle"),
        )
        angles |= _leg_angles(prefix, sign, thigh, shin)
    return angles


def body_urdf(name: str, joints: FloatArray, joint_names: Sequence[str]) -> str:
    """The URDF of one person; every link and joint ends with the body's identifier.

    Args:
        name: the identifier.
        joints: (J, 3) metres, in any frame; the lengths are the distances between them.
        joint_names: their names; there must be hips, knees, ankles, shoulders, elbows, wrists,
            pelvis and neck.
    """
    by_name = dict(zip(joint_names, joints.astype(np.float64), strict=True))

    def length(start: str, end: str) -> float:
        return float(np.linalg.norm(by_name[end] - by_name[start]))

    robot = ElementTree.Element("robot", name=f"human_{name}")
    model = list(_trunk_joints(length("pelvis", "neck")))
    lengths: dict[str, float] = {}
    for side, prefix, sign in (("left", "l", 1.0), ("right", "r", -1.0)):
        shoulders = 0.5 * length("left_shoulder", "right_shoulder")
        hips = 0.5 * length("left_hip", "right_hip")
        upper, lower = (
            length(f"{side}_shoulder", f"{side}_elbow"),
            length(f"{side}_elbow", f"{side}_wrist"),
        )
        thigh, shin = length(f"{side}_hip", f"{side}_knee"), length(f"{side}_knee", f"{side}_ankle")
        arm, leg = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
        model += _limb_joints("torso", prefix, arm, shoulders, upper, lower, sign)
        model += _limb_joints("body", prefix, leg, hips, thigh, shin, sign)
        lengths |= {f"{prefix}_shoulder": upper, f"{prefix}_elbow": lower}
        lengths |= {f"{prefix}_hip": thigh, f"{prefix}_knee": shin}
    for link in ("body", *(child for _, _, child, _, _ in model)):
        element = ElementTree.SubElement(robot, "link", name=f"{link}_{name}")
        if link in lengths:  # a limb hangs down from its joint
            _add_visual(element, (0.0, 0.0, -0.5 * lengths[link]), lengths[link])
        elif link == "head":
            _add_visual(element, (0.0, 0.0, 0.0))
    for joint in model:
        _add_joint(robot, name, joint)
    return ElementTree.tostring(robot, encoding="unicode")


class Rep155Topics:
    """Publishes /humans/bodies/tracked, and for each person /humans/bodies/ID/{roi, cropped,
    skeleton2d, joint_states, urdf} and, where tf2_msgs is installed, the frame body_ID on /tf.

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
        self._bodies: dict[str, dict[str, Publisher[Any]]] = {}
        self._header = Header()
        self._tf: Publisher[Any] | None = None
        try:
            self._tf = node.create_publisher(tf_message(), "/tf", 100)
        except ValueError:
            node.get_logger().warning(
                "rep155: no frames body_ID on /tf, because tf2_msgs is not installed"
            )

    def publish(self, header: Header, humans: Sequence[Human], frame: Frame) -> None:
        """Publish everybody in an image; the topics of people who are not in it are removed.

        Args:
            header: of the image.
            humans: in the camera's frame.
            frame: the image.
        """
        camera = frame.camera
        present = {body_id(human.person.track_id): human for human in humans}
        for name in set(self._bodies) - set(present):
            self._remove(name)
        for name, human in present.items():
            if name not in self._bodies:
                self._bodies[name] = self._add(name, human)
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
        """Remove everybody's topics and say that nobody is tracked."""
        for name in list(self._bodies):
            self._remove(name)
        self._tracked.publish(self._messages.IdsList(header=self._header))

    def destroy(self) -> None:
        """Remove all topics from the node."""
        for name in list(self._bodies):
            self._remove(name)
        self._node.destroy_publisher(self._tracked)
        if self._tf is not None:
            self._node.destroy_publisher(self._tf)

    def _add(self, name: str, human: Human) -> dict[str, Publisher[Any]]:
        kinds: dict[str, tuple[Any, QoSProfile | int]] = {
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

    def _remove(self, name: str) -> None:
        for publisher in self._bodies.pop(name).values():
            self._node.destroy_publisher(publisher)

    def _roi(self, header: Header, human: Human, camera: Camera) -> Any:
        def fraction(pixels: float, size: int) -> float:
            return min(1.0, max(0.0, pixels / size))

        x0, y0, x1, y1 = (float(value) for value in human.person.box)
        return self._messages.NormalizedRegionOfInterest2D(
            header=header,
            xmin=fraction(x0, camera.width),
            ymin=fraction(y0, camera.height),
            xmax=fraction(x1, camera.width),
            ymax=fraction(y1, camera.height),
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
        pelvis = pelvis_rotation(human.body, self._joint_names)
        angles = joint_angles(human.body.joints, self._joint_names, pelvis)
        return JointState(
            header=header,
            name=[f"{joint}_{name}" for joint in angles],
            position=list(angles.values()),
        )


def body_frame(
    header: Header, name: str, human: Human, joint_names: Sequence[str]
) -> TransformStamped:
    """The frame of a body: origin between the hips, x to the body's front, z up its spine."""
    hips = [joint_names.index(f"{side}_hip") for side in ("left", "right")]
    place = human.body.joints[hips].mean(axis=0)
    axes = pelvis_rotation(human.body, joint_names)[:, [2, 0, 1]]
    return stamped_transform(header, f"body_{name}", axes, place)


def cropped(image: ImageArray, human: Human) -> ImageArray:
    """The part of an image (H, W, 3) uint8 RGB inside a human's box, at least one pixel."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = np.round(human.person.box + 0.5).astype(int)
    x0, y0 = np.clip([x0, y0], 0, [width - 1, height - 1])
    return image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _arm_angles(prefix: str, sign: float, upper: Vector, lower: Vector) -> dict[str, float]:
    """Yaw and pitch turn the upper arm; roll about it turns the plane in which the elbow bends."""
    yaw = 0.0 if np.hypot(*upper[:2]) < 1e-3 else atan2(upper[0], sign * upper[1])
    pitch = acos(float(np.clip(-upper[2], -1.0, 1.0)))
    forearm = lower @ (_about("z", -sign * yaw) @ _about("x", sign * pitch))
    bend = acos(float(np.clip(upper @ lower, -1.0, 1.0)))
    roll = 0.0 if np.hypot(*forearm[:2]) < 1e-3 else sign * atan2(forearm[1], forearm[0])
    return {
        f"{prefix}_y_shoulder": yaw,
        f"{prefix}_p_shoulder": pitch,
        f"{prefix}_r_shoulder": roll,
        f"{prefix}_elbow": bend,
    }


def _leg_angles(prefix: str, sign: float, thigh: Vector, shin: Vector) -> dict[str, float]:
    """Yaw and pitch turn the plane in which the hip swings (roll) and the knee bends."""
    axis = np.cross(thigh, shin)
    length = float(np.linalg.norm(axis))
    if length < STRAIGHT:
        yaw, tilt = 0.0, atan2(thigh[1], -thigh[2])
    else:
        axis /= length
        yaw, tilt = atan2(axis[0], axis[1]), asin(float(np.clip(axis[2], -1.0, 1.0)))
    plane = _about("z", -yaw) @ _about("x", tilt)
    upper, lower = thigh @ plane, shin @ plane
    swing, end = atan2(upper[0], -upper[2]), atan2(lower[0], -lower[2])
    return {
        f"{prefix}_y_hip": yaw,
        f"{prefix}_p_hip": sign * tilt,
        f"{prefix}_r_hip": swing,
        f"{prefix}_knee": (end - swing + pi) % (2 * pi) - pi,
    }


def _about(axis: str, angle: float) -> NDArray[np.float64]:
    """The matrix (3, 3) of the rotation about an axis by an angle in radians."""
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    rotation = np.eye(3)
    rotation[j, j] = rotation[k, k] = np.cos(angle)
    rotation[k, j], rotation[j, k] = np.sin(angle), -np.sin(angle)
    return rotation


def _trunk_joints(height: float) -> Iterator[UrdfJoint]:
    here = (0.0, 0.0, 0.0)
    yield "waist", "body", "waist", here, (0.0, 1.0, 0.0)
    yield "torso", "waist", "torso", (0.0, 0.0, height), None
    yield "r_head", "torso", "r_head", (0.0, 0.0, 0.5 * HEAD_RADIUS), (1.0, 0.0, 0.0)
    yield "y_head", "r_head", "y_head", here, (0.0, 0.0, 1.0)
    yield "p_head", "y_head", "p_head", here, (0.0, -1.0, 0.0)
    yield "head", "p_head", "head", (0.5 * HEAD_RADIUS, 0.0, HEAD_RADIUS), None


def _limb_joints(
    root: str,
    prefix: str,
    parts: tuple[str, str, str],
    aside: float,
    upper: float,
    lower: float,
    sign: float,
) -> Iterator[UrdfJoint]:
    """The joints of an arm or a leg, which differ in the axes of their first joint."""
    first, middle, end = (f"{prefix}_{part}" for part in parts)
    yaw, pitch = f"{prefix}_y_{parts[0]}", f"{prefix}_p_{parts[0]}"
    arm, here = parts[0] == "shoulder", (0.0, 0.0, 0.0)
    swing = (0.0, -1.0, 0.0)
    yield yaw, root, yaw, (0.0, sign * aside, 0.0), (0.0, 0.0, -sign if arm else -1.0)
    yield pitch, yaw, pitch, here, (sign, 0.0, 0.0)
    yield f"{prefix}_r_{parts[0]}", pitch, first, here, (0.0, 0.0, sign) if arm else swing
    yield middle, first, middle, (0.0, 0.0, -upper), swing
    yield end, middle, end, (0.0, 0.0, -lower), None


def _add_joint(robot: ElementTree.Element, name: str, joint: UrdfJoint) -> None:
    label, parent, child, offset, axis = joint
    kind = "fixed" if axis is None else "revolute"
    element = ElementTree.SubElement(robot, "joint", name=f"{label}_{name}", type=kind)
    ElementTree.SubElement(element, "parent", link=f"{parent}_{name}")
    ElementTree.SubElement(element, "child", link=f"{child}_{name}")
    ElementTree.SubElement(element, "origin", xyz=_text(offset), rpy="0 0 0")
    if axis is not None:
        ElementTree.SubElement(element, "axis", xyz=_text(axis))
        ElementTree.SubElement(
            element, "limit", lower=f"{-pi:.4f}", upper=f"{pi:.4f}", effort="1000", velocity="10"
        )


def _add_visual(link: ElementTree.Element, offset: Offset, length: float | None = None) -> None:
    """A cylinder along z, or, without a length, the head's sphere."""
    visual = ElementTree.SubElement(link, "visual")
    ElementTree.SubElement(visual, "origin", xyz=_text(offset), rpy="0 0 0")
    geometry = ElementTree.SubElement(visual, "geometry")
    if length is None:
        ElementTree.SubElement(geometry, "sphere", radius=str(HEAD_RADIUS))
    else:
        ElementTree.SubElement(geometry, "cylinder", radius=str(RADIUS), length=f"{length:.4f}")


def _text(values: Offset) -> str:
    return " ".join(f"{value:.4f}" for value in values)
