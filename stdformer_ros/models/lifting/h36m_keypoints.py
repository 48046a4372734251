"""Human3.6M's 17 keypoints from BlazePose's 33 landmarks, as the keypoint networks read them.

The published networks know the images of Human3.6M only: 1000 pixels wide, with a focal length of
about 1145 pixels. What a camera of any other kind sees is put where that one would have seen it.

BlazePose marks other places than Human3.6M (see `body.landmarks` for which), and no spine. Each
keypoint is a sum of landmarks whose weights were fitted on the embedded body in the training
motion, in metres, to the joints of `body.joint_regressors.h36m_joint_regressor`:

- pelvis: the middle of the hips, moved towards the middle of the shoulders;
- torso (spine): half way from the middle of the hips to that of the shoulders;
- neck (thorax): beyond the middle of the shoulders, seen from the hips;
- head: the middle of the ears, moved towards the nose;
- head_top: beyond the middle of the ears, seen from the middle of the shoulders;
- hips farther apart and higher, knees higher, ankles lower, shoulders lower and farther apart,
  wrists nearer to the elbows than the landmarks of these names; elbows as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stdformer_ros.body.joint_regressors import H36M_NAMES, TOWARDS_NOSE
from stdformer_ros.models.published.landmark_joints import MARKED

LANDMARKS = 33
VIEW_SCALE = 2.0 * 1145.0 / 1000.0
"""From x / z to (2 x - w) / w in Human3.6M's images."""


def _weights() -> Tensor:
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


H36M_FROM_LANDMARKS = _weights()
"""(17, 33): rows sum to one, so that it may be applied to rays and to pixels alike."""


def h36m_keypoints(rays: Tensor) -> Tensor:
    """What a keypoint network is given.

    Args:
        rays: (..., 33, 2) landmarks as x / z, y / z in camera coordinates, undistorted.

    Returns:
        (..., 17, 2) as `KeypointNetwork` wants them.
    """
    return VIEW_SCALE * (H36M_FROM_LANDMARKS.to(rays) @ rays)
