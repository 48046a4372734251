"""The SMPL mesh's published levels of 6890, 1723 and 431 vertices, from the user's file.

`mesh_downsampling.npz` comes with the mesh networks that descend from GraphCMR and Mesh Graphormer.
It follows SMPL's topology and falls under SMPL's licence, so it is the user's to bring.
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

from stdformer_ros.body.safe_pickle import RefusedPickleError, load_object_npz

LEVELS = (6890, 1723, 431)


@dataclass(frozen=True)
class MeshSampling:
    """A mesh at three levels, fine to coarse.

    Attributes:
        adjacency: per level a (V, V) sparse matrix, non-zero where two vertices share an edge.
        upsampling: from level 1 to 0, (6890, 1723), and from level 2 to 1, (1723, 431).
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
        """Which of the 6890 vertices a level (1 or 2) has kept.

        Levels are subsets of the finer ones, so that every vertex of a level is what one finer
        vertex alone is made of: the one with the largest weight on it.
        """
        index = np.arange(LEVELS[0])
        for matrix in self.upsampling[:level]:
            index = index[np.asarray(matrix.tocsc().argmax(axis=0)).ravel()]
        return index


def load_mesh_sampling(path: str | Path) -> MeshSampling:
    """Read `mesh_downsampling.npz`.

    Raises:
        FileNotFoundError: if there is no such file; the message says where to get it.
        ValueError: if the file names code instead of arrays, is broken, or is of another mesh.
    """
    if not Path(path).is_file():
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
    fine, middle, coarse = LEVELS
    if found != ([(n, n) for n in LEVELS], [(fine, middle), (middle, coarse)]):
        raise ValueError(f"{path} has levels {found}, not SMPL's {LEVELS}")
    return sampling


class MeshUpsample(nn.Module):
    """A fixed sparse matrix, applied by gathering: a dense product would mostly read zeros.

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
        """(B, coarse, C) -> (B, fine, C), everybody's values gathered at once."""
        batch, coarse, channels = values.shape
        table = values.transpose(0, 1).reshape(coarse, batch * channels).to(self.weights.dtype)
        sums = F.embedding_bag(
            self.corners, table, self.starts, mode="sum", per_sample_weights=self.weights
        )
        return sums.view(len(self.starts), batch, channels).transpose(0, 1)
