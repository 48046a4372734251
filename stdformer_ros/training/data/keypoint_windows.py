"""What the networks from 2D keypoints learn from: windows of keypoints, and the poses in them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX
from stdformer_ros.models.keypoints import LANDMARKS, h36m_keypoints
from stdformer_ros.training.data.h36m_joints import H36MJoints
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople


class KeypointBatch(NamedTuple):
    """Sequences of F frames, and the poses in K neighbouring frames of each.

    Attributes:
        keypoints: (B, F, 17, 2), see `KeypointNetwork`.
        poses: (B, K, 17, 3) metres, camera axes, relative to the pelvis; the last one is that of
            the frame that a network answers for when the sequence's last frame is its newest.
    """

    keypoints: Tensor
    poses: Tensor


class KeypointSource(Protocol):
    """Endless supply of `KeypointBatch`."""

    def sample(self, count: int) -> KeypointBatch:
        """A random batch of `count` sequences."""

    def sample_fixed(self, count: int) -> KeypointBatch:
        """The same batch at every call."""


class SyntheticKeypoints:
    """Motion before synthetic cameras, seen through a landmark detector that makes mistakes.

    Keypoints come from the disturbed landmarks, as they do in the node.

    Args:
        motion: where the poses come from; its windows are the sequences.
        answers: K.
        future_frames: how many frames after the last answer a sequence goes on.
        device: where to generate.
    """

    def __init__(
        self,
        motion: MotionLibrary,
        answers: int,
        future_frames: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self._people = SyntheticPeople(motion, answers + future_frames, device)
        self._answers = answers
        self._joints = H36MJoints().to(device)

    def sample(self, count: int) -> KeypointBatch:
        """See `KeypointSource`."""
        return self._batch(self._people.sample(count))

    def sample_fixed(self, count: int) -> KeypointBatch:
        """See `KeypointSource`."""
        return self._batch(self._people.sample_fixed(count))

    @torch.no_grad()
    def _batch(self, people: SyntheticBatch) -> KeypointBatch:
        rotations = people.rotations[:, : self._answers]
        betas = people.betas[:, None].expand(-1, self._answers, -1)
        poses = self._joints(rotations.flatten(0, 1), betas.flatten(0, 1))
        landmarks = people.rays.new_zeros(*people.rays.shape[:2], LANDMARKS, 2)
        landmarks[:, :, list(BLAZEPOSE_INDEX)] = people.rays
        return KeypointBatch(h36m_keypoints(landmarks), poses.unflatten(0, rotations.shape[:2]))
