"""Human3.6M's 17 keypoints from BlazePose's 33 landmarks, as the keypoint networks read them.

The published networks know the images of Human3.6M only: 1000 pixels wide, with a focal length of
about 1145 pixels. What a camera of any other kind sees is put where that one would have seen it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stdformer_ros.body.joint_regressors import H36M_NAMES
from stdformer_ros.models.landmark_joints import MARKED

LANDMARKS = 33
VIEW_SCALE = 2.0 * 1145.0 / 1000.0
"""From x / z to (2 x - w) / w in Human3.6M's images."""

HEAD_TOP = 0.58
"""The top of the head lies beyond the ears by this part of the way from the neck to them."""


def _weights() -> Tensor:
    """(17, 33): each keypoint as a sum of landmarks."""
    rows = {}
    for name, landmarks in MARKED.items():
        rows[name] = torch.zeros(LANDMARKS)
        rows[name][list(landmarks)] = 1.0 / len(landmarks)
    rows["torso"] = 0.5 * (rows["pelvis"] + rows["neck"])
    ears = 0.5 * (rows["left_ear"] + rows["right_ear"])
    rows["head_top"] = ears + HEAD_TOP * (ears - rows["neck"])
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
