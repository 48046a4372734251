"""The embedded body: SMPL's structure (24 joints, 10 betas, 6890 vertices) on free data.

The arrays in `assets/body.npz` are made by `tools/build_body.py`. Axes of the rest pose: x to the
body's left, y up, z to the front; metres; the pelvis is the origin. There is no vertex
correspondence with SMPL, so weights trained on one body mean nothing on the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.assets import asset
from stdformer_ros.body.skeleton import PARENTS

LEVELS = (6890, 1723, 431, 108)
"""Vertices of each mesh level. The levels are nested: each is a subset of the one before."""


class Skeleton(NamedTuple):
    """Where a body's joints are, in rest and posed.

    Attributes:
        rest: (B, 24, 3) joints of the rest pose, metres.
        turns: (B, 24, 3, 3) global rotations.
        joints: (B, 24, 3) posed joints, metres, the pelvis at the origin.
    """

    rest: Tensor
    turns: Tensor
    joints: Tensor

    @property
    def transforms(self) -> Tensor:
        """(B, 24, 12): the maps (3, 4) by which the joints carry what rests around them."""
        shift = self.joints - (self.turns @ self.rest[..., None])[..., 0]
        return torch.cat([self.turns, shift[..., None]], dim=-1).flatten(2)


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
        skeleton = self.skeleton(rotations, betas)
        return self.skin(skeleton, betas), skeleton.joints

    def skeleton(self, rotations: Tensor, betas: Tensor) -> Skeleton:
        """The joints alone, see `forward`."""
        rest = self.joints_template + torch.einsum("jck,bk->bjc", self.joints_shapedirs, betas)
        return Skeleton(rest, *forward_kinematics(rotations, rest))

    def skin(self, skeleton: Skeleton, betas: Tensor) -> Tensor:
        """The vertices (B, level, 3) around a skeleton of the same betas."""
        return skinned(self.weights, self.template, self.shapedirs, skeleton, betas)


def skinned(
    weights: Tensor, template: Tensor, shapedirs: Tensor, skeleton: Skeleton, betas: Tensor
) -> Tensor:
    """Points (B, N, 3) that move with a skeleton.

    Args:
        weights: (N, 24), how much each joint carries each point.
        template: (N, 3) metres, where the points of the average body rest.
        shapedirs: (N, 3, 10), how they move with the betas.
        skeleton: of the body.
        betas: (B, 10).
    """
    rest = template + torch.einsum("vck,bk->bvc", shapedirs, betas)
    blended = (weights @ skeleton.transforms).unflatten(-1, (3, 4))  # (B, N, 3, 4)
    return (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]


def _generations() -> tuple[tuple[slice, slice | list[int]], ...]:
    """Joints equally many bones below the pelvis, which SMPL's order has side by side: where they
    are, and where their parents are in the generation before.
    """
    generations, before = [], [0]
    while children := [joint for joint, parent in enumerate(PARENTS) if parent in before]:
        parents = [before.index(PARENTS[joint]) for joint in children]
        if len(set(parents)) == 1 or parents == list(range(parents[0], parents[-1] + 1)):
            places: slice | list[int] = slice(parents[0], parents[-1] + 1)
        else:
            places = parents
        generations.append((slice(children[0], children[-1] + 1), places))
        before = children
    return tuple(generations)


_GENERATIONS = _generations()


def forward_kinematics(rotations: Tensor, rest_joints: Tensor) -> tuple[Tensor, Tensor]:
    """Global rotations (B, 24, 3, 3) and joints (B, 24, 3) with the pelvis at the origin.

    A generation of joints at once: with so few numbers, time is the number of operations.

    Args:
        rotations: (B, 24, 3, 3) relative to the parents.
        rest_joints: (B, 24, 3) joints of the rest pose, metres.
    """
    bones = rest_joints - rest_joints[:, list(PARENTS)]  # the first is none
    local = torch.cat([rotations, bones[..., None]], dim=-1)  # (B, 24, 3, 4)
    newest = torch.cat([rotations[:, :1], torch.zeros_like(bones[:, :1, :, None])], dim=-1)
    posed = [newest]
    for joints, parents in _GENERATIONS:
        parent = newest[:, parents]
        moved = parent[..., :3] @ local[:, joints]
        newest = torch.cat([moved[..., :3], moved[..., 3:] + parent[..., 3:]], dim=-1)
        posed.append(newest)
    everybody = torch.cat(posed, dim=1)
    return everybody[..., :3], everybody[..., 3]


def load_body_arrays() -> dict[str, np.ndarray]:
    """The arrays of `assets/body.npz` by name."""
    with np.load(asset("body.npz"), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def level_index(data: dict[str, np.ndarray], level: int) -> np.ndarray:
    """(level,) indices of a level's vertices in the 6890."""
    if level == LEVELS[0]:
        return np.arange(level)
    return data[f"index_{level}"].astype(np.int64)


def places_in(level: int, coarse: int) -> Tensor:
    """(coarse,) where the vertices of a coarser level are among those of a level."""
    data = load_body_arrays()
    place = {int(vertex): i for i, vertex in enumerate(level_index(data, level))}
    places = [place[int(vertex)] for vertex in level_index(data, coarse)]
    return torch.from_numpy(np.array(places))
