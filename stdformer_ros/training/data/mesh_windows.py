"""What the image networks learn from: windows of crops, and the bodies in them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.models.published.crops import to_input
from stdformer_ros.models.published.stdformer import IMAGE_MEAN, IMAGE_STD
from stdformer_ros.types import ImageArray


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
        """The same elsewhere."""
        return MeshBatch(*(part.to(device) for part in self))


class MeshSource(Protocol):
    """Endless supply of `MeshBatch` on the CPU."""

    def sample(self, count: int) -> MeshBatch:
        """A random batch of `count` windows."""

    def sample_fixed(self, count: int) -> MeshBatch:
        """The same batch at every call."""


def to_images(crops: ImageArray) -> Tensor:
    """Crops (B, T, 224, 224, 3) of RGB to `MeshBatch.images`."""
    flat = np.ascontiguousarray(crops.reshape(-1, *crops.shape[2:]))
    return to_input(list(flat), IMAGE_MEAN, IMAGE_STD).unflatten(0, crops.shape[:2])
