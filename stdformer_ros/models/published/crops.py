"""Square crops of people, as the published image networks want them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
import torch
from torch import Tensor

from stdformer_ros.models.published.landmark_joints import KEYPOINTS
from stdformer_ros.types import FloatArray, ImageArray, Person

MIN_SIZE = 16.0
"""Pixels; a person whose keypoints lie closer together still gets a crop that can be resized."""


@dataclass(frozen=True)
class Square:
    """A square of the image.

    Attributes:
        x, y: its centre in pixels.
        size: its side in pixels.
    """

    x: float
    y: float
    size: float

    def to_crop(self, points: FloatArray, resolution: int) -> FloatArray:
        """Pixels of the image (..., 2) to pixels of the crop, `resolution` on each side.

        Pixels are counted from the centre of the upper left one in both.
        """
        corner = np.array([self.x, self.y], np.float32) - 0.5 * self.size
        return ((points - corner) * (resolution / self.size) - 0.5).astype(np.float32)


def square_around(person: Person, image_shape: tuple[int, ...], scale: float) -> Square:
    """Where to crop.

    The published crops of 3DPW are squares around the keypoints that were found in the image, whose
    side is `scale` times the longer side of their box. Keypoints that are guessed outside of the
    image are moved to its border here, so that the crop stays on what can be seen and does not jump
    when a keypoint passes the border. A person without keypoints is cropped around the box.

    Args:
        person: in the image.
        image_shape: (H, W, ...).
        scale: 1.2 for FastMETRO and those after it, 1.25 for SGRE.
    """
    height, width = image_shape[:2]
    points = person.landmarks[list(KEYPOINTS)]
    points = points[(person.visibility[list(KEYPOINTS)] > 0) & np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        points = person.box.reshape(2, 2)
    points = np.clip(points, -0.5, np.array([width, height], np.float32) - 0.5)
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = 0.5 * (low + high)
    return Square(float(x), float(y), max(scale * float((high - low).max()), MIN_SIZE))


def crop(image: ImageArray, square: Square, resolution: int) -> ImageArray:
    """Cut the square out and resize it.

    What lies outside of the image is black. A square of more than twice the resolution is first
    shrunk by a whole factor with the mean over pixels, because interpolation between neighbours
    would skip the pixels between them.

    Args:
        image: (H, W, 3) uint8.
        square: in the image.
        resolution: of the crop.

    Returns:
        (resolution, resolution, 3) uint8.
    """
    shrink = int(square.size // resolution)
    left, top = 0, 0
    if shrink > 1:
        image, left, top = _shrunk(image, square, shrink)
    else:
        shrink = 1
    # source -> shrunk: (source - left + 0.5) / shrink - 0.5; source -> crop: `Square.to_crop`
    scale = resolution / square.size
    factor = scale * shrink

    def shift(corner: float, centre: float) -> float:
        return (corner - 0.5 + 0.5 * shrink - centre + 0.5 * square.size) * scale - 0.5

    matrix = np.array([[factor, 0, shift(left, square.x)], [0, factor, shift(top, square.y)]])
    cut = cv2.warpAffine(image, matrix, (resolution, resolution), flags=cv2.INTER_LINEAR)
    return cut.astype(np.uint8, copy=False)


def _shrunk(image: ImageArray, square: Square, factor: int) -> tuple[ImageArray, int, int]:
    """The square's part of the image, `factor` times smaller, and the pixel of its corner.

    The part is larger than the square by a shrunk pixel on each side, so that nothing is
    interpolated with a border that the image does not have.
    """
    cells = ceil(square.size / factor) + 3
    left = floor(square.x - 0.5 * square.size) - factor
    top = floor(square.y - 0.5 * square.size) - factor
    side = cells * factor
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    part = np.zeros((side, side, 3), np.uint8)
    if x0 < x1 and y0 < y1:
        part[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    small = cv2.resize(part, (cells, cells), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False), left, top


def to_input(
    crops: list[ImageArray], mean: tuple[float, ...] = (0, 0, 0), std: tuple[float, ...] = (1, 1, 1)
) -> Tensor:
    """Crops (S, S, 3) of uint8 RGB to a batch (P, 3, S, S) of (value / 255 - mean) / std."""
    return normalised(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float(), mean, std)


def normalised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images (P, 3, S, S) of 0..255 as (value / 255 - mean) / std."""
    offset, scale = (images.new_tensor(values)[:, None, None] for values in (mean, std))
    return (images / 255 - offset) / scale
