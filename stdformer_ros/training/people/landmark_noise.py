"""Simulated faults of a landmark detector: noise, bias, occlusion, loss, left/right swaps."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from stdformer_ros.body.body_landmarks import LANDMARK_MIRROR, LANDMARK_NAMES

PLAIN = 0.5
"""Fraction of the people with plain noise, the noise of the detector that `cli evaluate --motion`
simulates. The other people have realistic noise."""
PLAIN_NOISE, PLAIN_CORRELATION = 0.015, 0.7
"""Standard deviation as a fraction of the person's height; correlation from frame to frame."""

SLOW_NOISE, CORRELATION = (0.004, 0.016), (0.6, 0.9)
"""The same for slow realistic noise: ranges of each person's random values, for factor 1."""
FAST_NOISE = (0.0015, 0.006)
"""Range of the standard deviation of the noise that is independent from frame to frame."""
SHARED = 0.5
"""Fraction of the slow noise's variance that all landmarks of a limb share."""
BIAS = 0.01
"""Largest standard deviation of each landmark's constant error, as a fraction of the height."""
FACTOR = {
    "nose": 1.2, "ear": 0.8, "shoulder": 1.0, "elbow": 1.2, "wrist": 1.2, "index": 1.4, "hip": 1.0,
    "knee": 1.3, "ankle": 1.6, "heel": 1.8, "foot_index": 1.9,
}  # fmt: skip
"""How much noisier a landmark is than a shoulder."""

STATURE = 1.34
"""Height of a standing person, divided by the length from shoulder over hip and knee to ankle."""
SHIFT, GROWTH, PLAIN_GROWTH = 0.004, 0.004, 0.015
"""Standard deviations of the common shift (as a fraction of the height) and growth (relative) of
all landmarks because the crop jitters; people with plain noise have a larger growth."""
BURST_RATE, BURST_FRAMES = 0.005, 10
"""Probability per frame that a landmark gets lost; mean number of frames for which it is lost."""
FRAME_SECONDS = 1 / 30
"""Length of a frame in the constants of this file: faults last for a time, not for images."""
SWAP_RATE = 0.002
"""Probability per frame that left and right are exchanged."""
HIDDEN_ERROR, HIDDEN_VISIBILITY = 2.5, (0.3, 0.95)
"""Factor on the errors of landmarks behind the trunk, and the range of their visibility."""
TRUNCATED = 0.3
"""Fraction of the people who are cut off by the border of the image."""
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
"""Number of each landmark's limb; the landmarks of a limb share noise. 0: trunk, 1: head, 3 and 4:
left and right arm, 5 and 6: left and right leg."""
TRUNK_RADIUS = 0.13
"""Metres: landmarks behind the trunk are hidden within this distance from its axis."""


