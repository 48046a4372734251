"""LSTM_PoseNet and its companions: small networks from 2D keypoints of a window to one 3D pose.

All take Human3.6M's 17 keypoints, normalised as for PoseFormer, and answer for the newest frame
with a dict of `pose` (B, 1, 17, 3) in metres, relative to the pelvis. Names of parameters are those of
the published code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from stdformer_ros.models.estimator import Features
from stdformer_ros.models.position_encoding import sine_position_encoding_1d

JOINTS = 17
INPUTS, OUTPUTS = JOINTS * 2, JOINTS * 3
KEYPOINTS = "keypoints"
TOKENS = "tokens"


class LiftPoseNet(nn.Module, ABC):
    """What the three have in common.

    Args:
        window: frames that `decode` sees.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def encode(self, keypoints: Tensor) -> Features:
        """What can be computed of single frames.

        Args:
            keypoints: (B, 17, 2).

        Returns:
            Named tensors (B, C).

        Raises:
            ValueError: if the keypoints have another shape.
        """
        if keypoints.shape[1:] != (JOINTS, 2):
            raise ValueError(f"keypoints must be (B, {JOINTS}, 2), not {tuple(keypoints.shape)}")
        return self._encode(keypoints.flatten(1))

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """The pose in the newest frame.

        Args:
            windows: what `encode` gave, (B, window, C) each, oldest frame first.

        Raises:
            ValueError: if the window has another length.
        """
        (features,) = windows.values()
        if features.shape[1] != self.window:
            raise ValueError(f"windows must have {self.window} frames, not {features.shape[1]}")
        return {"pose": self._decode(features).view(-1, 1, JOINTS, 3)}

    def forward(self, keypoints: Tensor) -> dict[str, Tensor]:
        """A window of keypoints (B, window, 17, 2) to the pose in its newest frame."""
        if keypoints.ndim != 4:
            raise ValueError(
                f"windows must be (B, {self.window}, {JOINTS}, 2), not {tuple(keypoints.shape)}"
            )
        features = self.encode(keypoints.flatten(0, 1))
        return self.decode({k: v.unflatten(0, keypoints.shape[:2]) for k, v in features.items()})

    def _encode(self, keypoints: Tensor) -> Features:
        """Flat keypoints (B, 34) to features (B, C)."""
        return {KEYPOINTS: keypoints}

    @abstractmethod
    def _decode(self, features: Tensor) -> Tensor:
        """Features (B, window, C) to the flat pose (B, 51)."""


class SimplePoseNet(LiftPoseNet):
    """One hidden layer over the flattened window."""

    def __init__(self, window: int = 81) -> None:
        super().__init__(window)
        self.fc1 = nn.Linear(window * INPUTS, 1024)
        self.fc2 = nn.Linear(1024, OUTPUTS)

    def _decode(self, features: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(features.flatten(1))))


class LSTMPoseNet(LiftPoseNet):
    """An LSTM over the window, the last output of which gives the pose."""

    def __init__(self, window: int = 81) -> None:
        super().__init__(window)
        self.lstm = nn.LSTM(INPUTS, 512, batch_first=True)
        self.fc = nn.Linear(512, OUTPUTS)

    def _decode(self, features: Tensor) -> Tensor:
        outputs, _ = self.lstm(features)
        return self.fc(outputs[:, -1])


class SimpleTransformerPoseNet(LiftPoseNet):
    """Encoder layers of a post-norm transformer and the mean over time.

    The published encoder takes the batch for the sequence, so that, answering for one window at a
    time, each frame attends to itself alone. That is what is computed here for every window: each
    frame is a sequence of one, and no window sees another.
    """

    def __init__(self, window: int = 81) -> None:
        super().__init__(window)
        self.input_linear = nn.Linear(INPUTS, 256)
        self.pos_encoder = PositionEncoder(window, 256)
        layer = nn.TransformerEncoderLayer(
            256, nhead=8, dim_feedforward=512, dropout=0.1, batch_first=True
        )
        self.transformer_encoder = nn.TransformerEncoder(
            layer, num_layers=3, enable_nested_tensor=False
        )
        self.output_linear = nn.Linear(256, OUTPUTS)

    def _encode(self, keypoints: Tensor) -> Features:
        return {TOKENS: self.input_linear(keypoints)}

    def _decode(self, features: Tensor) -> Tensor:
        frames = self.pos_encoder(features).flatten(0, 1).unsqueeze(1)  # (B * window, 1, 256)
        frames = self.transformer_encoder(frames).view_as(features)
        return self.output_linear(frames.mean(dim=1))


class PositionEncoder(nn.Module):
    """Adds sine positions, which the published checkpoints hold as a buffer."""

    permanent_pe: Tensor

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("permanent_pe", sine_position_encoding_1d(length, channels)[None])

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, length, channels) -> the same shape."""
        return tokens + self.permanent_pe
