"""SD and TD: the spatial and temporal disentangling modules of STDFormer.

STDFormer's authors published: the attention inside the modules (efficient multi-scale attention,
EMA, Ouyang et al., ICASSP 2023); that SD has 64 channels in 4 groups and TD the 8 frames of a
window as input; the number of parameters of both modules together (3,296); and a figure in which
the backbone's feature is the input of both modules in parallel, and their outputs are combined by a
product with a sigmoid. They did not publish the modules' source file. Two things are our
interpretation: that the modules act on the backbone's high-resolution map, and that the product is
SD(x) * sigmoid(TD(x)). Only `SpatioTemporalDisentangling` depends on them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DisentanglingModule(nn.Module):
    """One spatial attention map for each group of n channels, the weights shared by all groups.

    A group passes through two branches: one weights it by its means along height and along width,
    the other is a 3x3 convolution. The spatial means of each branch weight the other's channels,
    and the sigmoid of the sum of both is the map. The module has 10 n^2 + 4 n parameters.

    Args:
        channels: n, the channels of one group.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gn = nn.GroupNorm(channels, channels)
        self.conv1x1 = nn.Conv2d(channels, channels, kernel_size=1)
        self.conv3x3 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def attention_map(self, x: Tensor) -> Tensor:
        """The weight of each position of each group.

        Args:
            x: (G, n, H, W), one group a row.

        Returns:
            (G, 1, H, W) in 0..1.
        """
        height, width = x.shape[-2:]
        strips = torch.cat([x.mean(dim=3), x.mean(dim=2)], dim=2).unsqueeze(3)  # (G, n, H + W, 1)
        rows, columns = self.conv1x1(strips).sigmoid().split([height, width], dim=2)
        by_strips = self.gn(x * rows * columns.transpose(2, 3))
        by_neighbours = self.conv3x3(x)
        attention = _mix(by_strips, by_neighbours) + _mix(by_neighbours, by_strips)
        return attention.sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Weight the positions of each group: (G, n, H, W) -> the same shape."""
        return x * self.attention_map(x)


def _mix(weighting: Tensor, weighted: Tensor) -> Tensor:
    """`weighted`'s channels weighted by the means of `weighting`: (G, n, H, W) -> (G, 1, H, W)."""
    weights = weighting.mean(dim=(2, 3)).softmax(dim=1)
    return torch.einsum("gn,gnhw->ghw", weights, weighted).unsqueeze(1)


class SpatialDisentangling(nn.Module):
    """SD: attention within one frame, over groups of its channels.

    Args:
        channels: number of channels of the map, a multiple of `groups`.
        groups: number of groups, which share the weights; the paper has 64 channels in 4 groups.

    Raises:
        ValueError: if the groups do not divide the channels.
    """

    def __init__(self, channels: int = 64, groups: int = 4) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"SD: {channels} channels cannot be split into {groups} groups")
        self.groups = groups
        self.attention = DisentanglingModule(channels // groups)

    def forward(self, x: Tensor) -> Tensor:
        """Weight single frames: (B, C, H, W) -> the same shape."""
        return self.attention(x.unflatten(1, (self.groups, -1)).flatten(0, 1)).view_as(x)


class TemporalDisentangling(nn.Module):
    """TD: attention over time, the frames of the window being the channels of a group.

    Every channel of the feature map is one group of `frames` channels. So there is one attention
    map for the whole window: the weight of a position depends on how it changes over time.

    Args:
        frames: number of frames of the window; the paper has 8.
    """

    def __init__(self, frames: int = 8) -> None:
        super().__init__()
        self.frames = frames
        self.attention = DisentanglingModule(frames)

    def attention_map(self, x: Tensor) -> Tensor:
        """The window (B, T, C, H, W) -> (B, C, H, W) in 0..1, the same for all its frames.

        Raises:
            ValueError: if T is not the number of frames that the weights are made for.
        """
        if x.shape[1] != self.frames:
            raise ValueError(f"TD is made for windows of {self.frames} frames, not {x.shape[1]}")
        groups = x.transpose(1, 2).flatten(0, 1)  # (B * C, T, H, W)
        return self.attention.attention_map(groups).view(x[:, 0].shape)

    def forward(self, x: Tensor) -> Tensor:
        """Weight all frames of a window: (B, T, C, H, W) -> the same shape."""
        return x * self.attention_map(x).unsqueeze(1)

    def newest(self, x: Tensor) -> Tensor:
        """The last frame of `forward(x)` alone: (B, T, C, H, W) -> (B, C, H, W)."""
        return x[:, -1] * self.attention_map(x)


class SpatioTemporalDisentangling(nn.Module):
    """SD and TD in parallel and their fusion, out = SD(x) * sigmoid(TD(x)).

    Args:
        channels, groups: see `SpatialDisentangling`.
        frames: see `TemporalDisentangling`.
        spatial, temporal: whether there is SD, and TD. Without TD the result is SD(x), without SD
            it is x * sigmoid(TD(x)), without both x.
    """

    def __init__(
        self,
        channels: int = 64,
        groups: int = 4,
        frames: int = 8,
        spatial: bool = True,
        temporal: bool = True,
    ) -> None:
        super().__init__()
        self.sd = SpatialDisentangling(channels, groups) if spatial else None
        self.td = TemporalDisentangling(frames) if temporal else None

    def forward(self, x: Tensor) -> Tensor:
        """Every frame of the window: (B, T, C, H, W) -> the same shape."""
        spatial = self.sd(x.flatten(0, 1)).view_as(x) if self.sd is not None else x
        return spatial if self.td is None else spatial * self.td(x).sigmoid()

    def newest(self, x: Tensor) -> Tensor:
        """The last frame of `forward(x)` alone: (B, T, C, H, W) -> (B, C, H, W)."""
        spatial = self.sd(x[:, -1]) if self.sd is not None else x[:, -1]
        return spatial if self.td is None else spatial * self.td.newest(x).sigmoid()
