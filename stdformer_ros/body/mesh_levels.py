"""Meshes at several levels of detail, and upsampling of vertex values from level to level.

Two bodies have such levels:

- SMPL, from the user's file `mesh_downsampling.npz` (`load_mesh_sampling`). The file comes with the
  mesh networks that are based on GraphCMR and Mesh Graphormer. It follows SMPL's topology and falls
  under SMPL's licence, so it is not part of this package.
- The embedded body (`embedded_mesh_sampling`, `Upsample`). With its levels the image networks can
  be trained and run without SMPL; such weights fit this body only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stdformer_ros.body.body_model import LEVELS, load_body_arrays
from stdformer_ros.body.safe_pickle import RefusedPickleError, load_object_npz

SAMPLING_LEVELS = (6890, 1723, 431)
"""Numbers of vertices of the three levels that the image networks use."""


@dataclass(frozen=True)
class MeshSampling:
    """A mesh at three levels, fine to coarse.

    Attributes:
        adjacency: per level a (V, V) sparse matrix, non-zero where two vertices share an edge.
        upsampling: sparse matrices from level 1 to 0 (6890, 1723), and from level 2 to 1 (1723,
            431).
        faces: per level (F, 3) int32 vertex indices.
    """

    adjacency: tuple[scipy.sparse.csr_matrix, ...]
    upsampling: tuple[scipy.sparse.csr_matrix, ...]
    faces: tuple[NDArray[np.int32], ...]

    def coarse_adjacency(self) -> Tensor:
        """The (431, 431) bool adjacency of the vertex tokens, with the diagonal."""
        dense = self.adjacency[-1].toarray() != 0
        return torch.from_numpy(dense | np.eye(len(dense), dtype=bool))

    def kept(self, level: int) -> NDArray[np.int64]:
        """The vertices of a level (1 or 2), as indices (V,) among the 6890 vertices.

        Each level is a subset of the finer one. So each of its vertices is equal to one finer
        vertex: the one with the largest upsampling weight on it.
        """
        index = np.arange(SAMPLING_LEVELS[0])
        for matrix in self.upsampling[:level]:
            index = index[np.asarray(matrix.tocsc().argmax(axis=0)).ravel()]
        return index


class MeshUpsample(nn.Module):
    """Multiplies by a fixed sparse matrix; a dense product would mostly read zeros.

    Args:
        matrix: (fine, coarse) sparse.
    """

    corners: Tensor
    weights: Tensor
    starts: Tensor

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        super().__init__()
        matrix = matrix.tocsr()
        # Not persistent: the published checkpoints do not hold them.
        for name, array in (
            ("corners", matrix.indices.astype(np.int64)),
            ("weights", matrix.data.astype(np.float32)),
            ("starts", matrix.indptr[:-1].astype(np.int64)),
        ):
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """(B, coarse, C) -> (B, fine, C), in one product for the whole batch."""
        batch, coarse, channels = values.shape
        table = values.transpose(0, 1).reshape(coarse, batch * channels).to(self.weights.dtype)
        sums = F.embedding_bag(
            self.corners, table, self.starts, mode="sum", per_sample_weights=self.weights
        )
        return sums.view(len(self.starts), batch, channels).transpose(0, 1)


def load_mesh_sampling(path: str | Path) -> MeshSampling:
    """Read `mesh_downsampling.npz`.

    Raises:
        FileNotFoundError: if there is no such file; the message says where to get it.
        ValueError: if the file names code instead of arrays, is broken, or has another mesh.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"no mesh sampling file at {path}; it is `mesh_downsampling.npz` of the public "
            "FastMETRO project (folder src/modeling/data), under SMPL's licence"
        )
    try:
        arrays = load_object_npz(path, ("A", "U", "F"))
        sampling = MeshSampling(
            tuple(a.tocsr() for a in arrays["A"]),
            tuple(u.tocsr() for u in arrays["U"]),
            tuple(np.asarray(f, dtype=np.int32) for f in arrays["F"]),
        )
    except RefusedPickleError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a mesh's levels A, U, F: {error}") from error
    found = [a.shape for a in sampling.adjacency], [u.shape for u in sampling.upsampling]
    fine, middle, coarse = SAMPLING_LEVELS
    if found != ([(n, n) for n in SAMPLING_LEVELS], [(fine, middle), (middle, coarse)]):
        raise ValueError(f"{path} has levels {found}, not SMPL's {SAMPLING_LEVELS}")
    return sampling


