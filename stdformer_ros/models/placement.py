"""Place a body in the camera where its landmarks are seen.

The network's weak-perspective camera is smooth but imprecise; the landmarks of the newest frame are
noisy but many. The position that fits both best is the solution of a small weighted least-squares
problem, which is linear in the position once its equations are weighted by depth. For a network
without a camera only the landmarks are used.

Where a name says `sigma`, it is a standard deviation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LANDMARK_SIGMA = 0.02
"""Sigma of a landmark, in units of the view's half size."""
PLACE_SIGMA = 0.05
"""Sigma of the network's position across the line of sight, in the same units."""
DEPTH_SIGMA = 0.002
"""Relative sigma of the network's depth."""
HUBER = 2.0
"""Residuals of more sigmas than this get less weight (Huber): an outlier has little effect."""
ITERATIONS = 3
"""Number of iterations of the reweighted least squares."""
NEAREST = 0.3
"""Metres; the smallest depth of a body, whatever the solution is."""

POSE_SIGMA = 0.06
"""Sigma of a pose's joints against their keypoints, in units of half the body's extent."""
MIN_WEIGHT = 0.05
"""Weight of an invisible keypoint: if none is visible, only estimated keypoints are there."""
FARTHEST = 100.0
"""Metres; the largest depth of a body, for example if all keypoints lie at one point."""


def place_by_landmarks(
    points: Tensor, seen: Tensor, visibility: Tensor, half_size: Tensor, prior: Tensor
) -> Tensor:
    """The body's origin in the view's coordinates, from its landmarks and the network's position.

    Args:
        points: (B, L, 3) the body's landmarks relative to its origin, metres.
        seen: (B, L, 2) where they are seen, in [-1, 1] over the view.
        visibility: (B, L) 0..1, the weight of each.
        half_size: (B,) tangent of half the view's angle.
        prior: (B, 3) the network's position, metres, in the view's coordinates.

    Returns:
        (B, 3) metres; the prior itself where nothing is visible.
    """
    across = PLACE_SIGMA * half_size * prior[:, 2]
    prior_sigma = torch.stack([across, across, DEPTH_SIGMA * prior[:, 2]], dim=-1)
    tangent = seen * half_size[:, None, None]  # x/z, y/z
    sigma = LANDMARK_SIGMA * half_size
    inverse_variance = prior_sigma.square().reciprocal()
    return _solve_place(points, tangent, visibility, sigma, prior, inverse_variance)


def place_by_size(points: Tensor, rays: Tensor, visibility: Tensor) -> Tensor:
    """The body's origin from its keypoints alone: where its image has their position and size.

    Args:
        points: (B, L, 3) the body's joints relative to its origin, metres, in camera axes.
        rays: (B, L, 2) where they are seen, x/z and y/z.
        visibility: (B, L) 0..1, the weight of each.

    Returns:
        (B, 3) metres, camera frame; depths from `NEAREST` to `FARTHEST`.
    """
    weight = visibility.double().clamp(min=MIN_WEIGHT)
    joints, seen = points.double(), rays.double()
    body, image = (_centred(x, weight) for x in (joints[..., :2], seen))
    depth = (body.spread / image.spread.clamp(min=1e-6)).clamp(NEAREST, FARTHEST)
    start = torch.cat([image.centre * depth - body.centre, depth], dim=1)
    sigma = POSE_SIGMA * (2.0 * image.spread[:, 0]).clamp(min=1e-3)
    place = _solve_place(joints, seen, weight, sigma, start, torch.full_like(start, 1e-4))
    place = place * (FARTHEST / place[:, 2:]).clamp(max=1.0)
    return place.to(points)


class _Centred(NamedTuple):
    """Centre (B, 2) of weighted points, and their root mean square distance from it (B, 1)."""

    centre: Tensor
    spread: Tensor


def _centred(points: Tensor, weight: Tensor) -> _Centred:
    normalised = (weight / weight.sum(dim=1, keepdim=True))[..., None]
    centre = (normalised * points).sum(dim=1)
    square = (normalised * (points - centre[:, None]).square()).sum(dim=(1, 2))
    return _Centred(centre, square.sqrt()[:, None])


def _solve_place(
    points: Tensor,
    tangent: Tensor,
    visibility: Tensor,
    sigma: Tensor,
    prior: Tensor,
    prior_weight: Tensor,
) -> Tensor:
    """The position (B, 3), metres, that fits the points in the image and the prior best.

    Args:
        points: (B, L, 3) metres, relative to the origin.
        tangent: (B, L, 2) where they are seen, x/z and y/z.
        visibility: (B, L) the weight of each.
        sigma: (B,) standard deviation of the tangents.
        prior: (B, 3) metres.
        prior_weight: (B, 3) inverse variances of its coordinates, 1/m^2.
    """
    prior_precision = torch.diag_embed(prior_weight)
    one, zero = torch.ones_like(tangent[..., 0]), torch.zeros_like(tangent[..., 0])
    # (X + tx) - (x/z) (Z + tz) = 0, and the same for y
    rows = torch.stack(
        [
            torch.stack([one, zero, -tangent[..., 0]], dim=-1),
            torch.stack([zero, one, -tangent[..., 1]], dim=-1),
        ],
        dim=2,
    )
    target = tangent * points[..., 2:] - points[..., :2]
    place = prior
    for _ in range(ITERATIONS):
        depth = (points[..., 2] + place[:, None, 2]).clamp(min=0.1)
        scale = sigma[:, None] * depth
        residual = torch.einsum("blij,bj->bli", rows, place) - target
        excess = torch.linalg.vector_norm(residual, dim=-1) / scale
        weight = visibility / scale.square() * (HUBER / excess.clamp(min=HUBER))
        normal = torch.einsum("bl,blij,blik->bjk", weight, rows, rows) + prior_precision
        right = torch.einsum("bl,blij,bli->bj", weight, rows, target)
        right = right + (prior_precision @ prior[..., None])[..., 0]
        place = torch.linalg.solve(normal, right)
    return torch.cat([place[:, :2], place[:, 2:].clamp(min=NEAREST)], dim=-1)
