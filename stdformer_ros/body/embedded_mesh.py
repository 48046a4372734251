"""The embedded body's levels in the form in which the image networks read SMPL's.

With them those networks can be trained and run without SMPL; such weights know this body only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from stdformer_ros.body.body_model import load_body_arrays
from stdformer_ros.body.mesh_sampling import LEVELS, MeshSampling


def embedded_mesh_sampling() -> MeshSampling:
    """The embedded body at 6890, 1723 and 431 vertices."""
    data = load_body_arrays()
    faces = tuple(data[f"faces_{level}"].astype(np.int32) for level in LEVELS)
    adjacency = tuple(_adjacency(f, level) for f, level in zip(faces, LEVELS, strict=True))
    fine, middle, coarse = LEVELS
    upsampling = tuple(
        _upsampling(data[f"up_index_{few}"], data[f"up_weight_{few}"], (many, few))
        for many, few in ((fine, middle), (middle, coarse))
    )
    return MeshSampling(adjacency, upsampling, faces)


def write_mesh_sampling(path: Path, mesh: MeshSampling) -> None:
    """Write `mesh` as `mesh_downsampling.npz` has it, for `load_mesh_sampling`."""
    arrays = {}
    for name, parts in (("A", mesh.adjacency), ("U", mesh.upsampling), ("F", mesh.faces)):
        arrays[name] = np.empty(len(parts), dtype=object)
        arrays[name][:] = parts
    np.savez_compressed(path, allow_pickle=True, **arrays)


def _adjacency(faces: NDArray[np.int32], vertices: int) -> scipy.sparse.csr_matrix:
    """(vertices, vertices) with ones where two share an edge."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    ones = np.ones(len(edges), np.float32)
    return scipy.sparse.csr_matrix((ones, (edges[:, 0], edges[:, 1])), (vertices, vertices))


def _upsampling(
    corners: NDArray[np.generic], weights: NDArray[np.generic], shape: tuple[int, int]
) -> scipy.sparse.csr_matrix:
    """Barycentric means of coarse triangles as a matrix."""
    values = weights.astype(np.float32)
    values /= values.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(shape[0]), corners.shape[1])
    matrix = scipy.sparse.csr_matrix(
        (values.ravel(), (rows, corners.astype(np.int64).ravel())), shape
    )
    matrix.eliminate_zeros()
    return matrix
