"""Moving bodies of many shapes, before anybody films them."""

from __future__ import annotations

from math import radians
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.body.body_landmarks import BodyLandmarks
from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.body.skeleton import JOINT_NAMES, MIRROR, PARENTS
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.quaternions import (
    quaternion_from_vector,
    quaternion_product,
    quaternion_to_matrix,
)
from stdformer_ros.training.people.reaching import reaching

BEND = 0.06
"""Standard deviation in radians by which every joint is bent for good, as people differ."""
REACHING = 0.4
"""Part of the people who take poses of `reaching`."""
LIMB_LENGTH = 0.02
"""Standard deviation of bone lengths that the body's ten shape parameters do not tell."""
MIXED = 0.3
"""Part of the people whose arms and head move as in another clip than their legs."""
SEATED = 0.06
"""Part of the people who sit: motion capture of walking and dancing has hardly any."""
TIPPED = 0.04
"""Part of the people who lie, or are about to: turned over as a whole."""

UPPER = JOINT_NAMES.index("spine2")


class PosedMotion(NamedTuple):
    """Sequences of F frames in a world with y up, the last frame's pelvis at the origin.

    Attributes:
        landmarks: (B, F, 21, 3) metres.
        rotations: (B, K, 24, 3, 3) of the last K frames, the pelvis' in the world.
        pelvis: (B, K, 3) metres, of the same frames.
        betas: (B, 10).
    """

    landmarks: Tensor
    rotations: Tensor
    pelvis: Tensor
    betas: Tensor


class MotionPoser:
    """Endless supply of `PosedMotion`.

    Args:
        motion: where the poses come from; its windows are the sequences.
        answers: K, the number of last frames to give rotations for.
        device: where to generate.
    """

    def __init__(self, motion: MotionLibrary, answers: int, device: torch.device) -> None:
        self._motion = motion
        self._answers = answers
        self._device = device
        self._body = BodyModel(level=108).to(device)
        self._landmarks = BodyLandmarks().to(device)
        self._upper = torch.tensor([_is_upper(joint) for joint in range(len(PARENTS))])

    @torch.no_grad()
    def pose(self, count: int) -> PosedMotion:
        """A batch of `count` sequences."""
        quaternions, root = self._motion.sample(count)
        frames = quaternions.shape[1]
        quaternions = self._mixed(quaternions)
        quaternions = self._seated(quaternions)
        chosen = self._chosen(count, REACHING)
        quaternions = torch.where(chosen, reaching(quaternions), quaternions)
        quaternions = quaternion_product(quaternions, self._bends(count))
        quaternions = self._tipped(quaternions)
        betas = torch.randn(count, 10, device=self._device)

        rest = self._body.joints_template + torch.einsum(
            "jck,bk->bjc", self._body.joints_shapedirs, betas
        )
        every = betas[:, None].expand(-1, frames, -1).flatten(0, 1)
        own, longer = (
            joints[:, None].expand(-1, frames, -1, -1).flatten(0, 1)
            for joints in (rest, self._other_proportions(rest))
        )
        rotations = quaternion_to_matrix(quaternions)
        turns, joints = forward_kinematics(rotations.flatten(0, 1), longer)
        # the skin rests at the body's own joints, and goes along with where they are now
        landmarks = self._landmarks(turns, joints, own, every).unflatten(0, (count, frames))
        last = slice(-self._answers, None)
        return PosedMotion(landmarks + root[:, :, None], rotations[:, last], root[:, last], betas)

    def _other_proportions(self, rest: Tensor) -> Tensor:
        """Rest joints (B, 24, 3) whose bones are longer or shorter, alike on both sides."""
        noise = torch.randn(rest.shape[:2], device=self._device)
        twin = [min(joint, other) for joint, other in enumerate(MIRROR)]
        factor = 1 + LIMB_LENGTH * noise[:, twin]
        joints = [rest[:, 0]]
        for joint, parent in enumerate(PARENTS[1:], start=1):
            bone = rest[:, joint] - rest[:, parent]
            joints.append(joints[parent] + factor[:, joint, None] * bone)
        return torch.stack(joints, dim=1)

    def _chosen(self, count: int, part: float) -> Tensor:
        return torch.rand(count, 1, 1, 1, device=self._device) < part

    def _mixed(self, quaternions: Tensor) -> Tensor:
        """The upper body of some is that of their neighbour in the batch."""
        other = quaternions.roll(1, 0)
        upper = self._upper.to(self._device)[:, None]
        return torch.where(self._chosen(len(other), MIXED) & upper, other, quaternions)

    def _bends(self, count: int) -> Tensor:
        """(B, 1, 24, 4): the same small bends for a whole sequence; none of the pelvis."""
        bends = quaternion_from_vector(
            BEND * torch.randn(count, 1, len(PARENTS), 3, device=self._device)
        )
        bends[:, :, 0] = torch.tensor([0.0, 0.0, 0.0, 1.0], device=self._device)
        return bends

    def _seated(self, quaternions: Tensor) -> Tensor:
        """Hips and knees of some bent by about a right angle, legs a little apart."""
        count = len(quaternions)
        seated = quaternions.clone()
        for side, sign in (("left", 1.0), ("right", -1.0)):
            lift = radians(85.0) + radians(12.0) * torch.randn(count, device=self._device)
            apart = radians(8.0) + radians(8.0) * torch.randn(count, device=self._device)
            drop = lift + radians(15.0) * torch.randn(count, device=self._device)
            zero = torch.zeros_like(lift)
            # x to the body's left, y up, z forward: hips lift the thigh, knees let the shin hang
            hip = quaternion_from_vector(torch.stack([-lift, sign * apart, zero], dim=-1))
            knee = quaternion_from_vector(torch.stack([drop, zero, zero], dim=-1))
            seated[:, :, JOINT_NAMES.index(f"{side}_hip")] = hip[:, None]
            seated[:, :, JOINT_NAMES.index(f"{side}_knee")] = knee[:, None]
        return torch.where(self._chosen(count, SEATED), seated, quaternions)

    def _tipped(self, quaternions: Tensor) -> Tensor:
        """Some turned over about a horizontal axis."""
        count = len(quaternions)
        axis = F.normalize(torch.randn(count, 3, device=self._device) * self._horizontal, dim=-1)
        angle = radians(90.0) + radians(20.0) * torch.randn(count, 1, device=self._device)
        turn = quaternion_from_vector(axis * angle)[:, None]
        tipped = quaternions.clone()
        tipped[:, :, 0] = quaternion_product(turn, quaternions[:, :, 0])
        return torch.where(self._chosen(count, TIPPED), tipped, quaternions)

    @property
    def _horizontal(self) -> Tensor:
        return torch.tensor([1.0, 0.0, 1.0], device=self._device)


def _is_upper(joint: int) -> bool:
    return joint == UPPER or (joint > 0 and _is_upper(PARENTS[joint]))
