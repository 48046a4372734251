"""Training data of the networks that lift 2D keypoints: sequences of keypoints and their poses.

Training draws batches from a `KeypointSource`. `SyntheticKeypoints` makes them from motion capture,
with true joints from `H36MJoints`. Human3.6M is the other source, see `h36m`.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX
from stdformer_ros.body.body_model import forward_kinematics, h36m_joint_regressor, load_body_arrays
from stdformer_ros.body.skeleton import H36M_NAMES, JOINT_NAMES
from stdformer_ros.models.keypoints import LANDMARKS, h36m_keypoints
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople

_HEAD = slice(9, 11)
"""The two of Human3.6M's 17 joints that are points of the head and not joints of our skeleton."""


class KeypointBatch(NamedTuple):
    """Sequences of F frames, and the poses in K consecutive frames of each.

    Attributes:
        keypoints: (B, F, 17, 2), see `KeypointNetwork`.
        poses: (B, K, 17, 3) metres, camera axes, relative to the pelvis. The last one belongs to
            the frame that a network answers for after it has read the whole sequence.
    """

    keypoints: Tensor
    poses: Tensor


class KeypointSource(Protocol):
    """Endless supply of `KeypointBatch`."""

    def sample(self, count: int) -> KeypointBatch:
        """A random batch of `count` sequences."""

    def sample_fixed(self, count: int) -> KeypointBatch:
        """The same batch at every call."""


class H36MJoints(nn.Module):
    """Human3.6M's 17 joints of posed bodies, without posing the whole mesh.

    They follow the definition of `body.body_model.h36m_joint_regressor`: limbs, neck and
    pelvis are joints of the skeleton, the torso is the middle of the lower and the upper spine
    joint, and the two points of the head move with the head joint.
    """

    template: Tensor
    shapedirs: Tensor
    joints_template: Tensor
    joints_shapedirs: Tensor

    def __init__(self) -> None:
        super().__init__()
        data = load_body_arrays()
        rows = h36m_joint_regressor()[_HEAD]
        for name, array in (
            ("template", rows @ data["v_template"]),
            ("shapedirs", np.einsum("hv,vck->hck", rows, data["shapedirs"])),
            ("joints_template", data["joints_template"]),
            ("joints_shapedirs", data["joints_shapedirs"]),
        ):
            tensor = torch.from_numpy(array.astype(np.float32))
            self.register_buffer(name, tensor, persistent=False)
        self._head = JOINT_NAMES.index("head")
        self._spine = [JOINT_NAMES.index(name) for name in ("spine1", "spine3")]
        names = (*JOINT_NAMES, "torso")
        joints = [names.index(n) for n in H36M_NAMES[: _HEAD.start] + H36M_NAMES[_HEAD.stop :]]
        head_points = list(range(len(names), len(names) + 2))
        self._order = joints[: _HEAD.start] + head_points + joints[_HEAD.start :]

    def forward(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """Pose bodies.

        Args:
            rotations: (B, 24, 3, 3), the pelvis' in the output frame, the others relative to
                their parents.
            betas: (B, 10).

        Returns:
            (B, 17, 3) metres, relative to the pelvis.
        """
        rest = self.joints_template + torch.einsum("jck,bk->bjc", self.joints_shapedirs, betas)
        global_rotations, joints = forward_kinematics(rotations, rest)
        torso = joints[:, self._spine].mean(dim=1, keepdim=True)
        head_points = self.template + torch.einsum("vck,bk->bvc", self.shapedirs, betas)
        offsets = head_points - rest[:, self._head, None]
        rotated = offsets @ global_rotations[:, self._head].transpose(1, 2)
        head_points = joints[:, self._head, None] + rotated
        return torch.cat([joints, torso, head_points], dim=1)[:, self._order]


class SyntheticKeypoints:
    """A `KeypointSource` of motion capture in front of synthetic cameras.

    Keypoints are computed from the landmarks of a simulated detector, as the node computes them
    from those of the real one.

    Args:
        motion: gives the poses; its windows are the sequences.
        answers: K, the number of consecutive frames whose poses are given.
        future_frames: number of frames after the last answer.
        device: to generate on.
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
