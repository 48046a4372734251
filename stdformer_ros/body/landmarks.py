"""The landmarks that the default estimator reads, as places on the embedded body.

Of BlazePose's 33 landmarks 21 are used; the rest (eyes, mouth, thumbs, little fingers) say nothing
more about the body's pose. Limb landmarks are joints, the others are places on the skin.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import load_body_arrays
from stdformer_ros.body.skeleton import JOINT_NAMES

# name, index among BlazePose's 33, joint of the body or None for a place on the skin
_LANDMARKS: tuple[tuple[str, int, str | None], ...] = (
    ("nose", 0, None),
    ("left_ear", 7, None),
    ("right_ear", 8, None),
    ("left_shoulder", 11, "left_shoulder"),
    ("right_shoulder", 12, "right_shoulder"),
    ("left_elbow", 13, "left_elbow"),
    ("right_elbow", 14, "right_elbow"),
    ("left_wrist", 15, "left_wrist"),
    ("right_wrist", 16, "right_wrist"),
    ("left_index", 19, "left_hand"),
    ("right_index", 20, "right_hand"),
    ("left_hip", 23, "left_hip"),
    ("right_hip", 24, "right_hip"),
    ("left_knee", 25, "left_knee"),
    ("right_knee", 26, "right_knee"),
    ("left_ankle", 27, "left_ankle"),
    ("right_ankle", 28, "right_ankle"),
    ("left_heel", 29, None),
    ("right_heel", 30, None),
    ("left_foot_index", 31, None),
    ("right_foot_index", 32, None),
)

LANDMARK_NAMES = tuple(name for name, _, _ in _LANDMARKS)
BLAZEPOSE_INDEX = tuple(index for _, index, _ in _LANDMARKS)
LANDMARK_JOINTS: tuple[tuple[int, int], ...] = tuple(
    (row, JOINT_NAMES.index(joint)) for row, (_, _, joint) in enumerate(_LANDMARKS) if joint
)
"""Landmarks that are joints: their row among the 21 and the joint."""

LANDMARK_MIRROR = tuple(
    LANDMARK_NAMES.index(n.replace("left", "#").replace("right", "left").replace("#", "right"))
    for n in LANDMARK_NAMES
)
"""The landmark on the other side of the body, by index."""

# the order in which tools/build_body.py lists the places on the skin
_SKIN = (
    "nose", "left_ear", "left_heel", "left_foot_index", "right_ear", "right_heel",
    "right_foot_index",
)  # fmt: skip


class BodyLandmarks(nn.Module):
    """The 21 landmarks of posed bodies."""

    template: Tensor
    shapedirs: Tensor
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        data = load_body_arrays()
        vertices = data["landmark_vertices"].astype(np.int64)
        weights = np.zeros((len(vertices), len(JOINT_NAMES)), np.float32)
        np.put_along_axis(
            weights,
            data["weights_index"][vertices].astype(np.int64),
            data["weights_value"][vertices].astype(np.float32),
            axis=1,
        )
        self.register_buffer(
            "template", torch.from_numpy(data["v_template"][vertices]), persistent=False
        )
        self.register_buffer(
            "shapedirs",
            torch.from_numpy(data["shapedirs"][vertices].astype(np.float32)),
            persistent=False,
        )
        self.register_buffer("weights", torch.from_numpy(weights), persistent=False)
        self._source = [
            JOINT_NAMES.index(joint) if joint else len(JOINT_NAMES) + _SKIN.index(name)
            for name, _, joint in _LANDMARKS
        ]

    def forward(self, turns: Tensor, joints: Tensor, rest_joints: Tensor, betas: Tensor) -> Tensor:
        """Landmarks (B, 21, 3) in metres.

        Args:
            turns: (B, 24, 3, 3) global rotations.
            joints: (B, 24, 3) posed joints.
            rest_joints: (B, 24, 3) joints of the rest pose.
            betas: (B, 10).
        """
        rest = self.template + torch.einsum("vck,bk->bvc", self.shapedirs, betas)
        shift = joints - torch.einsum("bjcd,bjd->bjc", turns, rest_joints)
        transforms = torch.cat([turns, shift[..., None]], dim=-1).flatten(2)
        blended = (self.weights @ transforms).unflatten(-1, (3, 4))
        skin = (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]
        return torch.cat([joints, skin], dim=1)[:, self._source]
