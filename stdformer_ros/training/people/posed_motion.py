"""Posed motion: moving bodies of many shapes in the world, without a camera.

In this order: functions on quaternions; `reaching`, which changes a clip's poses into poses that
motion capture lacks; `MotionPoser`, which draws clips and bodies, changes the poses and computes
the landmarks.
"""

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

LEAN = (0.3, 0.0, 0.3)
"""Standard deviations of a body's lean, in radians about the world's axes (y up)."""
SPINE = (0.12, 0.10, 0.12)
"""The same about the joints' own axes, for three joints of the spine, which bend equally."""
LIMBS = {"collar": (0.1, 0.1, 0.1), "shoulder": (0.7, 0.7, 0.7), "hip": (0.35, 0.2, 0.3)}
"""The same for joints that rotate about any axis."""
FOLDS = {"elbow": 1.5, "knee": 1.6}
"""Largest factor on the angle of a hinge joint; the smallest is 0. The axis does not change."""
ARM, LEG = ("collar", "shoulder", "elbow"), ("hip", "knee")
MOVED = 0.6
"""Fraction of the spines, of the arms and of the legs that are changed."""
DRIFT = 0.3
"""Change of a rotation during a sequence, as a fraction of its standard deviation."""

BEND = 0.06
"""Standard deviation in radians of a constant rotation of every joint: people differ in their
posture."""
REACHING = 0.4
"""Fraction of the people whose poses `reaching` changes."""
LIMB_LENGTH = 0.02
"""Standard deviation (relative) of bone lengths that the ten shape parameters do not describe."""
MIXED = 0.3
"""Fraction of the people whose upper body has the motion of another clip than their legs."""
SEATED = 0.06
"""Fraction of the people who sit; clips of walking and dancing hardly have such people."""
TIPPED = 0.04
"""Fraction of the people who lie or nearly lie: the whole body is tipped over."""

UPPER = JOINT_NAMES.index("spine2")


def quaternion_from_vector(vectors: Tensor) -> Tensor:
    """Rotation vectors (..., 3) in radians to quaternions (..., 4) as x, y, z, w."""
    half = 0.5 * torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.cat([0.5 * torch.sinc(half / torch.pi) * vectors, half.cos()], dim=-1)


def quaternion_to_matrix(quaternions: Tensor) -> Tensor:
    """Unit quaternions (..., 4) as x, y, z, w to rotation matrices (..., 3, 3)."""
    x, y, z, w = quaternions.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def quaternion_product(a: Tensor, b: Tensor) -> Tensor:
    """The rotation `b` followed by `a`: quaternions (..., 4) as x, y, z, w."""
    ax, ay, az, aw = a.unbind(-1)
    bx, by, bz, bw = b.unbind(-1)
    return torch.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        dim=-1,
    )


def quaternion_power(quaternions: Tensor, exponents: Tensor) -> Tensor:
    """Multiply the angles of rotations, which are taken as at most 180 degrees.

    Args:
        quaternions: (..., 4) as x, y, z, w.
        exponents: (..., 1) factors on the angles.

    Returns:
        (..., 4) about the same axes.
    """
    quaternions = torch.where(quaternions[..., 3:] < 0, -quaternions, quaternions)
    axis, cosine = quaternions[..., :3], quaternions[..., 3:]
    sine = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    half = exponents * torch.atan2(sine, cosine)
    return torch.cat([axis / sine.clamp(min=1e-8) * half.sin(), half.cos()], dim=-1)


