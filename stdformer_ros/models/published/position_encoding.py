"""Sine position encodings, in two and in one dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0


def sine_position_encoding_2d(height: int, width: int, channels: int) -> Tensor:
    """The encoding of DETR (Carion et al., ECCV 2020): half the channels tell y, half tell x.

    Coordinates count from 1 and are scaled so that the last row and column are 2 pi.

    Args:
        height: of the feature map.
        width: of the feature map.
        channels: a multiple of 4.

    Returns:
        (height * width, channels), row by row.
    """
    half = channels // 2
    pairs = torch.arange(half, dtype=torch.float32).div(2, rounding_mode="floor")
    periods = TEMPERATURE ** (2 * pairs / half)

    def along(length: int) -> Tensor:
        steps = torch.arange(1, length + 1, dtype=torch.float32)
        angles = (steps / (length + 1e-6) * 2 * math.pi).unsqueeze(1) / periods
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)

    rows = along(height).unsqueeze(1).expand(height, width, half)
    columns = along(width).unsqueeze(0).expand(height, width, half)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def sine_position_encoding_1d(length: int, channels: int) -> Tensor:
    """The encoding of "Attention Is All You Need" (2017): (length, channels), sine, cosine, ..."""
    steps = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    even = torch.arange(0, channels, 2, dtype=torch.float32)
    angles = steps * torch.exp(even * (-math.log(TEMPERATURE) / channels))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :channels]
