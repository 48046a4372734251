"""Training data of the networks that read images: windows of crops and the bodies in them.

Training draws batches from a `MeshSource`. `SyntheticCrops` renders the embedded body with captured
motion. `RecordedCrops` reads real people with known bodies from a folder that the user has made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stdformer_ros.body.body_model import (
    LEVELS,
    BodyModel,
    h36m_joint_regressor,
    level_index,
    load_body_arrays,
)
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.overlay import draw_mesh
from stdformer_ros.models.published.crops import to_input
from stdformer_ros.models.published.image_estimator import CROP_SCALE
from stdformer_ros.models.published.stdformer import (
    IMAGE_MEAN,
    IMAGE_SIZE,
    IMAGE_STD,
    JOINTS,
)
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.synthetic import SyntheticPeople
from stdformer_ros.types import FloatArray, ImageArray

RENDERED_LEVEL = LEVELS[1]
"""Vertices of the mesh that is rendered; at the size of a crop more would not be visible."""
NEAREST = 0.3
"""Metres; bodies that are closer to the camera are moved away to this distance."""
SCALE = (0.9, 1.2)
"""Range of the crops' sides relative to those of the live pipeline, because live boxes vary."""
SHIFT = 0.05
"""Standard deviation of a crop's centre, as a fraction of its side."""

SHAPES: dict[str, tuple[int, ...]] = {
    "images": (IMAGE_SIZE, IMAGE_SIZE, 3),
    "joints": (JOINTS, 3),
    "joints_2d": (JOINTS, 2),
    "vertices": (6890, 3),
}
"""Files of a recorded sequence and the shapes of their frames."""


class MeshBatch(NamedTuple):
    """Windows of T frames, each of one person.

    Attributes:
        images: (B, T, 3, 224, 224) as `STDFormer` reads them.
        joints: (B, T, 14, 3) metres, camera axes, relative to the pelvis.
        joints_2d: (B, T, 14, 2) in the crop, [-1, 1].
        vertices: (B, T, 6890, 3) metres, camera axes, relative to the pelvis.
    """

    images: Tensor
    joints: Tensor
    joints_2d: Tensor
    vertices: Tensor

    def to(self, device: torch.device) -> MeshBatch:
        """The same batch on another device."""
        return MeshBatch(*(part.to(device) for part in self))


class MeshSource(Protocol):
    """Endless supply of `MeshBatch` on the CPU."""

    def sample(self, count: int) -> MeshBatch:
        """A random batch of `count` windows."""

    def sample_fixed(self, count: int) -> MeshBatch:
        """The same batch at every call."""


def to_images(crops: ImageArray) -> Tensor:
    """RGB crops (B, T, 224, 224, 3) uint8 to `MeshBatch.images`."""
    flat = np.ascontiguousarray(crops.reshape(-1, *crops.shape[2:]))
    return to_input(list(flat), IMAGE_MEAN, IMAGE_STD).unflatten(0, crops.shape[:2])


