"""Joints as weighted means of the embedded body's vertices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.body.body_model import LEVELS, load_body_arrays
from stdformer_ros.body.skeleton import JOINT_NAMES

H36M_NAMES: tuple[str, ...] = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "torso", "neck", "head", "head_top", "left_shoulder", "left_elbow", "left_wrist",
    "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
"""Human3.6M's 17 joints in the order of the published regressor.

The tenth is often called nose, but the published regressor finds it inside of the head: its bones
to the neck and to the top of the head, 121 and 115 mm of a subject whose neck and top are not much
farther apart, leave it no way out to the tip of the nose.
"""

TOWARDS_NOSE = 0.2
"""Where between the ears and the tip of the nose Human3.6M's joint in the head lies."""

EVALUATION_ORDER: tuple[int, ...] = (3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10)
"""The 14 joints on which systems are compared, among the 17."""


def smpl_joint_regressor() -> NDArray[np.float32]:
    """(24, 6890): our 24 joints; non-negative, rows sum to one, on the 431 coarse vertices."""
    data = load_body_arrays()
    regressor = np.zeros((len(JOINT_NAMES), LEVELS[0]), np.float32)
    regressor[:, data["index_431"].astype(np.int64)] = data["joint_regressor_431"]
    return regressor


def h36m_joint_regressor() -> NDArray[np.float32]:
    """(17, 6890): Human3.6M's joints by our own definition, not fitted to its markers.

    Limbs, neck and pelvis are our joints; the torso is the middle of the lower and the upper spine
    joint, the head is the middle of the ears moved by `TOWARDS_NOSE` of the way to the nose, the
    top of the head is a vertex.
    """
    data = load_body_arrays()
    joints = smpl_joint_regressor()
    rows = {name: joints[JOINT_NAMES.index(name)] for name in H36M_NAMES if name in JOINT_NAMES}
    rows["torso"] = 0.5 * sum(joints[JOINT_NAMES.index(n)] for n in ("spine1", "spine3"))
    nose, left_ear, _, _, right_ear = data["landmark_vertices"][:5].astype(np.int64)
    aside = 0.5 * (1.0 - TOWARDS_NOSE)
    rows["head"] = _mean({nose: TOWARDS_NOSE, left_ear: aside, right_ear: aside})
    rows["head_top"] = _mean({data["v_template"][:, 1].argmax(): 1.0})
    return np.stack([rows[name] for name in H36M_NAMES]).astype(np.float32)


def _mean(weights: dict[np.int64, float]) -> NDArray[np.float32]:
    """(6890,) zero but for some vertices."""
    row = np.zeros(LEVELS[0], np.float32)
    row[list(weights)] = list(weights.values())
    return row
