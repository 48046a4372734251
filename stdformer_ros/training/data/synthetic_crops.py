"""Drawn people: the embedded body in the training motion, as crops of images."""

from __future__ import annotations

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
from stdformer_ros.models.published.image_estimator import CROP_SCALE
from stdformer_ros.models.published.stdformer import IMAGE_SIZE
from stdformer_ros.training.data.mesh_windows import MeshBatch, to_images
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.synthetic import SyntheticPeople
from stdformer_ros.types import FloatArray, ImageArray

DRAWN = LEVELS[1]
"""Vertices of the mesh that is drawn: at this size nobody sees more."""
NEAREST = 0.3
"""Metres; a body that comes closer than this to the camera is not worth drawing."""
SCALE = (0.9, 1.2)
"""Sides of the crops in those of the live ones, which are not always around the same."""
SHIFT = 0.05
"""Standard deviation of a crop's centre, in its sides."""


class SyntheticCrops:
    """See `MeshSource`: one plain body each, shaded, before a background of coloured clouds.

    Args:
        motion: where the poses come from; its windows are the windows.
    """

    def __init__(self, motion: MotionLibrary) -> None:
        self._people = SyntheticPeople(motion, answers=motion.frames)
        self._body = BodyModel()
        self._regressor = torch.from_numpy(h36m_joint_regressor())
        data = load_body_arrays()
        self._drawn = level_index(data, DRAWN)
        self._faces = data[f"faces_{DRAWN}"].astype(np.int32)

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
        crops = self._draw((vertices + place).numpy(), centre.numpy(), half.numpy(), shape)
        return MeshBatch(
            to_images(crops), *(t.unflatten(0, shape) for t in (joints, joints_2d, vertices))
        )

    def sample_fixed(self, count: int) -> MeshBatch:
        """See `MeshSource`."""
        with torch.random.fork_rng():
            torch.manual_seed(1234)
            return self.sample(count)

    def _draw(
        self, vertices: FloatArray, centre: FloatArray, half: FloatArray, shape: torch.Size
    ) -> ImageArray:
        """Bodies (N, 6890, 3) in camera coordinates, in squares of rays, to crops."""
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
                draw_mesh(canvas, vertices[i, self._drawn], self._faces, camera, color)
                grain = random.normal(0, 6, canvas.shape)
                canvas[:] = (canvas + grain).clip(0, 255).astype(np.uint8)
        return crops


def _squares(rays: Tensor) -> tuple[Tensor, Tensor]:
    """Around joints (B, T, 14, 2): centres (B * T, 2) and half sides (B * T,)."""
    low, high = rays.amin(dim=2), rays.amax(dim=2)
    scale = CROP_SCALE * (SCALE[0] + (SCALE[1] - SCALE[0]) * torch.rand(len(rays), 1))
    half = 0.5 * scale * (high - low).amax(dim=-1)
    shift = 2 * SHIFT * torch.randn(len(rays), 1, 2)
    centre = 0.5 * (low + high) + shift * half[..., None]
    return centre.flatten(0, 1), half.flatten()


def _clouds(random: np.random.Generator) -> NDArray[np.uint8]:
    """A picture without people: (224, 224, 3)."""
    cells = int(random.integers(2, 15))
    seeds = torch.from_numpy(random.uniform(0, 255, (1, 3, cells, cells)))
    smooth = torch.nn.functional.interpolate(seeds, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
    return smooth[0].permute(1, 2, 0).numpy().astype(np.uint8)