class SyntheticCrops:
    """A `MeshSource` that renders one shaded body per window on a background of coloured clouds.

    Args:
        motion: gives the poses; its windows are those of the batches.
    """

    def __init__(self, motion: MotionLibrary) -> None:
        self._people = SyntheticPeople(motion, answers=motion.frames)
        self._body = BodyModel()
        self._regressor = torch.from_numpy(h36m_joint_regressor())
        data = load_body_arrays()
        self._rendered = level_index(data, RENDERED_LEVEL)
        self._faces = data[f"faces_{RENDERED_LEVEL}"].astype(np.int32)

    @torch.no_grad()
    def sample(self, count: int) -> MeshBatch:
        """See `MeshSource`."""
        people = self._people.sample(count)
        shape = people.pelvis.shape[:2]
        betas = people.betas[:, None].expand(*shape, -1)
        vertices, _ = self._body(people.rotations.flatten(0, 1), betas.flatten(0, 1))
        all_joints = self._regressor @ vertices
        pelvis = all_joints[:, :1]
        joints = all_joints[:, list(EVALUATION_ORDER)] - pelvis
        place = people.pelvis.flatten(0, 1)[:, None] + pelvis
        place[..., 2:] = place[..., 2:].clamp(min=NEAREST - vertices[..., 2].min())
        vertices = vertices - pelvis
        rays = (joints + place)[..., :2] / (joints + place)[..., 2:]
        centre, half = _squares(rays.unflatten(0, shape))
        joints_2d = (rays - centre[:, None]) / half[:, None, None]
        crops = self._render((vertices + place).numpy(), centre.numpy(), half.numpy(), shape)
        return MeshBatch(
            to_images(crops), *(t.unflatten(0, shape) for t in (joints, joints_2d, vertices))
        )

    def sample_fixed(self, count: int) -> MeshBatch:
        """See `MeshSource`."""
        with torch.random.fork_rng():
            torch.manual_seed(1234)
            return self.sample(count)

    def _render(
        self, vertices: FloatArray, centre: FloatArray, half: FloatArray, shape: torch.Size
    ) -> ImageArray:
        """Render bodies (N, 6890, 3), camera coordinates, into crops.

        The crops are squares of rays (x/z, y/z) with centres (N, 2) and half sides (N,).
        """
        random = np.random.default_rng(int(torch.randint(2**31, ())))
        crops = np.empty((*shape, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for window, frames in enumerate(crops):
            background = _clouds(random)
            color = tuple(random.integers(40, 256, 3).tolist())
            for frame, canvas in enumerate(frames):
                i = window * shape[1] + frame
                focal = 0.5 * IMAGE_SIZE / float(half[i])
                corner = 0.5 * IMAGE_SIZE - 0.5
                x, y = (corner - focal * centre[i]).tolist()
                camera = Camera(IMAGE_SIZE, IMAGE_SIZE, focal, focal, x, y)
                canvas[:] = background
                draw_mesh(canvas, vertices[i, self._rendered], self._faces, camera, color)
                noise = random.normal(0, 6, canvas.shape)
                canvas[:] = (canvas + noise).clip(0, 255).astype(np.uint8)
        return crops


def _squares(rays: Tensor) -> tuple[Tensor, Tensor]:
    """Squares around joints (B, T, 14, 2): centres (B * T, 2) and half sides (B * T,)."""
    low, high = rays.amin(dim=2), rays.amax(dim=2)
    scale = CROP_SCALE * (SCALE[0] + (SCALE[1] - SCALE[0]) * torch.rand(len(rays), 1))
    half = 0.5 * scale * (high - low).amax(dim=-1)
    shift = 2 * SHIFT * torch.randn(len(rays), 1, 2)
    centre = 0.5 * (low + high) + shift * half[..., None]
    return centre.flatten(0, 1), half.flatten()


def _clouds(random: np.random.Generator) -> NDArray[np.uint8]:
    """A background of smooth random colours: (224, 224, 3) RGB."""
    cells = int(random.integers(2, 15))
    seeds = torch.from_numpy(random.uniform(0, 255, (1, 3, cells, cells)))
    smooth = torch.nn.functional.interpolate(seeds, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
    return smooth[0].permute(1, 2, 0).numpy().astype(np.uint8)


class RecordedCrops:
    """A `MeshSource` of real people with known bodies, from a folder that the user has made.

    That folder has the subfolders `train` and `val`. Each holds one folder per sequence, which is
    consecutive frames of one person in four files that `numpy.save` wrote:

    - `images.npy`, (F, 224, 224, 3) uint8: RGB crops;
    - `joints.npy`, (F, 14, 3) float: metres, camera axes, relative to the pelvis, in the order of
      the published evaluation (`models.published.image_estimator.JOINT_NAMES` after the pelvis);
    - `joints_2d.npy`, (F, 14, 2) float: the same joints in the crop, -1 left or top, 1 right or
      bottom;
    - `vertices.npy`, (F, 6890, 3) float: metres, camera axes, relative to the same pelvis.

    Only the frames of the requested windows are read, so sequences may be long.

    Args:
        folder: `train` or `val`.
        window: T, frames of a window; shorter sequences are left out.

    Raises:
        FileNotFoundError: if there is no such folder, or a sequence lacks a file.
        ValueError: if a file is not numpy's, its shape is wrong, or no sequence is long enough.
    """

    def __init__(self, folder: Path, window: int) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}; see docs/training.md")
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
        """See `MeshSource`; at most `count` windows, spread over all sequences."""
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
    """Check the files of a sequence; returns the number of its frames."""
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
        raise FileNotFoundError(f"there is no {file}; docs/training.md lists the files")
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is not a complete file of numpy.save: {error}") from error
