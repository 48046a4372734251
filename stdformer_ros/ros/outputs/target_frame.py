"""Humans in a coordinate frame other than the camera's, and coordinate frames of humans.

1. `as_taken` moves humans from an image that was turned upright to the camera's own frame.
2. `CameraPose` moves them from there to the parameter `target_frame`.
3. `human_frames` gives the frames human_ID and human_ID_JOINT for /tf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from geometry_msgs.msg import Transform as TransformMessage
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from stdformer_ros.body.skeleton import JOINT_NAMES, PARENTS
from stdformer_ros.camera.turning import turn_matrix, turned_box, turned_pixels
from stdformer_ros.ros.inputs.intake import nanoseconds
from stdformer_ros.ros.inputs.transform_buffer import MOTION_SECONDS, Transform, TransformError
from stdformer_ros.ros.inputs.transforms import TransformSource
from stdformer_ros.ros.outputs.messages import pelvis_rotation
from stdformer_ros.types import Body, Frame, Human


@dataclass(frozen=True)
class CameraPose:
    """The camera's pose in the target frame.

    Attributes:
        now: from the camera's frame to the target frame, at the image's time.
        before: the same, MOTION_SECONDS earlier; equal to `now` if the earlier pose is not known.
    """

    now: Transform
    before: Transform

    @classmethod
    def at(cls, transforms: TransformSource, target_frame: str, header: Header) -> CameraPose:
        """The pose at the time of an image.

        Args:
            transforms: where to look it up.
            target_frame: the frame in which the pose is wanted.
            header: of the image, in the camera's frame.

        Raises:
            TransformError: if it is not known.
        """
        stamp = nanoseconds(header.stamp)
        now = transforms.lookup(target_frame, header.frame_id, stamp)
        try:
            earlier = stamp - int(1e9 * MOTION_SECONDS)
            before = transforms.lookup(target_frame, header.frame_id, earlier)
        except TransformError:
            before = now
        return cls(now, before)

    def to_target_frame(self, human: Human) -> Human:
        """The human in the target frame.

        The joints' velocities are given relative to the camera. The camera's own velocity is added,
        so that they become relative to the target frame.
        """
        moved = _moved(human, self.now)
        motion = (moved.body.joints - self.before(human.body.joints)) / MOTION_SECONDS
        return replace(moved, joint_velocities=moved.joint_velocities + motion)


def as_taken(frame: Frame, humans: Sequence[Human]) -> tuple[Frame, list[Human]]:
    """A frame that was turned upright, and the humans in it, as the camera has taken it."""
    if not frame.turn:
        return frame, list(humans)
    size, back = (frame.camera.width, frame.camera.height), -frame.turn
    transform = upright_pose(frame)
    turned = []
    for human in humans:
        person, world = human.person, human.person.world_landmarks
        person = replace(
            person,
            box=turned_box(person.box, size, back),
            landmarks=turned_pixels(person.landmarks, size, back),
            world_landmarks=None if world is None else transform(world),
        )
        turned.append(replace(_moved(human, transform), person=person))
    return frame.turned(back), turned


def upright_pose(frame: Frame) -> Transform:
    """From the frame of the camera that sees the image upright to that of the camera itself."""
    return Transform(turn_matrix(-frame.turn), np.zeros(3))


def _moved(human: Human, transform: Transform) -> Human:
    """The human's body in another frame, which does not move relative to the first one."""
    body, rotation = human.body, transform.rotation
    rotations = body.rotations
    if rotations is not None:
        rotations = rotations.copy()
        rotations[0] = rotation @ rotations[0]
    return replace(
        human,
        joint_velocities=(human.joint_velocities @ rotation.T).astype(np.float32),
        body=replace(
            body,
            joints=transform(body.joints),
            vertices=None if body.vertices is None else transform(body.vertices),
            rotations=rotations,
        ),
    )


def human_frames(
    header: Header,
    humans: Sequence[Human],
    joint_names: Sequence[str],
    *,
    with_joints: bool,
    camera: str = "",
) -> list[TransformStamped]:
    """A frame for each human, and one for each of their joints.

    `human_ID` is the pelvis in the header's frame: x to the body's left, y up, z to its front.
    `human_ID_JOINT` is a joint in `human_ID`. It is rotated as its part of the body where the
    estimator gives rotations, else as the pelvis.

    Args:
        header: the image's stamp, and the frame that `humans` are in.
        humans: each gets a frame.
        joint_names: of their joints.
        with_joints: whether to give the joints' frames too.
        camera: the camera's name, which the frames' names begin with; empty for the only one.
    """
    frames = []
    prefix = f"{camera}_" if camera else ""
    for human in humans:
        body, name = human.body, f"{prefix}human_{human.person.track_id}"
        pelvis = body.joints[joint_names.index("pelvis")].astype(np.float64)
        rotation = pelvis_rotation(body, joint_names)
        frames.append(stamped_transform(header, name, rotation, pelvis))
        if not with_joints:
            continue
        inside = Header(stamp=header.stamp, frame_id=name)
        places = (body.joints - pelvis) @ rotation
        rotations = joint_rotations(body, joint_names)
        for joint, place, joint_rotation in zip(joint_names, places, rotations, strict=True):
            if joint != "pelvis":
                frames.append(stamped_transform(inside, f"{name}_{joint}", joint_rotation, place))
    return frames


def joint_rotations(body: Body, joint_names: Sequence[str]) -> NDArray[np.float64]:
    """Each joint's rotation relative to the pelvis: (J, 3, 3), the identity where it is unknown."""
    rotations = np.tile(np.eye(3), (len(joint_names), 1, 1))
    if body.rotations is None:
        return rotations
    chain = [np.eye(3)]
    for joint in range(1, len(PARENTS)):
        chain.append(chain[PARENTS[joint]] @ body.rotations[joint])
    for i, name in enumerate(joint_names):
        if name in JOINT_NAMES:
            rotations[i] = chain[JOINT_NAMES.index(name)]
    return rotations


def stamped_transform(
    header: Header, name: str, axes: NDArray[np.float64], place: NDArray[np.floating]
) -> TransformStamped:
    """A frame from its origin (3,), metres, and axes (3, 3), as columns, in the header's frame."""
    x, y, z, w = Rotation.from_matrix(axes).as_quat().tolist()
    a, b, c = place.tolist()
    return TransformStamped(
        header=header,
        child_frame_id=name,
        transform=TransformMessage(
            translation=Vector3(x=a, y=b, z=c), rotation=Quaternion(x=x, y=y, z=z, w=w)
        ),
    )
