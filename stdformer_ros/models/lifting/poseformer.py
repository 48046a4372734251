"""PoseFormer (Zheng et al., ICCV 2021): 17 2D keypoints of a window to one 3D pose.

Within a frame the joints attend to each other, then the frames of the window do. The published
network estimates the pose in the centre of its window. Names of parameters are those of the
published checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stdformer_ros.models.lifting.keypoint_network import JOINTS, KeypointNetwork

DEPTH, HEADS, MLP_RATIO = 4, 8, 2
NORM_EPS = 1e-6


class PoseFormer(KeypointNetwork):
    """The whole network; see `KeypointNetwork`. 9, 27 and 81 frames are published.

    Args:
        joint_channels: of each joint's token, a multiple of 8; the published ones have 32. A
            frame's token has 17 times as many.
    """

    def __init__(
        self,
        frames: int = 27,
        delay_frames: int = 0,
        future_frames: int | None = None,
        joint_channels: int = 32,
    ) -> None:
        super().__init__(frames, delay_frames, future_frames)
        frame_channels = JOINTS * joint_channels
        self.Spatial_patch_to_embedding = nn.Linear(2, joint_channels)
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, JOINTS, joint_channels))
        self.Temporal_pos_embed = nn.Parameter(torch.zeros(1, frames, frame_channels))
        self.Spatial_blocks = nn.ModuleList(Block(joint_channels) for _ in range(DEPTH))
        self.blocks = nn.ModuleList(Block(frame_channels) for _ in range(DEPTH))
        self.Spatial_norm = nn.LayerNorm(joint_channels, eps=NORM_EPS)
        self.Temporal_norm = nn.LayerNorm(frame_channels, eps=NORM_EPS)
        self.weighted_mean = nn.Conv1d(frames, 1, kernel_size=1)
        with torch.no_grad():  # training starts with the frame whose pose is wanted
            self.weighted_mean.weight.zero_()[:, frames - 1 - self.future_frames] = 1.0
        self.head = nn.Sequential(
            nn.LayerNorm(frame_channels), nn.Linear(frame_channels, JOINTS * 3)
        )

    def _encode(self, keypoints: Tensor) -> Tensor:
        x = self.Spatial_patch_to_embedding(keypoints) + self.Spatial_pos_embed
        for block in self.Spatial_blocks:
            x = block(x)
        return self.Spatial_norm(x).flatten(1)

    def _decode(self, frames: Tensor) -> Tensor:
        x = frames + self.Temporal_pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.weighted_mean(self.Temporal_norm(x)))


class Block(nn.Module):
    """A block of a vision transformer: attention and MLP on normalised tokens, added to them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = SelfAttention(width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class SelfAttention(nn.Module):
    """Multi-head self-attention with one projection to queries, keys and values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        q, k, v = self.qkv(tokens).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        return self.fc2(F.gelu(self.fc1(tokens)))
