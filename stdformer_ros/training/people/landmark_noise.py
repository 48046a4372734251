"""What a landmark detector does to the truth: noise, bias, hiding, loss, swaps."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from stdformer_ros.body.body_landmarks import LANDMARK_MIRROR, LANDMARK_NAMES

PLAIN = 0.5
"""Part of the people with the plain noise by which `cli evaluate --motion` judges."""
PLAIN_NOISE, PLAIN_CORRELATION = 0.015, 0.7
"""Standard deviation over the person's height, correlation from one frame to the next."""

SLOW_NOISE, CORRELATION = (0.004, 0.016), (0.6, 0.9)
"""The same of the other people, drawn per person, of a landmark with factor 1."""
FAST_NOISE = (0.0015, 0.006)
"""Standard deviation of what is independent from frame to frame."""
SHARED = 0.5
"""Part of the slow noise's variance that the landmarks of a limb have in common."""
BIAS = 0.01
"""The highest standard deviation of each landmark's constant error over the person's height."""
FACTOR = {
    "nose": 1.2, "ear": 0.8, "shoulder": 1.0, "elbow": 1.2, "wrist": 1.2, "index": 1.4, "hip": 1.0,
    "knee": 1.3, "ankle": 1.6, "heel": 1.8, "foot_index": 1.9,
}  # fmt: skip
"""How much noisier a landmark is than a shoulder."""

STATURE = 1.34
"""Of a standing person over the length from shoulder over hip and knee to ankle."""
SHIFT, GROWTH, PLAIN_GROWTH = 0.004, 0.004, 0.015
"""Standard deviations by which all landmarks shift (over the height) and grow (relative) together,
as the crop jitters; `PLAIN` people's crops do so much more."""
BURST_RATE, BURST_FRAMES = 0.005, 10
"""Chance per frame and landmark that it gets lost, and for how many frames on average."""
SWAP_RATE = 0.002
"""Chance per frame that left and right are exchanged."""
HIDDEN_ERROR, HIDDEN_VISIBILITY = 2.5, (0.3, 0.95)
"""How much larger errors behind the trunk are, and how visible a detector thinks that is."""
TRUNCATED = 0.3
"""Part of the people who are cut off by the image's border."""
_LIMBS = (("nose", "ear"), ("elbow", "wrist", "index"), ("knee", "ankle", "heel", "foot_index"))
FACTORS = tuple(FACTOR[name.split("_", 1)[-1]] for name in LANDMARK_NAMES)
LIMB = tuple(
    next(
        (
            1 + 2 * i + (name.startswith("right") and i > 0)
            for i, limb in enumerate(_LIMBS)
            if name.split("_", 1)[-1] in limb
        ),
        0,
    )
    for name in LANDMARK_NAMES
)
"""Which landmarks err together: those of trunk, head, each arm, each leg."""
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
    height = _standing_height(points)[..., None, None]
    plain = torch.rand(people, 1, 1, device=device) < PLAIN
    hidden = _behind_trunk(points) & (torch.rand(people, 1, count, device=device) < 0.7) & ~plain
    cut = _cut_off(rays) & ~plain

    noise = torch.where(
        plain[..., None],
        PLAIN_NOISE * _correlated(torch.full_like(height[:, :1, 0], PLAIN_CORRELATION), rays),
        _detector_noise(rays),
    )
    noise = noise * torch.where(hidden, HIDDEN_ERROR, 1.0)[..., None]
    disturbed = _shaken(rays, height, plain) + noise * height

    sure = 1.0 - 0.3 * torch.rand(people, frames, count, device=device).square()
    visibility = torch.where(plain, 1.0, sure)
    draw = torch.rand(people, 1, count, device=device).expand_as(sure)
    low, high = HIDDEN_VISIBILITY
    visibility = torch.where(hidden, low + (high - low) * draw, visibility)
    # perception believes nothing that it places outside the image
    lost = _bursts(people, frames, count, device) | cut
    visibility = torch.where(lost, 0.0, visibility)

    swap = torch.rand(people, frames, 1, device=device) < SWAP_RATE
    disturbed = torch.where(swap[..., None], disturbed[:, :, LANDMARK_MIRROR], disturbed)
    visibility = torch.where(swap, visibility[:, :, LANDMARK_MIRROR], visibility)
    return disturbed, visibility


def _detector_noise(rays: Tensor) -> Tensor:
    """(B, F, 21, 2) over the person's height: bias, slow errors that limbs share, fast ones."""
    device, people, count = rays.device, len(rays), rays.shape[2]

    def drawn(low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(people, 1, 1, 1, device=device)

    low, high = CORRELATION
    correlation = low + (high - low) * torch.rand(people, 1, 1, device=device)
    own = _correlated(correlation, rays)
    shared = _correlated(correlation, rays[:, :, : max(LIMB) + 1])[:, :, list(LIMB)]
    slow = (1 - SHARED) ** 0.5 * own + SHARED**0.5 * shared
    factor = torch.tensor(FACTORS, device=device)[:, None]
    bias = BIAS * torch.rand(people, 1, 1, 1, device=device)
    return (
        drawn(*SLOW_NOISE) * factor * slow
        + drawn(*FAST_NOISE) * factor * torch.randn_like(rays)
        + bias * torch.randn(people, 1, count, 2, device=device)
    )


def _correlated(correlation: Tensor, like: Tensor) -> Tensor:
    """Unit noise of a shape (B, F, N, 2) with a correlation (B, 1, 1) from frame to frame."""
    fresh = torch.randn_like(like)
    state = fresh[:, 0]
    result = [state]
    for frame in range(1, like.shape[1]):
        state = correlation * state + (1 - correlation.square()).sqrt() * fresh[:, frame]
        result.append(state)
    return torch.stack(result, dim=1)


def _shaken(rays: Tensor, height: Tensor, plain: Tensor) -> Tensor:
    """The same landmarks (B, F, 21, 2), but each frame's shifted and scaled a little."""
    people, frames = rays.shape[:2]
    growth = torch.where(plain, PLAIN_GROWTH, GROWTH)[..., None]
    growth = growth * torch.randn(people, frames, 1, 1, device=rays.device)
    shift = SHIFT * torch.randn(people, frames, 1, 2, device=rays.device)
    middle = 0.5 * (rays.amax(2, keepdim=True) + rays.amin(2, keepdim=True))
    return rays + growth * (rays - middle) + shift * height


def _standing_height(points: Tensor) -> Tensor:
    """(B, F), how high the person would stand there upright, as a ray's slope: bent or lying people
    are not seen any better than standing ones.
    """
    at = {name: points[:, :, LANDMARK_NAMES.index(name)] for name in LANDMARK_NAMES}
    chain = ("left_shoulder", "left_hip", "left_knee", "left_ankle")
    bones = [torch.linalg.vector_norm(at[a] - at[b], dim=-1) for a, b in pairwise(chain)]
    return STATURE * torch.stack(bones).sum(0) / at["left_hip"][..., 2]


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
