"""Retarget the motion of a BVH skeleton to the embedded body.

Each joint of the body takes the global rotation of its source joint, corrected by the rotation
between the directions of the bones in the two rest poses. The limbs then have the same directions
as those of the source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stdformer_ros.body.body_model import load_body_arrays
from stdformer_ros.body.skeleton import JOINT_NAMES, PARENTS
from stdformer_ros.training.people.bvh import Motion

_TRUNK = {"pelvis": "hip", "spine2": "abdomen", "spine3": "chest", "neck": "neck", "head": "head"}
_LIMBS = {  # joint of the body: (child that defines its direction, source joint, source's child)
    f"{word}_{joint}": (f"{word}_{child}", letter + source, letter + source_child)
    for word, letter in (("left", "l"), ("right", "r"))
    for joint, child, source, source_child in (
        ("hip", "knee", "Thigh", "Shin"),
        ("knee", "ankle", "Shin", "Foot"),
        ("ankle", "foot", "Foot", "Foot_end"),
        ("shoulder", "elbow", "Shldr", "ForeArm"),
        ("elbow", "wrist", "ForeArm", "Hand"),
        ("wrist", "hand", "Hand", "Mid1"),
    )
}
_STRAIGHT = {
    letter + bone: letter + "ForeArm" for letter in ("l", "r") for bone in ("Hand", "Mid1")
}
"""Forearms and hands, whose rest direction counts as that of the upper arm."""
_COLLARS = {"left_collar": "lCollar", "right_collar": "rCollar"}


@dataclass(frozen=True)
class BodyMotion:
    """A clip of the embedded body, N frames.

    Attributes:
        quaternions: (N, 24, 4) float32 (x, y, z, w), the pelvis' in the world (y up), the others
            relative to their parents.
        root: (N, 3) float32, position of the pelvis in the world, metres.
        frame_time: seconds between frames.
    """

    quaternions: NDArray[np.float32]
    root: NDArray[np.float32]
    frame_time: float


def retarget(motion: Motion, *, straight_arms: bool = False) -> BodyMotion:
    """The motion of the source skeleton on the embedded body.

    The first frame is left out if it is the binding pose, which exporters insert there and in which
    the person never was.

    Args:
        motion: of the CMU skeleton.
        straight_arms: The Daz skeleton is drawn with forearms and hands bent forward by 17 to 27
            degrees, but its angles are counted from straight arms. True counts them so, which is
            right. False counts them from the drawing, so that every arm is bent too much: the
            weights and the errors of this version were made with it, and change together with it.

    Raises:
        ValueError: if a joint of the CMU skeleton (Daz names) is missing, or a limb has no length
            or a rest direction that is far from ours.
    """
    needed = {*_TRUNK.values(), *_COLLARS.values()} | {
        s for _, a, b in _LIMBS.values() for s in (a, b)
    }
    missing = sorted(needed - set(motion.names))
    if missing:
        raise ValueError(f"the skeleton lacks {', '.join(missing[:5])}; CMU's Daz names are needed")
    start = 1 if len(motion.rotations) > 1 and _is_binding_pose(motion) else 0
    world = _source_rotations(motion)[start:]
    source = {name: world[:, i] for i, name in enumerate(motion.names)}
    global_rotations = np.zeros((len(world), len(JOINT_NAMES), 3, 3))
    corrections = _corrections(motion, straight_arms)
    for joint, name in enumerate(JOINT_NAMES):
        if name in _TRUNK:
            global_rotations[:, joint] = source[_TRUNK[name]]
        elif name in _COLLARS:
            global_rotations[:, joint] = source[_COLLARS[name]]
        elif name in _LIMBS:
            global_rotations[:, joint] = source[_LIMBS[name][1]] @ corrections[name]
        else:  # toes and knuckles have no source: they move with the foot and the hand
            global_rotations[:, joint] = global_rotations[:, PARENTS[joint]]
    global_rotations[:, JOINT_NAMES.index("spine1")] = _halfway(source["hip"], source["abdomen"])

    local = global_rotations.copy()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            local[:, joint] = (
                np.swapaxes(global_rotations[:, parent], 1, 2) @ global_rotations[:, joint]
            )
    quaternions = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_quat()
    return BodyMotion(
        quaternions.reshape(*local.shape[:2], 4).astype(np.float32),
        (motion.root[start:] * _metres_per_unit(motion)).astype(np.float32),
        motion.frame_time,
    )


def _is_binding_pose(motion: Motion) -> bool:
    """Whether the first frame has straight legs and is far from the second."""
    knees = [motion.names.index(n) for n in ("lShin", "rShin")]
    bend = Rotation.from_matrix(motion.rotations[0, knees]).magnitude()
    jump = Rotation.from_matrix(
        np.swapaxes(motion.rotations[0], 1, 2) @ motion.rotations[1]
    ).magnitude()
    return bool((bend < 0.2).all() and jump.max() > 0.5)


def _source_rotations(motion: Motion) -> NDArray[np.float64]:
    """(N, J, 3, 3) of the source's joints in the world."""
    world = motion.rotations.copy()
    for joint, parent in enumerate(motion.parents):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ motion.rotations[:, joint]
    return world


def _corrections(motion: Motion, straight_arms: bool) -> dict[str, NDArray[np.float64]]:
    """For each limb joint, the rotation from our rest direction to the source's."""
    rest = load_body_arrays()["joints_template"]
    result = {}
    for name, (child, _, source_child) in _LIMBS.items():
        ours = rest[JOINT_NAMES.index(child)] - rest[JOINT_NAMES.index(name)]
        drawn_along = _STRAIGHT.get(source_child, source_child) if straight_arms else source_child
        theirs = motion.offsets[motion.names.index(drawn_along)]
        if not np.linalg.norm(theirs) > 0 or ours @ theirs < 0:
            raise ValueError(
                f"the bone to {source_child} has the offset {theirs.tolist()}; it must have a "
                f"length and point roughly like our {name}, to {ours.round(2).tolist()}"
            )
        result[name] = _align(ours, theirs)
    return result


def _align(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rotation that turns direction `a` (3,) into direction `b` (3,)."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return np.eye(3)
    angle = np.arctan2(sine, float(a @ b))
    return np.asarray(Rotation.from_rotvec(axis / sine * angle).as_matrix())


def _halfway(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation halfway from `a` to `b` (N, 3, 3): the lower spine takes half of the bend."""
    step = Rotation.from_matrix(np.swapaxes(a, 1, 2) @ b).as_rotvec()
    return np.asarray(a @ Rotation.from_rotvec(0.5 * step).as_matrix())


def _metres_per_unit(motion: Motion) -> float:
    """The scale that makes the source's leg as long as ours."""
    rest = load_body_arrays()["joints_template"]
    hip, knee, ankle = (JOINT_NAMES.index(f"left_{n}") for n in ("hip", "knee", "ankle"))
    ours = np.linalg.norm(rest[knee] - rest[hip]) + np.linalg.norm(rest[ankle] - rest[knee])
    theirs = sum(np.linalg.norm(motion.offsets[motion.names.index(n)]) for n in ("lShin", "lFoot"))
    return float(ours / theirs)
