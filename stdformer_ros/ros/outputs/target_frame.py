"""Humans in another frame than the camera's, and as frames of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from stdformer_ros.body.skeleton import JOINT_NAMES, PARENTS
from stdformer_ros.ros.inputs import transform_buffer
from stdformer_ros.ros.inputs.intake import nanoseconds
from stdformer_ros.ros.outputs.messages import pelvis_rotation
from stdformer_ros.types import Body, Human

MOTION_SECONDS = 0.1
"""A camera's own motion is measured over so long."""


@dataclass(frozen=True)
class Placement:
    """Where the camera is in the frame that results are wanted in.

    Attributes:
        now: from the camera to the frame, at the image's time.
        before: the same, MOTION_SECONDS earlier; equal to `now` where that is not known.
    """

    now: transform_buffer.Transform
    before: transform_buffer.Transform

    def __call__(self, human: Human) -> Human:
        """The human in that frame. Velocities are relative to it: the camera's own are added."""
        body, turn = human.body, self.now.rotation
        joints = self.now(body.joints)
        carried = (joints - self.before(body.joints)) / MOTION_SECONDS
        rotations = body.rotations
        if rotations is not None:
            rotations = rotations.copy()
            rotations[0] = turn @ rotations[0]
        return replace(
            human,
            joint_velocities=(human.joint_velocities @ turn.T + carried).astype(np.float32),
            body=replace(
                body,
                joints=joints,
                vertices=None if body.vertices is None else self.now(body.vertices),
                rotations=rotations,
            ),
        )


def placement(
    buffer: transform_buffer.TransformBuffer, target_frame: str, header: Header
) -> Placement:
    """Where the camera of an image was in a frame.

    Raises:
        TransformError: if that is not known.
    """
    stamp = nanoseconds(header.stamp)
    now = buffer.lookup(target_frame, header.frame_id, stamp)
    try:
        earlier = stamp - int(1e9 * MOTION_SECONDS)
        before = buffer.lookup(target_frame, header.frame_id, earlier)
    except transform_buffer.TransformError:
        before = now
    return Placement(now, before)


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
    `human_ID_JOINT` is a joint in `human_ID`, turned as its part of the body is where the estimator
    gives rotations, else as the pelvis.

    Args:
        header: of the image, or in the frame that `humans` are in.
        humans: whose frames.
        joint_names: of their joints.
        with_joints: whether to give the joints' frames too.
        camera: goes before the names where there are several.
    """
    frames = []
    prefix = f"{camera}_" if camera else ""
    for human in humans:
        body, name = human.body, f"{prefix}human_{human.person.track_id}"
        pelvis = body.joints[joint_names.index("pelvis")].astype(np.float64)
        turn = pelvis_rotation(body, joint_names)
        frames.append(stamped_transform(header, name, turn, pelvis))
        if not with_joints:
            continue
        inside = Header(stamp=header.stamp, frame_id=name)
        places = (body.joints - pelvis) @ turn
        turns = joint_rotations(body, joint_names)
        for joint, place, joint_turn in zip(joint_names, places, turns, strict=True):
            if joint != "pelvis":
                frames.append(stamped_transform(inside, f"{name}_{joint}", joint_turn, place))
    return frames


def joint_rotations(body: Body, joint_names: Sequence[str]) -> NDArray[np.float64]:
    """How each joint is turned in the pelvis: (J, 3, 3), the identity where that is not known."""
    turns = np.tile(np.eye(3), (len(joint_names), 1, 1))
    if body.rotations is None:
        return turns
    chain = [np.eye(3)]
    for joint in range(1, len(PARENTS)):
        chain.append(chain[PARENTS[joint]] @ body.rotations[joint])
    for i, name in enumerate(joint_names):
        if name in JOINT_NAMES:
            turns[i] = chain[JOINT_NAMES.index(name)]
    return turns


def stamped_transform(
    header: Header, name: str, turn: NDArray[np.float64], place: NDArray[np.floating]
) -> TransformStamped:
    """A frame's place (3,) and axes (3, 3), as columns, in the header's frame."""
    x, y, z, w = Rotation.from_matrix(turn).as_quat().tolist()
    a, b, c = place.tolist()
    return TransformStamped(
        header=header,
        child_frame_id=name,
        transform=Transform(
            translation=Vector3(x=a, y=b, z=c), rotation=Quaternion(x=x, y=y, z=z, w=w)
        ),
    )
