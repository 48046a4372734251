"""Small stand-ins for what a user brings: a mesh's levels, a backbone, SMPL. All made up here."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import forward_kinematics
from stdformer_ros.body.mesh_levels import SAMPLING_LEVELS, MeshSampling
from stdformer_ros.body.skeleton import PARENTS
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.published.stdformer import BACKBONE_CHANNELS, STDFormer


def tiny_mesh() -> MeshSampling:
    """Rings of SMPL's counts of vertices; each fine vertex is the mean of two coarser ones."""
    adjacency = [
        scipy.sparse.csr_matrix(
            (np.ones(2 * n), (np.tile(np.arange(n), 2), np.r_[np.arange(1, n + 1), -1 : n - 1] % n))
        )
        for n in SAMPLING_LEVELS
    ]
    upsampling = []
    for fine, coarse in pairwise(SAMPLING_LEVELS):
        rows = np.arange(fine)
        columns = np.r_[rows % coarse, (rows + 1) % coarse]
        values = np.full(2 * fine, 0.5)
        upsampling.append(
            scipy.sparse.csr_matrix((values, (np.tile(rows, 2), columns)), (fine, coarse))
        )
    faces = [np.stack([np.arange(n), np.arange(1, n + 1) % n, np.arange(2, n + 2) % n], 1)
             for n in SAMPLING_LEVELS]  # fmt: skip
    return MeshSampling(
        tuple(adjacency), tuple(upsampling), tuple(f.astype(np.int32) for f in faces)
    )


def write_mesh_sampling(path: Path) -> Path:
    """`tiny_mesh` in the layout of mesh_downsampling.npz."""
    mesh = tiny_mesh()
    arrays = {}
    for name, parts in (("A", mesh.adjacency), ("U", mesh.upsampling), ("F", mesh.faces)):
        objects = np.empty(len(parts), dtype=object)
        objects[:] = parts
        arrays[name] = objects
    np.savez(path, **arrays)
    return path


class TinyBackbone(nn.Module):
    """Few channels and two layers in the shape of a backbone."""

    map_channels = 16

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, self.map_channels, kernel_size=4, stride=4)
        self.top = nn.Conv2d(self.map_channels, BACKBONE_CHANNELS, kernel_size=8, stride=8)

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.stem(images).relu()]

    def features(self, maps: list[Tensor]) -> Tensor:
        return self.top(maps[0])


def tiny_stdformer(window: int = 3, smpl_regressor: bool = False) -> STDFormer:
    """STDFormer-S on the tiny backbone with random weights, the same at every call."""
    torch.manual_seed(0)
    attention = SpatioTemporalDisentangling(TinyBackbone.map_channels, frames=window)
    model = STDFormer(TinyBackbone(), 1, tiny_mesh(), attention, smpl_regressor)
    with torch.no_grad():
        model.cam_predictor.bias.copy_(torch.tensor([0.9, 0.02, -0.03]))
    return model.eval()


def smpl_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """A body of SMPL's sizes with random values."""
    rng = np.random.default_rng(seed)
    regressor = rng.random((24, 6890)) * (rng.random((24, 6890)) < 0.002)
    regressor[:, 0] += 1e-3
    weights = rng.random((6890, 24)) ** 8
    return {
        "v_template": rng.normal(size=(6890, 3)) * 0.3,
        "shapedirs": rng.normal(size=(6890, 3, 10)) * 0.01,
        "posedirs": rng.normal(size=(6890, 3, 207)).astype(np.float32) * 0.001,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([PARENTS, range(24)]).astype(np.uint32),
        "f": rng.integers(0, 6890, (50, 3)).astype(np.uint32),
    }


class PlainSmpl(nn.Module):
    """`smpl_arrays` posed by SMPL's formula, for tests that must run without smplx."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        arrays = smpl_arrays(seed)
        self.faces = arrays["f"].astype(np.int32)
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array.astype(np.float32)))

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        shaped = self.v_template + torch.einsum("vck,bk->bvc", self.shapedirs, betas)
        rest = self.J_regressor @ shaped
        turns, joints = forward_kinematics(rotations, rest)
        joints = joints + rest[:, :1]  # SMPL turns about the pelvis where the shape puts it
        correctives = (rotations[:, 1:] - torch.eye(3)).flatten(1)
        shaped = shaped + torch.einsum("vck,bk->bvc", self.posedirs, correctives)
        shift = joints - (turns @ rest[..., None])[..., 0]
        turn = torch.einsum("vj,bjcd->bvcd", self.weights, turns)
        return (turn @ shaped[..., None])[..., 0] + self.weights @ shift, joints


def write_smpl(path: Path, seed: int = 0) -> Path:
    """`smpl_arrays` in the layout of SMPL's pickles."""
    arrays = smpl_arrays(seed)
    content = arrays | {"J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"])}
    path.write_bytes(pickle.dumps(content | {"bs_type": "lrotmin"}, protocol=2))
    return path
