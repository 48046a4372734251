"""PoseFormer (Zheng et al., ICCV 2021): 17 2D keypoints of a window to one 3D pose.

Within a frame the joints attend to each other, then the frames of the window do. The published
network answers for the centre of its window. Names of parameters are those of the published
checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stdformer_ros.models.estimator import Features

JOINTS = 17
JOINT_CHANNELS = 32
FRAME_CHANNELS = JOINTS * JOINT_CHANNELS
DEPTH, HEADS, MLP_RATIO = 4, 8, 2
NORM_EPS = 1e-6
FRAMES = "frames"


class PoseFormer(nn.Module):
    """See the top of the file.

    Keypoints are Human3.6M's 17, x / w * 2 - 1 and (y * 2 - h) / w for an image of w x h pixels.
    The answer is a dict of `pose` (B, 1, 17, 3): metres, relative to the pelvis.

    Args:
        frames: of the published window; 9, 27 and 81 are published.
        delay_frames: how many frames before the newest one `decode` answers for, from 0 to half
            the window. What the centre would see of the future beyond the newest frame is the
            newest frame repeated; half the window is the published way, without any of that.

    Raises:
        ValueError: if the window has no centre, or the delay is out of range.

    Attributes:
        window: real frames that `decode` sees.
    """

    def __init__(self, frames: int = 27, delay_frames: int = 0) -> None:
        super().__init__()
        if frames % 2 == 0:
            raise ValueError(f"PoseFormer needs a window with a centre, not {frames} frames")
        if not 0 <= delay_frames <= frames // 2:
            raise ValueError(
                f"delay_frames must be 0 to {frames // 2} for {frames} frames, not {delay_frames}"
            )
        self.frames = frames
        self.delay_frames = delay_frames
        self.window = frames // 2 + 1 + delay_frames
        self.Spatial_patch_to_embedding = nn.Linear(2, JOINT_CHANNELS)
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, JOINTS, JOINT_CHANNELS))
        self.Temporal_pos_embed = nn.Parameter(torch.zeros(1, frames, FRAME_CHANNELS))
        self.Spatial_blocks = nn.ModuleList(Block(JOINT_CHANNELS) for _ in range(DEPTH))
        self.blocks = nn.ModuleList(Block(FRAME_CHANNELS) for _ in range(DEPTH))
        self.Spatial_norm = nn.LayerNorm(JOINT_CHANNELS, eps=NORM_EPS)
        self.Temporal_norm = nn.LayerNorm(FRAME_CHANNELS, eps=NORM_EPS)
        self.weighted_mean = nn.Conv1d(frames, 1, kernel_size=1)
        self.head = nn.Sequential(nn.LayerNorm(FRAME_CHANNELS), nn.Linear(FRAME_CHANNELS, 51))

    def encode(self, keypoints: Tensor) -> Features:
        """Let the joints of single frames attend to each other.

        Args:
            keypoints: (B, 17, 2).

        Returns:
            `frames` (B, 544).

        Raises:
            ValueError: if the keypoints have another shape.
        """
        if keypoints.shape[1:] != (JOINTS, 2):
            raise ValueError(f"keypoints must be (B, {JOINTS}, 2), not {tuple(keypoints.shape)}")
        x = self.Spatial_patch_to_embedding(keypoints) + self.Spatial_pos_embed
        for block in self.Spatial_blocks:
            x = block(x)
        return {FRAMES: self.Spatial_norm(x).flatten(1)}

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """The pose in the frame `delay_frames` before the newest.

        Args:
            windows: what `encode` gave, `frames` (B, window, 544), oldest frame first.

        Raises:
            ValueError: if the window has another length.
        """
        x = windows[FRAMES]
        if x.shape[1] != self.window:
            raise ValueError(
                f"PoseFormer with delay_frames={self.delay_frames} needs windows of {self.window} "
                f"frames, not {x.shape[1]}"
            )
        missing = self.frames - self.window
        return self._decode(torch.cat([x, x[:, -1:].expand(-1, missing, -1)], dim=1))

    def forward(self, keypoints: Tensor) -> dict[str, Tensor]:
        """The published way: a whole window (B, frames, 17, 2) to the pose in its centre.

        Raises:
            ValueError: if the keypoints have another shape.
        """
        if keypoints.ndim != 4 or keypoints.shape[1] != self.frames:
            raise ValueError(
                f"windows must be (B, {self.frames}, {JOINTS}, 2), not {tuple(keypoints.shape)}"
            )
        frames = self.encode(keypoints.flatten(0, 1))[FRAMES]
        return self._decode(frames.unflatten(0, keypoints.shape[:2]))

    def _decode(self, frames: Tensor) -> dict[str, Tensor]:
        """All frames of the published window, (B, frames, 544), to the pose in the centre."""
        x = frames + self.Temporal_pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.head(self.weighted_mean(self.Temporal_norm(x)))
        return {"pose": x.unflatten(2, (JOINTS, 3))}


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
