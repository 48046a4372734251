"""Square crops of people for the published image networks.

Order: the square around a person, cutting it out with OpenCV on the CPU, cutting the squares of all
people out on the network's device, and from positions in a crop to metres in the camera frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt

import cv2
import numpy as np
import torch
from torch import Tensor

from stdformer_ros.camera.pinhole import Camera, weak_perspective_to_metres
from stdformer_ros.models.estimator import METRIC, Features
from stdformer_ros.models.keypoints import KEYPOINTS
from stdformer_ros.types import FloatArray, ImageArray, Person

MIN_SIZE = 16.0
"""Smallest side of a square in pixels, for people whose keypoints lie close together."""
VIEW = "view"
"""The feature (P, 3) that says where a crop lies in the camera, see `crop_view`."""
MIN_SCALE = 0.05
"""Smallest scale of the weak-perspective camera in 1/m, with which the crop spans 40 m. Untrained
networks give smaller ones."""


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
    """The square to crop around a person.

    The published crops of 3DPW are squares around the keypoints that were found in the image, whose
    side is `scale` times the longer side of their box. Keypoints that are estimated outside of the
    image are moved to its border, so that the crop stays on what can be seen and does not jump when
    a keypoint passes the border. A person without keypoints is cropped around the box.

    Args:
        person: in the image.
        image_shape: (H, W, ...).
        scale: 1.2 for FastMETRO, STDFormer and PointHMR, 1.25 for SGRE.
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
    """Cut a square out and resize it with OpenCV.

    What lies outside of the image is black. A square of more than twice the resolution is first
    shrunk by a whole factor with the mean over pixels, because interpolation between neighbours
    would skip the pixels between them.

    Args:
        image: (H, W, 3) uint8.
        square: in the image.
        resolution: side of the crop in pixels.

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
    resized = cv2.warpAffine(image, matrix, (resolution, resolution), flags=cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


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


def upload(image: ImageArray, device: torch.device) -> Tensor:
    """An image (H, W, 3) on the device, as (3, H, W) uint8; to a GPU through pinned memory."""
    tensor = torch.from_numpy(image)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).permute(2, 0, 1)


def crop_on_device(image: Tensor, squares: Sequence[Square], resolution: int) -> Tensor:
    """Cut squares out of one image and resize them, on the image's device.

    These are the crops that `crop` cuts with OpenCV: black beyond the image, a mean over whole
    pixels where the square is more than twice the resolution, else linear interpolation. Both are
    linear and separable, so that a crop is rows @ image @ columns, and all crops are two products.

    Args:
        image: (3, H, W) uint8.
        squares: P of them, in pixels of the image.
        resolution: side of the crops in pixels.

    Returns:
        (P, 3, resolution, resolution) float32 in 0..255, not rounded.
    """
    height, width = image.shape[1:]
    rows = _line_weights([(s.y, s.size) for s in squares], resolution, height, image.device)
    columns = _line_weights([(s.x, s.size) for s in squares], resolution, width, image.device)
    narrow = image.float() @ columns[:, None].transpose(-1, -2)  # (P, 3, H, resolution)
    return rows[:, None] @ narrow


def _line_weights(
    spans: Sequence[tuple[float, float]], resolution: int, pixels: int, device: torch.device
) -> Tensor:
    """The weight of each pixel of a line of the image in each pixel of the crops' lines.

    Args:
        spans: P pairs of centre and size of a square along the line, in pixels.
        resolution: number of pixels of a crop's line.
        pixels: number of pixels of the image's line.
        device: of the result.

    Returns:
        (P, resolution, pixels) float32.
    """
    shrinks = [max(int(size // resolution), 1) for _, size in spans]
    starts = [
        floor(centre - 0.5 * size) - shrink if shrink > 1 else 0
        for (centre, size), shrink in zip(spans, shrinks, strict=True)
    ]
    # The positions of the crop's pixels, in cells of `shrink` pixels counted from `start`.
    numbers = torch.tensor(
        [
            (
                size / resolution / shrink,
                (centre - 0.5 * size + 0.5 * size / resolution - start + 0.5) / shrink - 0.5,
                start,
                shrink,
            )
            for (centre, size), shrink, start in zip(spans, shrinks, starts, strict=True)
        ],
        dtype=torch.float64,
    ).to(device, torch.float32)
    step, first, start, shrink = numbers[:, :, None].unbind(1)
    cells = first + step * torch.arange(resolution, device=device)
    pixel_cell = ((torch.arange(pixels, device=device) - start) / shrink).floor()
    distance = (cells[:, :, None] - pixel_cell[:, None, :]).abs()
    return (1.0 - distance).clamp(min=0.0) / shrink[:, :, None]


def crop_view(squares: Sequence[Square], camera: Camera, device: torch.device) -> Features:
    """The positions of crops in the camera, as features of their people.

    Returns:
        `view` (P, 3): x/z and y/z of the crop's centre, and half its size at unit depth; `metric`
        (P,): 1 where the intrinsics are known, 0 where they are assumed.
    """
    focal = sqrt(camera.fx * camera.fy)
    centres = camera.rays(np.array([(s.x, s.y) for s in squares], np.float32))
    view = [(x, y, 0.5 * s.size / focal) for (x, y), s in zip(centres, squares, strict=True)]
    known = torch.full((len(squares),), float(camera.known), device=device)
    return {VIEW: torch.tensor(view, dtype=torch.float32, device=device), METRIC: known}


def place_in_camera(weak: Tensor, view: Tensor) -> Tensor:
    """The body's origin, from the weak-perspective camera over the crop.

    The published networks treat the crop as the whole image of a distant camera. So the body's
    distance follows from its size in pixels and the focal length, z = 2 f / (s size), and the body
    is moved, but not rotated, to where the crop lies.

    Args:
        weak: (B, 3) s, tx, ty: a point X is seen at s (X + t), in [-1, 1] over the crop.
        view: (B, 3) see `crop_view`.

    Returns:
        (B, 3) metres, camera frame.
    """
    scale = weak[:, :1].clamp(min=MIN_SCALE)
    near = weak_perspective_to_metres(torch.cat([scale, weak[:, 1:]], dim=1), view[:, 2])
    depth = near[:, 2:]
    return torch.cat([near[:, :2] + view[:, :2] * depth, depth], dim=1)
