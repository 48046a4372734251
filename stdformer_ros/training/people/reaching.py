"""Poses that nobody took before the motion capture's cameras.

People in clips of walking and dancing keep their arms low, their trunks straight and their feet
under them, and a network that has seen nobody else draws everyone towards that: a man who balances
on one leg, arms out, came out 61 mm wrong (PA-MPJPE) from landmarks without any error. Here trunks
lean, arms reach anywhere, knees and elbows are stretched or folded; the clip's motion goes on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.training.people.quaternions import (
    quaternion_from_vector,
    quaternion_power,
    quaternion_product,
)

LEAN = (0.3, 0.0, 0.3)
"""Standard deviations in radians, about the axes of the world (y up), by which a body leans."""
SPINE = (0.12, 0.10, 0.12)
"""The same, about the joints' own axes, of three joints of the spine, which bend alike."""
LIMBS = {"collar": (0.1, 0.1, 0.1), "shoulder": (0.7, 0.7, 0.7), "hip": (0.35, 0.2, 0.3)}
"""The same of joints that turn anywhere."""
FOLDS = {"elbow": 1.5, "knee": 1.6}
"""By up to how much the angle of a hinge is multiplied, at least by 0: it stays a hinge."""
ARM, LEG = ("collar", "shoulder", "elbow"), ("hip", "knee")
MOVED = 0.6
"""Part of spines, of arms and of legs that are moved at all."""
DRIFT = 0.3
"""How much of a bend comes or goes during a sequence, in its own standard deviations."""


def reaching(quaternions: Tensor) -> Tensor:
    """The same motion of people who reach, lean and lift a leg.

    Args:
        quaternions: (B, F, 24, 4) of joints relative to their parents.

    Returns:
        The same shape.
    """
    moved = quaternions.clone()
    moved[:, :, 0] = quaternion_product(_bends(quaternions, LEAN), moved[:, :, 0])
    spine = _bends(quaternions, SPINE, _some(quaternions))
    for name in ("spine1", "spine2", "spine3"):
        joint = JOINT_NAMES.index(name)
        moved[:, :, joint] = quaternion_product(moved[:, :, joint], spine)
    for side in ("left", "right"):
        for limb in (ARM, LEG):
            some = _some(quaternions)
            for name in limb:
                joint = JOINT_NAMES.index(f"{side}_{name}")
                moved[:, :, joint] = _turned(moved[:, :, joint], name, some)
    return moved


def _turned(joint: Tensor, name: str, some: Tensor) -> Tensor:
    """A limb's joint (B, F, 4), of those people whose limb is moved (B, 1, 1)."""
    if name in FOLDS:
        factor = FOLDS[name] * torch.rand_like(some)
        return quaternion_power(joint, torch.where(some > 0, factor, 1.0))
    return quaternion_product(joint, _bends(joint, LIMBS[name], some))


def _some(like: Tensor) -> Tensor:
    """(B, 1, 1): 1 for the chosen, 0 for the others."""
    return (torch.rand(len(like), 1, 1, device=like.device) < MOVED).float()


def _bends(like: Tensor, sigma: tuple[float, float, float], some: Tensor | float = 1.0) -> Tensor:
    """(B, F, 4) random rotations that change slowly over the F frames of a sequence."""
    people, frames = like.shape[:2]
    begin, change = torch.randn(2, people, 1, 3, device=like.device)
    along = torch.linspace(0.0, 1.0, frames, device=like.device)[:, None]
    vectors = begin + DRIFT * along * change
    return quaternion_from_vector(some * torch.tensor(sigma, device=like.device) * vectors)