def write_mesh_sampling(path: Path, mesh: MeshSampling) -> None:
    """Write a mesh in the format of `mesh_downsampling.npz`, for `load_mesh_sampling`."""
    arrays = {}
    for name, parts in (("A", mesh.adjacency), ("U", mesh.upsampling), ("F", mesh.faces)):
        arrays[name] = np.empty(len(parts), dtype=object)
        arrays[name][:] = parts
    np.savez_compressed(path, allow_pickle=True, **arrays)


def embedded_mesh_sampling() -> MeshSampling:
    """The embedded body at 6890, 1723 and 431 vertices."""
    data = load_body_arrays()
    faces = tuple(data[f"faces_{level}"].astype(np.int32) for level in SAMPLING_LEVELS)
    adjacency = tuple(_adjacency(f, level) for f, level in zip(faces, SAMPLING_LEVELS, strict=True))
    fine, middle, coarse = SAMPLING_LEVELS
    upsampling = tuple(
        _sparse_upsampling(data[f"up_index_{few}"], data[f"up_weight_{few}"], (many, few))
        for many, few in ((fine, middle), (middle, coarse))
    )
    return MeshSampling(adjacency, upsampling, faces)


class Upsample(MeshUpsample):
    """Upsamples values of vertices from a coarse level to a finer one, on the embedded body.

    A fine vertex gets the barycentric mean of the coarse triangle that is nearest to it in the
    rest pose. Values of coarse vertices do not change, since each level is a subset of the finer.

    Args:
        coarse: number of vertices given, one of `LEVELS`.
        fine: number of vertices wanted, one of `LEVELS`, at least `coarse`.

    Raises:
        ValueError: if a level does not exist or `fine` is coarser than `coarse`.
    """

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__(scipy.sparse.csr_matrix(upsampling_matrix(coarse, fine)))


def upsampling_matrix(coarse: int, fine: int) -> np.ndarray:
    """(fine, coarse) float32, the matrix of `Upsample`.

    Raises:
        ValueError: see `Upsample`.
    """
    if coarse not in LEVELS or fine not in LEVELS or fine < coarse:
        raise ValueError(f"cannot upsample {coarse} to {fine} vertices; levels are {LEVELS}")
    data = load_body_arrays()
    matrix = np.eye(coarse, dtype=np.float32)
    for level in sorted(LEVELS):
        if coarse <= level < fine:
            corners = data[f"up_index_{level}"].astype(np.int64)
            weights = data[f"up_weight_{level}"].astype(np.float32)
            weights /= weights.sum(1, keepdims=True)
            matrix = (weights[..., None] * matrix[corners]).sum(1)
    return matrix


def _adjacency(faces: NDArray[np.int32], vertices: int) -> scipy.sparse.csr_matrix:
    """(vertices, vertices) with ones where two vertices share an edge."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    ones = np.ones(len(edges), np.float32)
    return scipy.sparse.csr_matrix((ones, (edges[:, 0], edges[:, 1])), (vertices, vertices))


def _sparse_upsampling(
    corners: NDArray[np.generic], weights: NDArray[np.generic], shape: tuple[int, int]
) -> scipy.sparse.csr_matrix:
    """The barycentric means of coarse triangles as a sparse matrix (fine, coarse)."""
    values = weights.astype(np.float32)
    values /= values.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(shape[0]), corners.shape[1])
    matrix = scipy.sparse.csr_matrix(
        (values.ravel(), (rows, corners.astype(np.int64).ravel())), shape
    )
    matrix.eliminate_zeros()
    return matrix
