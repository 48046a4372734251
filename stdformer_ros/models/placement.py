"""Place a body in the camera where its landmarks are seen.

The network's weak-perspective camera is smooth but imprecise; the landmarks of the newest frame are
noisy but many. The place that explains both best is the solution of a small weighted least-squares
problem, linear in the place once its equations are weighted by depth. For a network that gives no
camera the landmarks alone decide.

Where a name says `sigma`, it is a standard deviation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LANDMARK_SIGMA = 0.02
"""Sigma of a landmark, in units of the view's half size."""
PLACE_SIGMA = 0.05
"""Sigma of the network's place across the line of sight, in the same units."""
DEPTH_SIGMA = 0.002
"""Relative sigma of the network's depth."""
HUBER = 2.0
"""Residuals beyond so many sigmas lose weight (Huber): a landmark that jumps must not pull."""
ITERATIONS = 3
"""Of the reweighted least squares."""
NEAREST = 0.3
"""Metres; the least distance of a body, whatever the equations give."""

POSE_SIGMA = 0.06
"""Sigma of a pose's joints against their keypoints, in units of half of the body's extent."""
MIN_WEIGHT = 0.05
"""Weight of an invisible keypoint: with none in sight, guessed places are all there is."""
FARTHEST = 100.0
"""Metres; the distance of a body whose keypoints all lie in one place."""


def place_by_landmarks(
    points: Tensor, seen: Tensor, visibility: Tensor, half_size: Tensor, prior: Tensor
) -> Tensor:
    """The body's origin in the view's coordinates, from its landmarks and the network's place.

    Args:
        points: (B, L, 3) the body's landmarks relative to its origin, metres.
        seen: (B, L, 2) where they are seen, in [-1, 1] over the view.
        visibility: (B, L) 0..1, the weight of each.
        half_size: (B,) tangent of half the view's angle.
        prior: (B, 3) the network's place, metres.

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
    """The body's origin from its keypoints alone: at the distance at which it has their size.

    Args:
        points: (B, L, 3) the body's joints relative to its origin, metres, in camera axes.
        rays: (B, L, 2) where they are seen, x/z and y/z.
        visibility: (B, L) 0..1, the weight of each.

    Returns:
        (B, 3) metres, camera frame; from `NEAREST` to `FARTHEST`.
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
    share = (weight / weight.sum(dim=1, keepdim=True))[..., None]
    centre = (share * points).sum(dim=1)
    square = (share * (points - centre[:, None]).square()).sum(dim=(1, 2))
    return _Centred(centre, square.sqrt()[:, None])


def _solve_place(
    points: Tensor,
    tangent: Tensor,
    visibility: Tensor,
    sigma: Tensor,
    prior: Tensor,
    prior_weight: Tensor,
) -> Tensor:
    """The place (B, 3) that explains best the points in the image and the prior.

    Args:
        points: (B, L, 3) metres, relative to the origin.
        tangent: (B, L, 2) where they are seen, x/z and y/z.
        visibility: (B, L) the weight of each.
        sigma: (B,) of the tangents.
        prior: (B, 3) metres.
        prior_weight: (B, 3) inverse variances of its coordinates, 1/m^2.
    """
    held = torch.diag_embed(prior_weight)
    one, zero = torch.ones_like(tangent[..., 0]), torch.zeros_like(tangent[..., 0])
    # (X + tx) - (x/z) (Z + tz) = 0, and the same for y
    rows = torch.stack(
        [
            torch.stack([one, zero, -tangent[..., 0]], dim=-1),
            torch.stack([zero, one, -tangent[..., 1]], dim=-1),
        ],
        dim=2,
    )
    wanted = tangent * points[..., 2:] - points[..., :2]
    place = prior
    for _ in range(ITERATIONS):
        depth = (points[..., 2] + place[:, None, 2]).clamp(min=0.1)
        scale = sigma[:, None] * depth
        residual = torch.einsum("blij,bj->bli", rows, place) - wanted
        excess = torch.linalg.vector_norm(residual, dim=-1) / scale
        weight = visibility / scale.square() * (HUBER / excess.clamp(min=HUBER))
        normal = torch.einsum("bl,blij,blik->bjk", weight, rows, rows) + held
        right = torch.einsum("bl,blij,bli->bj", weight, rows, wanted)
        right = right + (held @ prior[..., None])[..., 0]
        place = torch.linalg.solve(normal, right)
    return torch.cat([place[:, :2], place[:, 2:].clamp(min=NEAREST)], dim=-1)
