"""LSTM_PoseNet and two related networks: from the 2D keypoints of a window to one 3D pose.

The published ones were trained on windows of 81 frames for the pose in the centre. Names of
parameters are those of the published code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stdformer_ros.models.lifting.keypoint_network import JOINTS, KeypointNetwork
from stdformer_ros.models.transformer import sine_position_encoding_1d

INPUTS, OUTPUTS = JOINTS * 2, JOINTS * 3


class SimplePoseNet(KeypointNetwork):
    """One hidden layer over the flattened window; see `KeypointNetwork`."""

    def __init__(
        self, frames: int = 81, delay_frames: int = 0, future_frames: int | None = None
    ) -> None:
        super().__init__(frames, delay_frames, future_frames)
        self.fc1 = nn.Linear(frames * INPUTS, 1024)
        self.fc2 = nn.Linear(1024, OUTPUTS)

    def _encode(self, keypoints: Tensor) -> Tensor:
        return keypoints.flatten(1)

    def _decode(self, frames: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(frames.flatten(1))))


class LSTMPoseNet(KeypointNetwork):
    """An LSTM over the window whose last output gives the pose; see `KeypointNetwork`.

    Args:
        channels: size of the LSTM's state; the published one has 512.
    """

    def __init__(
        self,
        frames: int = 81,
        delay_frames: int = 0,
        future_frames: int | None = None,
        channels: int = 512,
    ) -> None:
        super().__init__(frames, delay_frames, future_frames)
        self.lstm = nn.LSTM(INPUTS, channels, batch_first=True)
        self.fc = nn.Linear(channels, OUTPUTS)

    def _encode(self, keypoints: Tensor) -> Tensor:
        return keypoints.flatten(1)

    def _decode(self, frames: Tensor) -> Tensor:
        outputs, _ = self.lstm(frames)
        return self.fc(outputs[:, -1])

    def every_pose(self, frames: Tensor) -> Tensor:
        """The pose after each frame: frames (B, F, C) -> poses (B, F, 17, 3), metres."""
        outputs, _ = self.lstm(frames)
        return self.fc(outputs).unflatten(2, (JOINTS, 3))


class SimpleTransformerPoseNet(KeypointNetwork):
    """Encoder layers of a post-norm transformer and the mean over time; see `KeypointNetwork`.

    The published encoder treats the batch dimension as the sequence. So with one window at a time,
    each frame attends only to itself. Here every window is computed in this way: each frame is a
    sequence of one, and no window influences another.
    """

    def __init__(
        self, frames: int = 81, delay_frames: int = 0, future_frames: int | None = None
    ) -> None:
        super().__init__(frames, delay_frames, future_frames)
        self.input_linear = nn.Linear(INPUTS, 256)
        self.pos_encoder = PositionEncoder(frames, 256)
        layer = nn.TransformerEncoderLayer(
            256, nhead=8, dim_feedforward=512, dropout=0.1, batch_first=True
        )
        self.transformer_encoder = nn.TransformerEncoder(
            layer, num_layers=3, enable_nested_tensor=False
        )
        self.output_linear = nn.Linear(256, OUTPUTS)

    def _encode(self, keypoints: Tensor) -> Tensor:
        return self.input_linear(keypoints.flatten(1))

    def _decode(self, frames: Tensor) -> Tensor:
        singles = self.pos_encoder(frames).flatten(0, 1).unsqueeze(1)  # (B * frames, 1, 256)
        return self.output_linear(self.transformer_encoder(singles).view_as(frames).mean(dim=1))


class PositionEncoder(nn.Module):
    """Adds the sine position encoding, which the published checkpoints hold as a buffer."""

    permanent_pe: Tensor

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("permanent_pe", sine_position_encoding_1d(length, channels)[None])

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, length, channels) -> the same shape."""
        return tokens + self.permanent_pe
