"""Barycentric upsampling between the embedded body's mesh levels."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from stdformer_ros.body.body_model import LEVELS, load_body_arrays
from stdformer_ros.body.mesh_sampling import MeshUpsample


class Upsample(MeshUpsample):
    """From a coarse level's per-vertex values to a finer level's.

    A fine vertex takes the barycentric mean of the coarse triangle that is nearest to it in the
    rest pose. Values of coarse vertices pass unchanged, since the levels are nested.

    Args:
        coarse: number of vertices given, one of `LEVELS`.
        fine: number of vertices wanted, one of `LEVELS`, at least `coarse`.

    Raises:
        ValueError: if a level does not exist or `fine` is coarser than `coarse`.
    """

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__(scipy.sparse.csr_matrix(upsampling_matrix(coarse, fine)))


def upsampling_matrix(coarse: int, fine: int) -> np.ndarray:
    """(fine, coarse) float32, the means that `Upsample` takes.

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
