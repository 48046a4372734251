"""Crops of real people with known bodies, from a folder that the user has made.

The folder holds `train` and `val`, each a folder with one folder for every sequence: consecutive
frames of one person. A sequence is four files that `numpy.save` wrote:

- `images.npy`, (F, 224, 224, 3) uint8: RGB crops;
- `joints.npy`, (F, 14, 3) float: metres, camera axes, relative to the pelvis, in the order of the
  published evaluation (`models.image_estimator.JOINT_NAMES` after the pelvis);
- `joints_2d.npy`, (F, 14, 2) float: the same in the crop, -1 left or top, 1 right or bottom;
- `vertices.npy`, (F, 6890, 3) float: metres, camera axes, relative to the same pelvis.

Only the frames of a window are read, so that sequences may be long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.models.published.stdformer import IMAGE_SIZE, JOINTS
from stdformer_ros.training.data.mesh_windows import MeshBatch, to_images

SHAPES: dict[str, tuple[int, ...]] = {
    "images": (IMAGE_SIZE, IMAGE_SIZE, 3),
    "joints": (JOINTS, 3),
    "joints_2d": (JOINTS, 2),
    "vertices": (6890, 3),
}


class RecordedCrops:
    """See the top of the file and `MeshSource`.

    Args:
        folder: of sequences, `train` or `val`.
        window: frames; shorter sequences are left out.

    Raises:
        FileNotFoundError: if there is no such folder, or a sequence lacks a file.
        ValueError: if a file is none of numpy's, its shape is wrong, or no sequence is long enough.
    """

    def __init__(self, folder: Path, window: int) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder} of sequences; docs/training.md says what")
        self._window = window
        self._starts: list[tuple[Path, int]] = []
        for sequence in sorted(p for p in folder.iterdir() if p.is_dir()):
            frames = _frames_of(sequence)
            self._starts += [(sequence, start) for start in range(frames - window + 1)]
        if not self._starts:
            raise ValueError(f"no sequence in {folder} has the {window} frames of a window")

    def sample(self, count: int) -> MeshBatch:
        """See `MeshSource`."""
        return self._batch(torch.randint(len(self._starts), (count,)).tolist())

    def sample_fixed(self, count: int) -> MeshBatch:
        """As many of `count` windows as there are, spread over all sequences."""
        count = min(count, len(self._starts))
        return self._batch(np.linspace(0, len(self._starts) - 1, count).round().astype(int))

    def _batch(self, chosen: Any) -> MeshBatch:
        windows: dict[str, list[NDArray[Any]]] = {name: [] for name in SHAPES}
        for number in chosen:
            sequence, start = self._starts[number]
            for name, rows in windows.items():
                rows.append(_open(sequence / f"{name}.npy")[start : start + self._window])
        images = to_images(np.stack(windows.pop("images")))
        rest = {k: torch.from_numpy(np.stack(v).astype(np.float32)) for k, v in windows.items()}
        return MeshBatch(images, **rest)


def _frames_of(sequence: Path) -> int:
    """How many frames a sequence has, its files being looked over."""
    frames = {}
    for name, shape in SHAPES.items():
        file = sequence / f"{name}.npy"
        array = _open(file)
        if array.shape[1:] != shape or (name == "images") != (array.dtype == np.uint8):
            kind = "uint8" if name == "images" else "float"
            raise ValueError(
                f"{file} holds {array.dtype} of {array.shape}, not {kind} of (frames, "
                f"{', '.join(map(str, shape))})"
            )
        frames[name] = len(array)
    if len(set(frames.values())) > 1:
        raise ValueError(f"the files of {sequence} have different numbers of frames: {frames}")
    return frames["images"]


def _open(file: Path) -> NDArray[Any]:
    if not file.is_file():
        raise FileNotFoundError(f"no {file}; docs/training.md says what a sequence holds")
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is no whole file of numpy.save: {error}") from error
