"""The embedded body: SMPL's structure (24 joints, 10 betas, 6890 vertices) made of free data.

`tools/build_body.py` makes the arrays in `assets/body.npz`. Axes of the rest pose: x to the body's
left, y up, z to the front; metres; the pelvis is the origin. Its vertices do not correspond to
SMPL's, so weights that were trained on one body are useless on the other.

Order: the mesh and its skinning (`BodyModel`), forward kinematics, the arrays of the asset, and
joints regressed from vertices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stdformer_ros.assets import asset
from stdformer_ros.body.skeleton import H36M_NAMES, JOINT_NAMES, PARENTS, TOWARDS_NOSE

LEVELS = (6890, 1723, 431, 108)
"""Number of vertices of each mesh level. Each level is a subset of the one before."""


class Skeleton(NamedTuple):
    """The joints of bodies, at rest and posed.

    Attributes:
        rest: (B, 24, 3) joints of the rest pose, metres.
        global_rotations: (B, 24, 3, 3).
        joints: (B, 24, 3) posed joints, metres, the pelvis at the origin.
    """

    rest: Tensor
    global_rotations: Tensor
    joints: Tensor

    @property
    def transforms(self) -> Tensor:
        """(B, 24, 12): each joint's matrix (3, 4) from the rest pose to the pose, flattened."""
        shift = self.joints - (self.global_rotations @ self.rest[..., None])[..., 0]
        return torch.cat([self.global_rotations, shift[..., None]], dim=-1).flatten(2)


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
            rotations: (B, 24, 3, 3), the pelvis' in the world, the others relative to the parents.
            betas: (B, 10) shape parameters, of unit variance over adults.

        Returns:
            Vertices (B, level, 3) and joints (B, 24, 3) in metres, the pelvis at the origin.
        """
        skeleton = self.skeleton(rotations, betas)
        return self.skin(skeleton, betas), skeleton.joints

    def skeleton(self, rotations: Tensor, betas: Tensor) -> Skeleton:
        """The joints without the mesh, see `forward`."""
        rest = self.joints_template + torch.einsum("jck,bk->bjc", self.joints_shapedirs, betas)
        return Skeleton(rest, *forward_kinematics(rotations, rest))

    def skin(self, skeleton: Skeleton, betas: Tensor) -> Tensor:
        """The vertices (B, level, 3) around a skeleton that was made with the same betas."""
        return skinned(self.weights, self.template, self.shapedirs, skeleton, betas)


def skinned(
    weights: Tensor, template: Tensor, shapedirs: Tensor, skeleton: Skeleton, betas: Tensor
) -> Tensor:
    """Points (B, N, 3) that move with a skeleton, metres, in the coordinates of its joints.

    Args:
        weights: (N, 24) skinning weights.
        template: (N, 3) the points of the average body at rest, metres.
        shapedirs: (N, 3, 10) their derivatives by the betas.
        skeleton: of the body.
        betas: (B, 10).
    """
    rest = template + torch.einsum("vck,bk->bvc", shapedirs, betas)
    blended = (weights @ skeleton.transforms).unflatten(-1, (3, 4))  # (B, N, 3, 4)
    return (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]


def _generations() -> tuple[tuple[slice, slice | list[int]], ...]:
    """The joints by their number of bones from the pelvis.

    Returns:
        For each generation the slice of its joints, which are adjacent in SMPL's order, and the
        indices of their parents within the previous generation.
    """
    generations, before = [], [0]
    while children := [joint for joint, parent in enumerate(PARENTS) if parent in before]:
        parents = [before.index(PARENTS[joint]) for joint in children]
        if len(set(parents)) == 1 or parents == list(range(parents[0], parents[-1] + 1)):
            index: slice | list[int] = slice(parents[0], parents[-1] + 1)
        else:
            index = parents
        generations.append((slice(children[0], children[-1] + 1), index))
        before = children
    return tuple(generations)


_GENERATIONS = _generations()


def forward_kinematics(rotations: Tensor, rest_joints: Tensor) -> tuple[Tensor, Tensor]:
    """Global rotations (B, 24, 3, 3) and joints (B, 24, 3) with the pelvis at the origin, metres.

    All joints of a generation are computed at once: with so few numbers, the time depends only on
    the number of operations.

    Args:
        rotations: (B, 24, 3, 3) relative to the parents.
        rest_joints: (B, 24, 3) joints of the rest pose, metres.
    """
    bones = rest_joints - rest_joints[:, list(PARENTS)]  # the pelvis' is replaced below
    local = torch.cat([rotations, bones[..., None]], dim=-1)  # (B, 24, 3, 4)
    newest = torch.cat([rotations[:, :1], torch.zeros_like(bones[:, :1, :, None])], dim=-1)
    posed = [newest]
    for joints, parents in _GENERATIONS:
        parent = newest[:, parents]
        moved = parent[..., :3] @ local[:, joints]
        newest = torch.cat([moved[..., :3], moved[..., 3:] + parent[..., 3:]], dim=-1)
        posed.append(newest)
    transforms = torch.cat(posed, dim=1)
    return transforms[..., :3], transforms[..., 3]


def load_body_arrays() -> dict[str, np.ndarray]:
    """The arrays of `assets/body.npz` by name."""
    with np.load(asset("body.npz"), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def level_index(data: dict[str, np.ndarray], level: int) -> np.ndarray:
    """(level,) indices of a level's vertices among the 6890."""
    if level == LEVELS[0]:
        return np.arange(level)
    return data[f"index_{level}"].astype(np.int64)


