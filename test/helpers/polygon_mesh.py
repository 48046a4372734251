"""A dummy mesh with SMPL's numbers of vertices: each level is a polygon."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from stdformer_ros.body.mesh_levels import MeshSampling


def ring(vertices: int) -> scipy.sparse.csr_matrix:
    """The adjacency of a polygon."""
    a = np.arange(vertices)
    half = scipy.sparse.coo_matrix((np.ones(vertices), (a, (a + 1) % vertices)), (vertices,) * 2)
    return (half + half.T).tocsr()


def thirds(fine: int, coarse: int) -> scipy.sparse.csr_matrix:
    """The upsampling matrix: every fine vertex is the mean of three coarse vertices."""
    rows = np.repeat(np.arange(fine), 3)
    columns = (rows // 3 + np.tile([0, 1, 2], fine)) % coarse
    return scipy.sparse.csr_matrix((np.full(3 * fine, 1 / 3), (rows, columns)), (fine, coarse))


MESH = MeshSampling(
    tuple(ring(n) for n in (6890, 1723, 431)),
    (thirds(6890, 1723), thirds(1723, 431)),
    tuple(np.zeros((1, 3), np.int32) for _ in range(3)),
)
