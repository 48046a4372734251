"""People as REP-155 describes bodies: identifiers, the 2D skeleton, and angles of its human URDF.

REP-155, "Conventions, Topics, Interfaces for Perception in Human-Robot Interaction"; the joints and
their axes are those of ros4hri's human_description. Links have x ahead, y to the left and z up; a
limb points down its z at rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import acos, asin, atan2, pi

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.types import FloatArray, Person

Vector = NDArray[np.float64]

SKELETON: tuple[tuple[int, ...], ...] = (
    *((0,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,), (24,), (26,), (28,)),
    *((23,), (25,), (27,), (2,), (5,), (7,), (8,)),
)
"""Which BlazePose landmarks the 18 points of hri_msgs/Skeleton2D lie amid: nose, neck, right
shoulder, elbow, wrist, left ones, right hip, knee, ankle, left ones, eyes, ears."""

STRAIGHT = 0.15
"""Sine of the angle below which a knee is straight, so that it does not say where it points."""


def body_id(track_id: int) -> str:
    """A name for a person that can be part of a topic, which may not begin with a digit."""
    return f"b{track_id:04d}"


def skeleton_2d(person: Person, camera: Camera) -> FloatArray:
    """The 18 points of hri_msgs/Skeleton2D.

    Returns:
        (18, 3) x and y as parts of the image's width and height, 0..1, and confidence; it is 0 for
        points outside the image, which are put on its border.
    """
    size = np.array([camera.width, camera.height], np.float32)
    points = np.zeros((len(SKELETON), 3), np.float32)
    for point, landmarks in zip(points, SKELETON, strict=True):
        rows = list(landmarks)
        # Pixels have their origin at the centre of the first one, the image begins at its corner.
        place = (person.landmarks[rows].mean(axis=0) + 0.5) / size
        inside = bool(np.all((place >= 0.0) & (place <= 1.0)))
        point[:2] = place.clip(0.0, 1.0)
        point[2] = person.visibility[rows].min() if inside else 0.0
    return points


def joint_angles(
    joints: FloatArray, joint_names: Sequence[str], pelvis: NDArray[np.float64]
) -> dict[str, float]:
    """Angles of the human URDF whose limbs point where these do.

    Args:
        joints: (J, 3) in any frame.
        joint_names: of them; hips, knees, ankles, shoulders, elbows, wrists, pelvis and neck.
        pelvis: (3, 3) columns to the body's left, up its spine and to its front, in that frame.

    Returns:
        Radians by joint, without the body's identifier: waist, and l_ and r_ of y_shoulder,
        p_shoulder, r_shoulder, elbow, y_hip, p_hip, r_hip and knee. The head's are not known.
    """
    body = pelvis[:, [2, 0, 1]]
    by_name = dict(zip(joint_names, joints.astype(np.float64), strict=True))

    def along(start: str, end: str) -> Vector:
        vector = (by_name[end] - by_name[start]) @ body
        length = float(np.linalg.norm(vector))
        return vector / length if length > 1e-6 else np.array([0.0, 0.0, -1.0])

    spine = along("pelvis", "neck")
    angles = {"waist": atan2(spine[0], spine[2])}
    torso = _about("y", angles["waist"])
    for side, prefix, sign in (("left", "l", 1.0), ("right", "r", -1.0)):
        upper, lower = (
            along(f"{side}_shoulder", f"{side}_elbow") @ torso,
            along(f"{side}_elbow", f"{side}_wrist") @ torso,
        )
        angles |= _arm(prefix, sign, upper, lower)
        thigh, shin = along(f"{side}_hip", f"{side}_knee"), along(f"{side}_knee", f"{side}_ankle")
        angles |= _leg(prefix, sign, thigh, shin)
    return angles


def _arm(prefix: str, sign: float, upper: Vector, lower: Vector) -> dict[str, float]:
    """Yaw and pitch turn the upper arm, roll about it points the elbow, which bends."""
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


def _leg(prefix: str, sign: float, thigh: Vector, shin: Vector) -> dict[str, float]:
    """Yaw and pitch turn the plane in which the leg swings (roll) and the knee bends back."""
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
    """The rotation matrix about an axis."""
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    turn = np.eye(3)
    turn[j, j] = turn[k, k] = np.cos(angle)
    turn[k, j], turn[j, k] = np.sin(angle), -np.sin(angle)
    return turn
