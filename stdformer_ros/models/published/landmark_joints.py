"""2D joints as the published networks know them, from BlazePose's landmarks.

The published image networks were trained on crops around OpenPose's or COCO's keypoints, and SGRE
is given such keypoints. BlazePose marks the same places, save for neck and pelvis, which are taken
as the middle of their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stdformer_ros.types import FloatArray

_SIDES = (("left", 0), ("right", 1))
_LEFT_LIMBS = {
    "shoulder": 11,
    "elbow": 13,
    "wrist": 15,
    "hip": 23,
    "knee": 25,
    "ankle": 27,
}
_LIMBS = {
    f"{side}_{name}": (index + k,) for name, index in _LEFT_LIMBS.items() for side, k in _SIDES
}
_FACE = {"nose": (0,), "left_eye": (2,), "right_eye": (5,), "left_ear": (7,), "right_ear": (8,)}

MARKED: dict[str, tuple[int, ...]] = {
    **_LIMBS,
    **_FACE,
    "neck": (11, 12),
    "pelvis": (23, 24),
}
"""Joints in the image: the landmarks whose mean each of them is."""

_WITNESSES: dict[str, tuple[int, ...]] = {
    **MARKED,
    "torso": (11, 12, 23, 24),
    "spine1": (23, 24),
    "spine2": (11, 12, 23, 24),
    "spine3": (11, 12),
    "left_collar": (11,),
    "right_collar": (12,),
    "left_foot": (31,),
    "right_foot": (32,),
    "left_hand": (19,),
    "right_hand": (20,),
    "head": (0, 7, 8),
    "head_top": (0, 7, 8),
}
"""Joints of the body: the landmarks near them, which tell whether they are in sight."""

KEYPOINTS: tuple[int, ...] = tuple(sorted(i for ids in (_LIMBS | _FACE).values() for i in ids))
"""COCO's 17 keypoints among the 33 landmarks: what a published crop goes around."""


def marked_joints(
    landmarks: FloatArray, visibility: FloatArray, names: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """The joints of these names in the image.

    Args:
        landmarks: (33, 2) pixels.
        visibility: (33,) 0..1.
        names: of the joints, J of them.

    Returns:
        (J, 2) pixels and (J,) visibility; both 0 for a joint that no landmark marks.
    """
    points = np.zeros((len(names), 2), np.float32)
    scores = np.zeros(len(names), np.float32)
    for row, name in enumerate(names):
        if name in MARKED:
            index = list(MARKED[name])
            points[row] = landmarks[index].mean(axis=0)
            scores[row] = visibility[index].min()
    return points, scores


def sight_of_joints(visibility: FloatArray, names: Sequence[str]) -> FloatArray:
    """How well each named joint is in sight: visibility (33,) of landmarks to (J,), 0..1.

    Raises:
        KeyError: if there is no such joint.
    """
    return np.array([visibility[list(_WITNESSES[n])].mean() for n in names], np.float32)
