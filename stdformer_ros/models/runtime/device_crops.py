"""Crops of everybody from one image that was brought to the device once.

The same crops as `crops.crop` cuts with OpenCV: black beyond the image, a mean over whole pixels
where the square is more than twice the resolution, else linear interpolation. Both are linear and
separable, so that a crop is rows @ image @ columns, and all crops are two products.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import torch
from torch import Tensor

from stdformer_ros.models.published.crops import Square
from stdformer_ros.types import ImageArray


def upload(image: ImageArray, device: torch.device) -> Tensor:
    """An image (H, W, 3) on the device, as (3, H, W) uint8; to a GPU through pinned memory."""
    tensor = torch.from_numpy(image)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).permute(2, 0, 1)


def cut(image: Tensor, squares: Sequence[Square], resolution: int) -> Tensor:
    """Cut the squares out and resize them.

    Args:
        image: (3, H, W) uint8.
        squares: P of them, in pixels of the image.
        resolution: of the crops.

    Returns:
        (P, 3, resolution, resolution) float32 in 0..255, not rounded.
    """
    height, width = image.shape[1:]
    rows = _weights([(s.y, s.size) for s in squares], resolution, height, image.device)
    columns = _weights([(s.x, s.size) for s in squares], resolution, width, image.device)
    narrow = image.float() @ columns[:, None].transpose(-1, -2)  # (P, 3, H, resolution)
    return rows[:, None] @ narrow


def _weights(
    places: Sequence[tuple[float, float]], resolution: int, pixels: int, device: torch.device
) -> Tensor:
    """How much each pixel of a line of the image counts in each pixel of the crops' lines.

    Args:
        places: centre and size of each square along the line, in pixels.
        resolution: pixels of a crop's line.
        pixels: of the image's line.
        device: of the answer.

    Returns:
        (P, resolution, pixels) float32.
    """
    shrinks = [max(int(size // resolution), 1) for _, size in places]
    starts = [
        floor(centre - 0.5 * size) - shrink if shrink > 1 else 0
        for (centre, size), shrink in zip(places, shrinks, strict=True)
    ]
    # Where the crop's pixels lie, in cells of `shrink` pixels counted from `start`.
    numbers = torch.tensor(
        [
            (
                size / resolution / shrink,
                (centre - 0.5 * size + 0.5 * size / resolution - start + 0.5) / shrink - 0.5,
                start,
                shrink,
            )
            for (centre, size), shrink, start in zip(places, shrinks, starts, strict=True)
        ],
        dtype=torch.float64,
    ).to(device, torch.float32)
    step, first, start, shrink = numbers[:, :, None].unbind(1)
    cells = first + step * torch.arange(resolution, device=device)
    pixel_cell = ((torch.arange(pixels, device=device) - start) / shrink).floor()
    away = (cells[:, :, None] - pixel_cell[:, None, :]).abs()
    return (1.0 - away).clamp(min=0.0) / shrink[:, :, None]