def reaching(quaternions: Tensor) -> Tensor:
    """Change poses so that people lean, reach out, and stretch or lift a leg while they move.

    In clips of walking and dancing, arms are low, trunks straight and feet under the body. A
    network that was trained on nothing else predicts such poses for everyone: for a man who
    balances on one leg with his arms out, its PA-MPJPE was 61 mm although the landmarks were exact.
    Here trunks lean, arms reach anywhere, knees and elbows are stretched or folded.

    Args:
        quaternions: (B, F, 24, 4) as x, y, z, w, of joints relative to their parents.

    Returns:
        Changed quaternions, same shape.
    """
    moved = quaternions.clone()
    moved[:, :, 0] = quaternion_product(_drifting(quaternions, LEAN), moved[:, :, 0])
    spine = _drifting(quaternions, SPINE, _chosen(quaternions))
    for name in ("spine1", "spine2", "spine3"):
        joint = JOINT_NAMES.index(name)
        moved[:, :, joint] = quaternion_product(moved[:, :, joint], spine)
    for side in ("left", "right"):
        for limb in (ARM, LEG):
            chosen = _chosen(quaternions)
            for name in limb:
                joint = JOINT_NAMES.index(f"{side}_{name}")
                moved[:, :, joint] = _move_limb(moved[:, :, joint], name, chosen)
    return moved


def _move_limb(joint: Tensor, name: str, chosen: Tensor) -> Tensor:
    """Change a limb's joint (B, F, 4) where `chosen` (B, 1, 1) is 1."""
    if name in FOLDS:
        factor = FOLDS[name] * torch.rand_like(chosen)
        return quaternion_power(joint, torch.where(chosen > 0, factor, 1.0))
    return quaternion_product(joint, _drifting(joint, LIMBS[name], chosen))


def _chosen(like: Tensor) -> Tensor:
    """(B, 1, 1): 1 for a random fraction `MOVED` of the people, 0 for the others."""
    return (torch.rand(len(like), 1, 1, device=like.device) < MOVED).float()


def _drifting(
    like: Tensor, sigma: tuple[float, float, float], chosen: Tensor | float = 1.0
) -> Tensor:
    """(B, F, 4) random rotations that change slowly over the F frames of a sequence."""
    people, frames = like.shape[:2]
    begin, change = torch.randn(2, people, 1, 3, device=like.device)
    along = torch.linspace(0.0, 1.0, frames, device=like.device)[:, None]
    vectors = begin + DRIFT * along * change
    return quaternion_from_vector(chosen * torch.tensor(sigma, device=like.device) * vectors)