def vertices_in(level: int, coarse: int) -> Tensor:
    """(coarse,) indices of a coarser level's vertices among those of a finer level."""
    data = load_body_arrays()
    row = {int(vertex): i for i, vertex in enumerate(level_index(data, level))}
    rows = [row[int(vertex)] for vertex in level_index(data, coarse)]
    return torch.from_numpy(np.array(rows))


def smpl_joint_regressor() -> NDArray[np.float32]:
    """(24, 6890): the 24 joints as weighted means of the vertices.

    The weights are non-negative, the rows sum to one, and only the 431 vertices are used.
    """
    data = load_body_arrays()
    regressor = np.zeros((len(JOINT_NAMES), LEVELS[0]), np.float32)
    regressor[:, data["index_431"].astype(np.int64)] = data["joint_regressor_431"]
    return regressor


def h36m_joint_regressor() -> NDArray[np.float32]:
    """(17, 6890): Human3.6M's joints by our own definition, not fitted to its markers.

    Limbs, neck and pelvis are the embedded body's joints; the torso is the middle of the lower and
    the upper spine joint, the head is the middle of the ears moved by `TOWARDS_NOSE` of the way to
    the nose, the top of the head is a vertex.
    """
    data = load_body_arrays()
    joints = smpl_joint_regressor()
    rows = {name: joints[JOINT_NAMES.index(name)] for name in H36M_NAMES if name in JOINT_NAMES}
    rows["torso"] = 0.5 * sum(joints[JOINT_NAMES.index(n)] for n in ("spine1", "spine3"))
    nose, left_ear, _, _, right_ear = data["landmark_vertices"][:5].astype(np.int64)
    ear_weight = 0.5 * (1.0 - TOWARDS_NOSE)
    rows["head"] = _mean({nose: TOWARDS_NOSE, left_ear: ear_weight, right_ear: ear_weight})
    rows["head_top"] = _mean({data["v_template"][:, 1].argmax(): 1.0})
    return np.stack([rows[name] for name in H36M_NAMES]).astype(np.float32)


def _mean(weights: dict[np.int64, float]) -> NDArray[np.float32]:
    """(6890,): the given weights of some vertices, 0 for all others."""
    row = np.zeros(LEVELS[0], np.float32)
    row[list(weights)] = list(weights.values())
    return row
