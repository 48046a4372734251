"""Where the embedded body has the landmarks that the default estimator uses.

Of BlazePose's 33 landmarks 21 are used; the others (eyes, mouth, thumbs, little fingers) add
nothing about the body's pose. Limb landmarks lie near joints, the others on the skin.

BlazePose's landmarks are neither joint centres nor the outermost points of the skin. In videos of
standing and walking people, and triangulated from four views of one person, its shoulders are
higher than the joints of a body of the same height, its ankles and heels higher above the toes, its
ears and nose deeper in the head. The offsets below make these lengths agree; without them a
standing person seems to crouch and to lean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import Skeleton, load_body_arrays, skinned
from stdformer_ros.body.skeleton import JOINT_NAMES


class _Limb(NamedTuple):
    """A landmark near a joint: the joint, and an offset in metres in the frame of another joint.

    Axes are those of the rest pose (x to the body's left, y up); the right twin is mirrored.
    """

    joint: str
    frame: str
    offset: tuple[float, float, float]


_LEFT_LIMBS: tuple[tuple[str, int, _Limb], ...] = (
    ("shoulder", 11, _Limb("shoulder", "collar", (-0.007, 0.028, 0.0))),
    ("elbow", 13, _Limb("elbow", "shoulder", (0.0, 0.0, 0.0))),
    ("wrist", 15, _Limb("wrist", "elbow", (0.015, 0.0, 0.0))),
    ("index", 19, _Limb("hand", "wrist", (-0.01, 0.0, 0.0))),
    ("hip", 23, _Limb("hip", "pelvis", (-0.0145, -0.013, 0.0))),
    ("knee", 25, _Limb("knee", "hip", (0.0, 0.0, 0.0))),
    ("ankle", 27, _Limb("ankle", "knee", (0.0, 0.024, 0.0))),
)
_SIDES = ("left", "right")

_HEEL, _TOE = (0.0, 0.040, 0.009), (0.0, 0.0, -0.03)
_NOSE, _LEFT_EAR, _RIGHT_EAR = (0.0, 0.0, -0.035), (-0.02, 0.0, 0.0), (0.02, 0.0, 0.0)
_SKIN: tuple[tuple[str, int, tuple[float, float, float]], ...] = (
    ("nose", 0, _NOSE),
    ("left_ear", 7, _LEFT_EAR),
    ("left_heel", 29, _HEEL),
    ("left_foot_index", 31, _TOE),
    ("right_ear", 8, _RIGHT_EAR),
    ("right_heel", 30, _HEEL),
    ("right_foot_index", 32, _TOE),
)
"""In the order in which tools/build_body.py lists the vertices: name, BlazePose's index, and an
offset in metres from the vertex, which moves with it."""

_LIMBS = tuple(
    (f"{side}_{name}", i + k) for name, i, _ in _LEFT_LIMBS for k, side in enumerate(_SIDES)
)
_BY_INDEX = sorted([*_LIMBS, *((name, i) for name, i, _ in _SKIN)], key=lambda item: item[1])

LANDMARK_NAMES = tuple(name for name, _ in _BY_INDEX)
BLAZEPOSE_INDEX = tuple(index for _, index in _BY_INDEX)
LANDMARK_MIRROR = tuple(
    LANDMARK_NAMES.index(n.replace("left", "#").replace("right", "left").replace("#", "right"))
    for n in LANDMARK_NAMES
)
"""The landmark on the other side of the body, by index."""

LIMB_ROWS = tuple(LANDMARK_NAMES.index(name) for name, _ in _LIMBS)
"""Rows of the limb landmarks among the 21, in the order of `BodyLandmarks.limbs`."""


class BodyLandmarks(nn.Module):
    """Computes the 21 landmarks of posed bodies."""

    template: Tensor
    shapedirs: Tensor
    weights: Tensor
    offsets: Tensor

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
        limbs = [
            (_joint(side, limb.joint), _joint(side, limb.frame), (x * sign, y, z))
            for _, _, limb in _LEFT_LIMBS
            for side, sign in zip(_SIDES, (1.0, -1.0), strict=True)
            for x, y, z in [limb.offset]
        ]
        self._joints = [joint for joint, _, _ in limbs]
        self._frames = [frame for _, frame, _ in limbs]
        names = [item[0] for item in (*_LIMBS, *_SKIN)]
        self._order = [names.index(name) for name in LANDMARK_NAMES]
        for name, array in (
            ("template", data["v_template"][vertices] + np.array([o for _, _, o in _SKIN])),
            ("shapedirs", data["shapedirs"][vertices]),
            ("weights", weights),
            ("offsets", np.array([offset for _, _, offset in limbs])),
        ):
            tensor = torch.from_numpy(array.astype(np.float32))
            self.register_buffer(name, tensor, persistent=False)

    def limbs(self, global_rotations: Tensor, joints: Tensor) -> Tensor:
        """The limb landmarks (B, 14, 3) without the others, in the order of `LIMB_ROWS`, metres.

        Args:
            global_rotations: (B, 24, 3, 3).
            joints: (B, 24, 3) posed joints, metres.
        """
        offsets = (global_rotations[:, self._frames] @ self.offsets[..., None])[..., 0]
        return joints[:, self._joints] + offsets

    def forward(
        self, global_rotations: Tensor, joints: Tensor, rest_joints: Tensor, betas: Tensor
    ) -> Tensor:
        """Landmarks (B, 21, 3) in metres, in the axes and with the origin of `joints`.

        Args:
            global_rotations: (B, 24, 3, 3).
            joints: (B, 24, 3) posed joints, metres.
            rest_joints: (B, 24, 3) joints of the rest pose, metres.
            betas: (B, 10).
        """
        skeleton = Skeleton(rest_joints, global_rotations, joints)
        skin = skinned(self.weights, self.template, self.shapedirs, skeleton, betas)
        return torch.cat([self.limbs(global_rotations, joints), skin], dim=1)[:, self._order]


def _joint(side: str, name: str) -> int:
    return JOINT_NAMES.index(name if name in JOINT_NAMES else f"{side}_{name}")
