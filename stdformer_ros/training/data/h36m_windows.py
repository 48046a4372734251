"""Windows of Human3.6M for the keypoint networks, from VideoPose3D's files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stdformer_ros.training.data.dataset_h36m import LEFT, RIGHT, TEST_SUBJECTS, read_recordings
from stdformer_ros.training.data.keypoint_windows import KeypointBatch

TRAINING_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
"""The others, S9 and S11, are the published test."""


class RecordedKeypoints:
    """See `KeypointSource`: half of the windows mirrored, as published.

    Sequences that reach over an end repeat the first or the last frame.

    Args:
        folder: see `training.dataset_h36m`.
        keypoints: "gt" or "cpn_ft_h36m_dbb", see `read_recordings`.
        subjects: whose recordings.
        frames: F, of the sequences.
        answers: K, for how many neighbouring frames there are poses.
        future_frames: how many frames after the last answer a sequence goes on.
        device: where everything is kept.

    Raises:
        FileNotFoundError, ValueError: as `read_recordings`.
    """

    def __init__(
        self,
        folder: Path,
        keypoints: str,
        subjects: tuple[str, ...],
        frames: int,
        answers: int,
        future_frames: int,
        device: torch.device | str = "cpu",
    ) -> None:
        recordings = list(read_recordings(folder, keypoints, subjects))
        self._keypoints = torch.cat([torch.from_numpy(r.keypoints) for r in recordings]).to(device)
        self._poses = torch.cat([torch.from_numpy(r.joints) for r in recordings]).to(device)
        lengths = torch.tensor([len(r.joints) for r in recordings])
        ends = lengths.cumsum(0)
        self._first = torch.repeat_interleave(ends - lengths, lengths).to(device)
        self._last = torch.repeat_interleave(ends - 1, lengths).to(device)
        self._frames = torch.arange(1 - frames, 1, device=device) + future_frames
        self._answers = torch.arange(1 - answers, 1, device=device)
        mirror = list(range(17))
        for left, right in zip(LEFT, RIGHT, strict=True):
            mirror[left], mirror[right] = right, left
        self._mirror = torch.tensor(mirror, device=device)

    def sample(self, count: int) -> KeypointBatch:
        """See `KeypointSource`."""
        device = self._poses.device
        chosen = torch.randint(len(self._poses), (count,), device=device)
        flip = (torch.rand(count, device=device) < 0.5)[:, None, None, None]
        keypoints, poses = self._batch(chosen)
        return KeypointBatch(
            torch.where(flip, self._mirrored(keypoints), keypoints),
            torch.where(flip, self._mirrored(poses), poses),
        )

    def sample_fixed(self, count: int) -> KeypointBatch:
        """Spread over all recordings."""
        last = len(self._poses) - 1
        return self._batch(torch.linspace(0, last, count, device=self._poses.device).round().long())

    def _batch(self, chosen: Tensor) -> KeypointBatch:
        """Sequences whose last answer is for these frames."""
        first, last = self._first[chosen, None], self._last[chosen, None]
        frames = (chosen[:, None] + self._frames).clamp(first, last)
        answers = (chosen[:, None] + self._answers).clamp(first, last)
        return KeypointBatch(self._keypoints[frames], self._poses[answers])

    def _mirrored(self, points: Tensor) -> Tensor:
        sign = torch.ones(points.shape[-1], device=points.device)
        sign[0] = -1.0
        return points[:, :, self._mirror] * sign


def h36m_splits(
    folder: Path,
    keypoints: str,
    frames: int,
    answers: int,
    future_frames: int,
    device: torch.device | str = "cpu",
) -> tuple[RecordedKeypoints, RecordedKeypoints]:
    """The published split: windows of the training subjects, and of S9 and S11."""
    seen, unseen = (
        RecordedKeypoints(folder, keypoints, subjects, frames, answers, future_frames, device)
        for subjects in (TRAINING_SUBJECTS, TEST_SUBJECTS)
    )
    return seen, unseen