def disturb(rays: Tensor, points: Tensor, seconds: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Landmarks with the faults of a detector.

    Args:
        rays: (B, F, 21, 2) true landmarks as x/z, y/z.
        points: (B, F, 21, 3) the same in camera coordinates, metres.
        seconds: (B, F) since the previous frame; None for 30 frames a second.

    Returns:
        Disturbed rays (B, F, 21, 2) and visibility (B, F, 21); a lost landmark has visibility 0.
    """
    device = rays.device
    people, frames, count, _ = rays.shape
    if seconds is None:
        steps = torch.ones(people, frames, device=device)
    else:
        steps = seconds / FRAME_SECONDS
    height = standing_height(points)[..., None, None]
    plain = torch.rand(people, 1, 1, device=device) < PLAIN
    hidden = _behind_trunk(points) & (torch.rand(people, 1, count, device=device) < 0.7) & ~plain
    cut = _cut_off(rays) & ~plain

    noise = torch.where(
        plain[..., None],
        PLAIN_NOISE
        * _correlated(torch.full_like(height[:, :1, 0], PLAIN_CORRELATION), rays, steps),
        _detector_noise(rays, steps),
    )
    noise = noise * torch.where(hidden, HIDDEN_ERROR, 1.0)[..., None]
    disturbed = _jittered(rays, height, plain) + noise * height

    sure = 1.0 - 0.3 * torch.rand(people, frames, count, device=device).square()
    visibility = torch.where(plain, 1.0, sure)
    draw = torch.rand(people, 1, count, device=device).expand_as(sure)
    low, high = HIDDEN_VISIBILITY
    visibility = torch.where(hidden, low + (high - low) * draw, visibility)
    # Perception sets the visibility of landmarks outside the image to 0.
    lost = _bursts(steps, count) | cut
    visibility = torch.where(lost, 0.0, visibility)

    swap = torch.rand(people, frames, 1, device=device) < SWAP_RATE
    disturbed = torch.where(swap[..., None], disturbed[:, :, LANDMARK_MIRROR], disturbed)
    visibility = torch.where(swap, visibility[:, :, LANDMARK_MIRROR], visibility)
    return disturbed, visibility


def _detector_noise(rays: Tensor, steps: Tensor) -> Tensor:
    """Realistic noise (B, F, 21, 2) as a fraction of the height: bias, slow noise, fast noise.

    `steps` (B, F) is the time since the previous frame in units of `FRAME_SECONDS`.
    """
    device, people, count = rays.device, len(rays), rays.shape[2]

    def drawn(low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(people, 1, 1, 1, device=device)

    low, high = CORRELATION
    correlation = low + (high - low) * torch.rand(people, 1, 1, device=device)
    own = _correlated(correlation, rays, steps)
    shared = _correlated(correlation, rays[:, :, : max(LIMB) + 1], steps)[:, :, list(LIMB)]
    slow = (1 - SHARED) ** 0.5 * own + SHARED**0.5 * shared
    factor = torch.tensor(FACTORS, device=device)[:, None]
    bias = BIAS * torch.rand(people, 1, 1, 1, device=device)
    return (
        drawn(*SLOW_NOISE) * factor * slow
        + drawn(*FAST_NOISE) * factor * torch.randn_like(rays)
        + bias * torch.randn(people, 1, count, 2, device=device)
    )


def _correlated(correlation: Tensor, like: Tensor, steps: Tensor) -> Tensor:
    """Unit noise (B, F, N, 2), shaped like `like`.

    Its correlation (B, 1, 1) is that over `FRAME_SECONDS`; the frames are `steps` (B, F) times that
    apart.
    """
    # In double precision, a step of 1 leaves the correlation exactly as it is.
    powers = correlation.double() ** steps.double().transpose(0, 1)[..., None, None]
    correlations = powers.to(correlation.dtype)  # (F, B, 1, 1)
    fresh = torch.randn_like(like)
    state = fresh[:, 0]
    result = [state]
    for frame in range(1, like.shape[1]):
        kept = correlations[frame]
        state = kept * state + (1 - kept.square()).sqrt() * fresh[:, frame]
        result.append(state)
    return torch.stack(result, dim=1)


def _jittered(rays: Tensor, height: Tensor, plain: Tensor) -> Tensor:
    """Landmarks (B, F, 21, 2) that are shifted and scaled a little in each frame."""
    people, frames = rays.shape[:2]
    growth = torch.where(plain, PLAIN_GROWTH, GROWTH)[..., None]
    growth = growth * torch.randn(people, frames, 1, 1, device=rays.device)
    shift = SHIFT * torch.randn(people, frames, 1, 2, device=rays.device)
    middle = 0.5 * (rays.amax(2, keepdim=True) + rays.amin(2, keepdim=True))
    return rays + growth * (rays - middle) + shift * height


def standing_height(points: Tensor) -> Tensor:
    """(B, F) standing height of the person divided by the depth.

    It is the height in rays that the person would have upright at this place. It does not shrink
    when they bend or lie down, because a detector is not more precise then.
    """
    at = {name: points[:, :, LANDMARK_NAMES.index(name)] for name in LANDMARK_NAMES}
    chain = ("left_shoulder", "left_hip", "left_knee", "left_ankle")
    bones = [torch.linalg.vector_norm(at[a] - at[b], dim=-1) for a, b in pairwise(chain)]
    return STATURE * torch.stack(bones).sum(0) / at["left_hip"][..., 2]


def _bursts(steps: Tensor, count: int) -> Tensor:
    """(B, F, 21) bool: runs of frames in which a landmark is lost; `steps` as in `_correlated`."""
    people, device = len(steps), steps.device
    lost = (1 - (1 - BURST_RATE) ** steps.double()).float()[..., None]
    found = (1 - (1 - 1 / BURST_FRAMES) ** steps.double()).float()[..., None]
    state = torch.rand(people, count, device=device) < BURST_RATE * BURST_FRAMES
    result = [state]
    for frame in range(1, steps.shape[1]):
        draw = torch.rand(people, count, device=device)
        state = torch.where(state, draw > found[:, frame], draw < lost[:, frame])
        result.append(state)
    return torch.stack(result, dim=1)


def _behind_trunk(points: Tensor) -> Tensor:
    """(B, F, 21) bool: landmarks that are hidden by the person's own trunk."""
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
    """(B, F, 21) bool: landmarks beyond a border of the image, mostly the lower border."""
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
