"""The baseline of `cli evaluate --motion`: landmarks that are lifted to 3D by true bone lengths.

The baseline is given what no detector knows: the true depth of the pelvis; the true length of every
bone; for each joint, which of the two points on its ray is the right one, since two points are at
the bone's length from the parent; and landmarks that mark the centres of joints. The remaining
errors are the detector's faults, enlarged by foreshortening.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES

Array = NDArray[np.float64]

_SIDES = ("left", "right")
MARKS: dict[str, tuple[str, ...]] = {
    "pelvis": ("left_hip", "right_hip"),
    "neck": ("left_shoulder", "right_shoulder"),
    "head": ("left_ear", "right_ear"),
    **{
        f"{side}_{name}": (f"{side}_{name}",)
        for side in _SIDES
        for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    },
}
"""The landmarks of each joint; the mean of their faults is the fault of the joint."""

_BONES = (
    ("pelvis", "neck"),
    ("neck", "head"),
    *((parent, f"{side}_{child}") for side in _SIDES for parent, child in (
        ("pelvis", "hip"), ("neck", "shoulder"),
    )),
    *((f"{side}_{parent}", f"{side}_{child}") for side in _SIDES for parent, child in (
        ("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"),
    )),
)  # fmt: skip
"""Parent and child; a bone comes after the bone to its parent."""


def lift(joints: Array, names: tuple[str, ...], faults: Array) -> Array:
    """Lift disturbed landmarks to a skeleton.

    Each joint lies on the ray through its disturbed landmarks, at the bone's length from its
    parent; of the two points that fulfil this, the one on the true side is taken. A bone that is
    too short to reach the ray points to the ray's nearest point.

    Args:
        joints: (N, J, 3) the true joints, metres, camera frame.
        names: of the joints: the pelvis and the 14 of `errors.JOINTS`, in any order.
        faults: (N, 21, 2) errors of the landmarks, as x/z and y/z.

    Returns:
        (N, J, 3) in the same order.
    """
    true_rays = joints / joints[..., 2:]
    rays = true_rays.copy()
    for joint, name in enumerate(names):
        marks = [LANDMARK_NAMES.index(mark) for mark in MARKS[name]]
        rays[:, joint, :2] += faults[:, marks].mean(axis=1)
    lifted = np.zeros_like(joints)
    root = names.index("pelvis")
    lifted[:, root] = rays[:, root] * joints[:, root, 2:]
    for parent_name, child_name in _BONES:
        parent, child = names.index(parent_name), names.index(child_name)
        length = np.linalg.norm(joints[:, child] - joints[:, parent], axis=1)
        beyond = joints[:, child, 2] > _nearest(joints[:, parent], true_rays[:, child])
        lifted[:, child] = _reach(lifted[:, parent], rays[:, child], length, beyond)
    return lifted


def _nearest(start: Array, ray: Array) -> Array:
    """(N,) depths at which rays (N, 3) with z = 1 are nearest to points (N, 3)."""
    return np.asarray((start * ray).sum(axis=1) / (ray**2).sum(axis=1))


def _reach(start: Array, ray: Array, length: Array, beyond: NDArray[np.bool_]) -> Array:
    """The ends (N, 3) of bones with lengths (N,) from `start` (N, 3), on or towards rays (N, 3).

    `beyond` (N,): whether a bone ends behind that point of the ray that is nearest to `start`.
    """
    square = (ray**2).sum(axis=1)
    nearest = _nearest(start, ray)
    apart = (start**2).sum(axis=1) - nearest**2 * square
    half_chord = np.sqrt(np.maximum(length**2 - apart, 0.0) / square)
    depth = np.where(beyond, nearest + half_chord, nearest - half_chord)
    step = depth[:, None] * ray - start
    reach = np.maximum(np.linalg.norm(step, axis=1), 1e-9)
    return np.asarray(start + np.minimum(length / reach, 1.0)[:, None] * step)
