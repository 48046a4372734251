"""The 2D keypoints that published networks were trained with, from BlazePose's 33 landmarks.

**OpenPose's and COCO's** keypoints: the published image networks were trained on crops around them,
and SGRE is given them. BlazePose marks the same places, except neck and pelvis, which are taken as
the middle of their neighbours.

**Human3.6M's** 17 keypoints: the networks from keypoints to a pose were trained with them.
BlazePose marks other places than Human3.6M (see `body.body_landmarks`), and no spine. Each
keypoint is a weighted sum of landmarks. The weights were fitted on the embedded body in the
training motion, in metres, to the joints of `body.body_model.h36m_joint_regressor`:

- pelvis: the middle of the hips, moved towards the middle of the shoulders;
- torso (spine): half way from the middle of the hips to that of the shoulders;
- neck (thorax): beyond the middle of the shoulders, seen from the hips;
- head: the middle of the ears, moved towards the nose;
- head_top: beyond the middle of the ears, seen from the middle of the shoulders;
- hips farther apart and higher, knees higher, ankles lower, shoulders lower and farther apart,
  wrists nearer to the elbows than the landmarks of these names; elbows as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.body.skeleton import H36M_NAMES, TOWARDS_NOSE
from stdformer_ros.types import FloatArray

LANDMARKS = 33
VIEW_SCALE = 2.0 * 1145.0 / 1000.0
"""Factor from x / z to (2 x - w) / w in Human3.6M's images, which are 1000 pixels wide with a focal
length of about 1145 pixels. The published networks were trained for that camera only, so keypoints
of any other camera are converted to where that camera would have seen them."""

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
"""For each joint that can be marked in the image: the landmarks whose mean it is."""

_NEAR: dict[str, tuple[int, ...]] = {
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
"""For each joint of the body: the landmarks near it, whose visibility the joint gets."""

KEYPOINTS: tuple[int, ...] = tuple(sorted(i for ids in (_LIMBS | _FACE).values() for i in ids))
"""The landmarks that are COCO's 17 keypoints; the published crops are squares around these."""


def marked_joints(
    landmarks: FloatArray, visibility: FloatArray, names: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """The joints with these names in the image.

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
    """The visibility of joints: (33,) of the landmarks -> (J,) of the named joints, 0..1.

    Raises:
        KeyError: if there is no such joint.
    """
    return np.array([visibility[list(_NEAR[n])].mean() for n in names], np.float32)


def _h36m_weights() -> Tensor:
    """(17, 33): each keypoint as a sum of landmarks."""
    marks = {}
    for name, landmarks in MARKED.items():
        marks[name] = torch.zeros(LANDMARKS)
        marks[name][list(landmarks)] = 1.0 / len(landmarks)
    hips, shoulders = marks["pelvis"], marks["neck"]
    ears = 0.5 * (marks["left_ear"] + marks["right_ear"])
    trunk = shoulders - hips
    rows = {
        "pelvis": hips + 0.09 * trunk,
        "torso": hips + 0.51 * trunk,
        "neck": shoulders + 0.15 * trunk,
        "head": torch.lerp(ears, marks["nose"], TOWARDS_NOSE),
        "head_top": ears + 0.57 * (ears - shoulders),
    }
    for side, other in (("left", "right"), ("right", "left")):
        hip, knee, ankle = (marks[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        shoulder, elbow, wrist = (
            marks[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist")
        )
        rows[f"{side}_hip"] = hip + 0.025 * trunk + 0.08 * (hip - marks[f"{other}_hip"])
        rows[f"{side}_knee"] = knee
        rows[f"{side}_ankle"] = ankle + 0.065 * (ankle - knee)
        rows[f"{side}_shoulder"] = (
            shoulder + 0.04 * (hip - shoulder) + 0.03 * (shoulder - marks[f"{other}_shoulder"])
        )
        rows[f"{side}_elbow"] = elbow
        rows[f"{side}_wrist"] = wrist + 0.06 * (elbow - wrist)
    return torch.stack([rows[name] for name in H36M_NAMES])


H36M_FROM_LANDMARKS = _h36m_weights()
"""(17, 33): rows sum to one, so that it can be applied to rays as well as to pixels."""


def h36m_keypoints(rays: Tensor) -> Tensor:
    """Human3.6M's keypoints, the input of a keypoint network.

    Args:
        rays: (..., 33, 2) landmarks as x / z, y / z in camera coordinates, undistorted.

    Returns:
        (..., 17, 2) as `KeypointNetwork` takes them.
    """
    return VIEW_SCALE * (H36M_FROM_LANDMARKS.to(rays) @ rays)
