"""Reference data of the published networks: names, generated weights, inputs, expected outputs.

The files lie beside the project in ../shared/parity. The weights are random, with seeds from their
published names, so that no weights need to be stored.
"""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.paths import ROOT

FOLDER = ROOT.parent / "shared" / "parity"
MESH_SAMPLING = FOLDER / "mesh_downsampling.npz"

needs_reference = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the published networks' reference is not at {FOLDER}"
)


def _random(name: str, seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([zlib.crc32(name.encode()), seed]))


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published state dict."""
    entries = json.loads((FOLDER / f"{name}.keys.json").read_text())
    return {key: tuple(shape) for key, shape in entries}


def weights(name: str) -> dict[str, Tensor]:
    """The state dict that the expected outputs belong to."""
    return {
        key: torch.from_numpy(np.asarray(_value(key, shape)))
        for key, shape in shapes(name).items()
        if not key.endswith("permanent_pe")
    }


def expected(name: str) -> dict[str, np.ndarray]:
    """The published network's outputs for input seed 0."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def _value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    random, kind = _random(key), key.split(".")[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_mean":
        value = 0.1 * random.standard_normal(shape)
    elif kind != "running_var" and len(shape) > 1:
        value = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    elif kind != "running_var" and "bias" in kind:
        value = 0.05 * random.standard_normal(shape)
    else:
        value = random.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)


def images(name: str, size: int, seed: int = 0) -> Tensor:
    """(2, 3, size, size) normalised images of 16-pixel blocks."""
    blocks = 2.0 * _random(f"input:{name}", seed).standard_normal((2, 3, size // 16, size // 16))
    return torch.from_numpy(blocks.repeat(16, axis=2).repeat(16, axis=3).astype(np.float32))


def keypoints(name: str, batch: int, frames: int, seed: int = 0) -> Tensor:
    """(batch, frames, 17, 2) normalised keypoints of a pose that drifts."""
    random = _random(f"input:{name}", seed)
    pose = 0.5 * random.standard_normal((batch, 1, 17, 2))
    drift = np.cumsum(0.03 * random.standard_normal((batch, frames, 17, 2)), axis=1)
    return torch.from_numpy((pose + drift).astype(np.float32))


def given_joints(seed: int = 0) -> tuple[Tensor, Tensor]:
    """SGRE's (2, 30, 2) joints on the 64 x 64 map, and which of them are valid, (2, 30)."""
    joints = _random("input:sgre_joints", seed).uniform(4, 60, (2, 30, 2)).astype(np.float32)
    valid = torch.ones(2, 30)
    valid[:, [7, 17, 27]] = 0.0
    return torch.from_numpy(joints), valid
