"""The embedded body: SMPL's structure (24 joints, 10 betas, 6890 vertices) on free data.

The arrays in `assets/body.npz` are made by `tools/build_body.py`. Axes of the rest pose: x to the
body's left, y up, z to the front; metres; the pelvis is the origin. There is no vertex
correspondence with SMPL, so weights trained on one body mean nothing on the other.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.assets import asset
from stdformer_ros.body.skeleton import PARENTS

LEVELS = (6890, 1723, 431, 108)
"""Vertices of each mesh level. The levels are nested: each is a subset of the one before."""


class BodyModel(nn.Module):
    """Linear blend skinning of the embedded body at one mesh level.

    Args:
        level: number of vertices, one of `LEVELS`.

    Raises:
        ValueError: if there is no such level.
        AssetError: if the asset is missing or damaged.
    """

    template: Tensor
    shapedirs: Tensor
    weights: Tensor
    joints_template: Tensor
    joints_shapedirs: Tensor

    def __init__(self, level: int = 6890) -> None:
        super().__init__()
        if level not in LEVELS:
            raise ValueError(f"the body has meshes of {LEVELS} vertices, not {level}")
        data = load_body_arrays()
        self.level = level
        index = level_index(data, level)
        self.faces = data[f"faces_{level}"].astype(np.int32)
        weights = np.zeros((len(data["v_template"]), len(PARENTS)), np.float32)
        np.put_along_axis(
            weights, data["weights_index"].astype(np.int64), data["weights_value"], axis=1
        )
        for name, array in (
            ("template", data["v_template"][index]),
            ("shapedirs", data["shapedirs"][index]),
            ("weights", weights[index]),
            ("joints_template", data["joints_template"]),
            ("joints_shapedirs", data["joints_shapedirs"]),
        ):
            tensor = torch.from_numpy(array.astype(np.float32))
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Pose the body.

        Args:
            rotations: (B, 24, 3, 3), the pelvis' in the world, the others relative to the parent.
            betas: (B, 10), unit variance over adults.

        Returns:
            Vertices (B, level, 3) and joints (B, 24, 3) in metres, the pelvis at the origin.
        """
        rest_joints = self.joints_template + torch.einsum(
            "jck,bk->bjc", self.joints_shapedirs, betas
        )
        turns, joints = forward_kinematics(rotations, rest_joints)
        rest = self.template + torch.einsum("vck,bk->bvc", self.shapedirs, betas)
        shift = joints - torch.einsum("bjcd,bjd->bjc", turns, rest_joints)
        transforms = torch.cat([turns, shift[..., None]], dim=-1).flatten(2)  # (B, 24, 12)
        blended = (self.weights @ transforms).unflatten(-1, (3, 4))  # (B, V, 3, 4)
        vertices = (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]
        return vertices, joints


def forward_kinematics(rotations: Tensor, rest_joints: Tensor) -> tuple[Tensor, Tensor]:
    """Global rotations (B, 24, 3, 3) and joints (B, 24, 3) with the pelvis at the origin.

    Args:
        rotations: (B, 24, 3, 3) relative to the parents.
        rest_joints: (B, 24, 3) joints of the rest pose, metres.
    """
    turns = [rotations[:, 0]]
    joints = [torch.zeros_like(rest_joints[:, 0])]
    for joint in range(1, len(PARENTS)):
        parent = PARENTS[joint]
        offset = rest_joints[:, joint] - rest_joints[:, parent]
        turns.append(turns[parent] @ rotations[:, joint])
        joints.append(joints[parent] + (turns[parent] @ offset[..., None])[..., 0])
    return torch.stack(turns, dim=1), torch.stack(joints, dim=1)


def load_body_arrays() -> dict[str, np.ndarray]:
    """The arrays of `assets/body.npz` by name."""
    with np.load(asset("body.npz"), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def level_index(data: dict[str, np.ndarray], level: int) -> np.ndarray:
    """(level,) indices of a level's vertices in the 6890."""
    if level == LEVELS[0]:
        return np.arange(level)
    return data[f"index_{level}"].astype(np.int64)