class PosedMotion(NamedTuple):
    """Sequences of F frames in a world with y up; the last frame's pelvis is the origin.

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
        motion: gives the poses; its windows are the sequences. None if only `vary` is used.
        answers: K, the number of last frames whose rotations are given.
        device: to generate on.
    """

    def __init__(self, motion: MotionLibrary | None, answers: int, device: torch.device) -> None:
        self._motion = motion
        self._answers = answers
        self._device = device
        self._body = BodyModel(level=108).to(device)
        self._landmarks = BodyLandmarks().to(device)
        self._upper = torch.tensor([_is_upper(joint) for joint in range(len(PARENTS))])

    @torch.no_grad()
    def pose(self, count: int) -> PosedMotion:
        """A batch of `count` sequences."""
        if self._motion is None:
            raise ValueError("this MotionPoser has no motion: give it a MotionLibrary")
        return self.vary(*self._motion.sample(count))

    @torch.no_grad()
    def vary(self, quaternions: Tensor, root: Tensor) -> PosedMotion:
        """Bodies of random shapes that move like this, after random changes of the poses.

        Args:
            quaternions: (B, F, 24, 4) as `MotionLibrary.sample` gives them.
            root: (B, F, 3) metres.
        """
        count, frames = quaternions.shape[:2]
        quaternions = self._mixed(quaternions)
        quaternions = self._seated(quaternions)
        chosen = self._random(count, REACHING)
        quaternions = torch.where(chosen, reaching(quaternions), quaternions)
        quaternions = quaternion_product(quaternions, self._habits(count))
        quaternions = self._tipped(quaternions)
        betas = torch.randn(count, 10, device=self._device)

        rest = self._body.joints_template + torch.einsum(
            "jck,bk->bjc", self._body.joints_shapedirs, betas
        )
        every = betas[:, None].expand(-1, frames, -1).flatten(0, 1)
        rest_joints, varied_joints = (
            joints[:, None].expand(-1, frames, -1, -1).flatten(0, 1)
            for joints in (rest, self._vary_lengths(rest))
        )
        rotations = quaternion_to_matrix(quaternions)
        global_rotations, joints = forward_kinematics(rotations.flatten(0, 1), varied_joints)
        # The landmarks are bound to the shape's own rest joints and move with the varied joints.
        landmarks = self._landmarks(global_rotations, joints, rest_joints, every)
        landmarks = landmarks.unflatten(0, (count, frames))
        last = slice(-self._answers, None)
        return PosedMotion(landmarks + root[:, :, None], rotations[:, last], root[:, last], betas)

    def _vary_lengths(self, rest: Tensor) -> Tensor:
        """Rest joints (B, 24, 3) with longer or shorter bones, alike on both sides."""
        noise = torch.randn(rest.shape[:2], device=self._device)
        either_side = [min(joint, other) for joint, other in enumerate(MIRROR)]
        factor = 1 + LIMB_LENGTH * noise[:, either_side]
        joints = [rest[:, 0]]
        for joint, parent in enumerate(PARENTS[1:], start=1):
            bone = rest[:, joint] - rest[:, parent]
            joints.append(joints[parent] + factor[:, joint, None] * bone)
        return torch.stack(joints, dim=1)

    def _random(self, count: int, fraction: float) -> Tensor:
        """(count, 1, 1, 1) bool, true for a random fraction."""
        return torch.rand(count, 1, 1, 1, device=self._device) < fraction

    def _mixed(self, quaternions: Tensor) -> Tensor:
        """Some people get the upper body of their neighbour in the batch."""
        other = quaternions.roll(1, 0)
        upper = self._upper.to(self._device)[:, None]
        return torch.where(self._random(len(other), MIXED) & upper, other, quaternions)

    def _habits(self, count: int) -> Tensor:
        """(B, 1, 24, 4): small rotations that are constant in a sequence; none of the pelvis."""
        habits = quaternion_from_vector(
            BEND * torch.randn(count, 1, len(PARENTS), 3, device=self._device)
        )
        habits[:, :, 0] = torch.tensor([0.0, 0.0, 0.0, 1.0], device=self._device)
        return habits

    def _seated(self, quaternions: Tensor) -> Tensor:
        """Some people sit: hips and knees bent by about a right angle, legs a little apart."""
        count = len(quaternions)
        seated = quaternions.clone()
        for side, sign in (("left", 1.0), ("right", -1.0)):
            lift = radians(85.0) + radians(12.0) * torch.randn(count, device=self._device)
            apart = radians(8.0) + radians(8.0) * torch.randn(count, device=self._device)
            drop = lift + radians(15.0) * torch.randn(count, device=self._device)
            zero = torch.zeros_like(lift)
            # x to the body's left, y up, z forward: the hip lifts the thigh, the shin hangs down.
            hip = quaternion_from_vector(torch.stack([-lift, sign * apart, zero], dim=-1))
            knee = quaternion_from_vector(torch.stack([drop, zero, zero], dim=-1))
            seated[:, :, JOINT_NAMES.index(f"{side}_hip")] = hip[:, None]
            seated[:, :, JOINT_NAMES.index(f"{side}_knee")] = knee[:, None]
        return torch.where(self._random(count, SEATED), seated, quaternions)

    def _tipped(self, quaternions: Tensor) -> Tensor:
        """Some people are tipped over about a horizontal axis."""
        count = len(quaternions)
        horizontal = torch.tensor([1.0, 0.0, 1.0], device=self._device)
        axis = F.normalize(torch.randn(count, 3, device=self._device) * horizontal, dim=-1)
        angle = radians(90.0) + radians(20.0) * torch.randn(count, 1, device=self._device)
        rotation = quaternion_from_vector(axis * angle)[:, None]
        tipped = quaternions.clone()
        tipped[:, :, 0] = quaternion_product(rotation, quaternions[:, :, 0])
        return torch.where(self._random(count, TIPPED), tipped, quaternions)


def _is_upper(joint: int) -> bool:
    return joint == UPPER or (joint > 0 and _is_upper(PARENTS[joint]))
