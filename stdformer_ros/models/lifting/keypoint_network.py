"""The base class of the networks from the 2D keypoints of a window to one 3D pose."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from stdformer_ros.models.estimator import Features

JOINTS = 17
FRAMES = "frames"


class KeypointNetwork(nn.Module, ABC):
    """A network that is trained to estimate the pose in one frame of its window.

    The published networks estimate the pose in the window's centre, from frames before and after
    it. In a stream, waiting for the frames after it is a delay. Instead of those that the network
    does not wait for, the newest frame is repeated.

    Keypoints are Human3.6M's 17, (2 x - w) / w and (2 y - h) / w for an image of w x h pixels. The
    result is a dict of `pose` (B, 1, 17, 3): metres, relative to the pelvis.

    Args:
        frames: number of frames of the window that the weights are made for.
        delay_frames: `decode` gives the pose in the frame this many frames before the newest one,
            from 0 (causal) to `future_frames` (as published, without repeated frames).
        future_frames: number of frames of the window after the one whose pose the weights are
            trained for; None for half the window, as published.

    Raises:
        ValueError: if the delay or the future does not fit the window.

    Attributes:
        window: number of real frames that `decode` sees.
    """

    def __init__(
        self, frames: int, delay_frames: int = 0, future_frames: int | None = None
    ) -> None:
        super().__init__()
        future_frames = frames // 2 if future_frames is None else future_frames
        if not 0 <= future_frames < frames:
            raise ValueError(
                f"future_frames must be 0 to {frames - 1} for {frames} frames, not {future_frames}"
            )
        if not 0 <= delay_frames <= future_frames:
            possible = (
                f"0 to {future_frames}"
                if future_frames
                else ("0 for weights that answer for the newest frame")
            )
            raise ValueError(f"delay_frames must be {possible}, not {delay_frames}")
        self.frames = frames
        self.delay_frames = delay_frames
        self.future_frames = future_frames
        self.window = frames - future_frames + delay_frames

    def encode(self, keypoints: Tensor) -> Features:
        """Compute the features of single frames.

        Args:
            keypoints: (B, 17, 2), see the top of the class.

        Returns:
            `frames` (B, C).

        Raises:
            ValueError: if the keypoints have another shape.
        """
        if keypoints.shape[1:] != (JOINTS, 2):
            raise ValueError(f"keypoints must be (B, {JOINTS}, 2), not {tuple(keypoints.shape)}")
        return {FRAMES: self._encode(keypoints)}

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """Estimate the pose in the frame `delay_frames` before the newest.

        Args:
            windows: the output of `encode`, `frames` (B, window, C), oldest frame first.

        Returns:
            See the top of the class.

        Raises:
            ValueError: if the window has another length.
        """
        x = windows[FRAMES]
        if x.shape[1] != self.window:
            raise ValueError(
                f"with delay_frames={self.delay_frames} windows must have {self.window} frames, "
                f"not {x.shape[1]}"
            )
        future = x[:, -1:].expand(-1, self.frames - self.window, -1)
        return self._pose(torch.cat([x, future], dim=1))

    def forward(self, keypoints: Tensor) -> dict[str, Tensor]:
        """Estimate the pose as published, from a whole window of keypoints (B, frames, 17, 2).

        Raises:
            ValueError: if the keypoints have another shape.
        """
        if keypoints.ndim != 4 or keypoints.shape[1] != self.frames:
            raise ValueError(
                f"windows must be (B, {self.frames}, {JOINTS}, 2), not {tuple(keypoints.shape)}"
            )
        frames = self.encode(keypoints.flatten(0, 1))[FRAMES]
        return self._pose(frames.unflatten(0, keypoints.shape[:2]))

    def _pose(self, frames: Tensor) -> dict[str, Tensor]:
        return {"pose": self.pose_of(frames)[:, None]}

    def pose_of(self, frames: Tensor) -> Tensor:
        """The poses (B, 17, 3) in metres of whole windows of encoded frames (B, frames, C)."""
        return self._decode(frames).view(-1, JOINTS, 3)

    @abstractmethod
    def _encode(self, keypoints: Tensor) -> Tensor:
        """Keypoints (B, 17, 2) of single frames to features (B, C)."""

    @abstractmethod
    def _decode(self, frames: Tensor) -> Tensor:
        """Features of a whole window (B, frames, C) to the pose (B, ..., 51)."""
