"""What a landmark detector does to the truth: noise, bias, hiding, loss, swaps."""

from __future__ import annotations

import torch
from torch import Tensor

from stdformer_ros.body.landmarks import LANDMARK_MIRROR, LANDMARK_NAMES

CORRELATION = 0.7
"""Of the noise from one frame to the next."""
NOISE = (0.003, 0.018)
"""Standard deviation over the person's height, drawn per person."""
BIAS = 0.01
"""Standard deviation of each landmark's constant error over the person's height."""
BURST_RATE, BURST_FRAMES = 0.012, 6
"""Chance per frame and landmark that it gets lost, and for how many frames on average."""
SWAP_RATE = 0.01
"""Chance per frame that left and right are exchanged."""
TRUNCATED = 0.15
"""Part of the people who are cut off by the image's border."""
TRUNK_RADIUS = 0.13
"""Metres: what is behind the trunk within this distance of its axis is hidden."""


def disturb(rays: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Landmarks as a detector would give them.

    Args:
        rays: (B, F, 21, 2) true x/z, y/z.
        points: (B, F, 21, 3) true landmarks, camera coordinates, metres.

    Returns:
        Disturbed rays and visibility (B, F, 21); a lost landmark has visibility 0.
    """
    device = rays.device
    people, frames, count, _ = rays.shape
    height = (rays[..., 1].amax(-1) - rays[..., 1].amin(-1)).mean(1).clamp(min=1e-3)
    hidden = _behind_trunk(points) & (torch.rand(people, 1, count, device=device) < 0.7)
    cut = _cut_off(rays)
    doubtful = hidden | cut

    low, high = NOISE
    level = low * (high / low) ** torch.rand(people, 1, 1, 1, device=device)
    noise = level * _correlated(people, frames, count, device)
    noise = noise + BIAS * torch.randn(people, 1, count, 2, device=device)
    noise = noise * torch.where(doubtful, 3.0, 1.0)[..., None]
    disturbed = rays + noise * height[:, None, None, None]

    sure = 1.0 - 0.3 * torch.rand(people, frames, count, device=device).square()
    unsure = 0.6 * torch.rand(people, 1, count, device=device).expand_as(sure)
    visibility = torch.where(doubtful, unsure, sure)
    lost = _bursts(people, frames, count, device)
    visibility = torch.where(lost, 0.0, visibility)

    swap = torch.rand(people, frames, 1, device=device) < SWAP_RATE
    disturbed = torch.where(swap[..., None], disturbed[:, :, LANDMARK_MIRROR], disturbed)
    visibility = torch.where(swap, visibility[:, :, LANDMARK_MIRROR], visibility)
    return disturbed, visibility


def _correlated(people: int, frames: int, count: int, device: torch.device) -> Tensor:
    """Unit noise (B, F, 21, 2) with `CORRELATION` from frame to frame."""
    fresh = torch.randn(people, frames, count, 2, device=device)
    state = fresh[:, 0]
    result = [state]
    for frame in range(1, frames):
        state = CORRELATION * state + (1 - CORRELATION**2) ** 0.5 * fresh[:, frame]
        result.append(state)
    return torch.stack(result, dim=1)


def _bursts(people: int, frames: int, count: int, device: torch.device) -> Tensor:
    """(B, F, 21) bool: runs of frames in which a landmark is lost."""
    state = torch.rand(people, count, device=device) < BURST_RATE * BURST_FRAMES
    result = [state]
    for _ in range(1, frames):
        draw = torch.rand(people, count, device=device)
        state = torch.where(state, draw > 1 / BURST_FRAMES, draw < BURST_RATE)
        result.append(state)
    return torch.stack(result, dim=1)


def _behind_trunk(points: Tensor) -> Tensor:
    """(B, F, 21) bool: hidden by the person's own trunk."""
    names = LANDMARK_NAMES
    shoulders = [names.index("left_shoulder"), names.index("right_shoulder")]
    hips = [names.index("left_hip"), names.index("right_hip")]
    top, bottom = points[..., shoulders, :].mean(-2), points[..., hips, :].mean(-2)
    axis = (bottom - top)[..., None, :2]
    offset = points[..., :2] - top[..., None, :2]
    along = ((offset * axis).sum(-1) / axis.square().sum(-1).clamp(min=1e-6)).clamp(0, 1)
    aside = (offset - along[..., None] * axis).norm(dim=-1)
    depth = torch.lerp(top[..., None, 2], bottom[..., None, 2], along)
    return (aside < TRUNK_RADIUS) & (points[..., 2] > depth + 0.08)


def _cut_off(rays: Tensor) -> Tensor:
    """(B, F, 21) bool: beyond a border that cuts some of the people, mostly from below."""
    device = rays.device
    people = len(rays)
    low, high = rays.flatten(1, 2).amin(1), rays.flatten(1, 2).amax(1)
    keep = 0.4 + 0.6 * torch.rand(people, device=device)
    border = torch.lerp(low, high, keep[:, None])
    side = torch.rand(people, device=device)
    below = rays[..., 1] > border[:, None, None, 1]
    right = rays[..., 0] > border[:, None, None, 0]
    left = rays[..., 0] < (low + high - border)[:, None, None, 0]
    side = side[:, None, None]
    cut = torch.where(side < 0.7, below, torch.where(side < 0.85, right, left))
    chosen = torch.rand(people, device=device) < TRUNCATED
    return cut & chosen[:, None, None]
