"""Put a body where its landmarks are seen.

The network's weak-perspective camera is smooth but rough; the landmarks of the newest frame are
noisy but many. The place that explains both best is a small weighted least-squares problem, linear
in the place once its equations are weighted by depth. A network that gives no camera has the
landmarks alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LANDMARK_SIGMA = 0.02
"""Error of a landmark, in units of the view's half size."""
PLACE_SIGMA = 0.05
"""Error of the network's place across the line of sight, in the same units."""
DEPTH_SIGMA = 0.002
"""Relative error of the network's depth."""
HUBER = 2.0
"""Residuals over so many sigmas count less and less: a landmark that jumps must not pull."""
ROUNDS = 3
NEAREST = 0.3
"""Metres; whatever the equations say, nobody is nearer."""

POSE_SIGMA = 0.06
"""Error of a pose's joints against their keypoints, in units of half of the body's extent."""
DOUBT = 0.05
"""What a keypoint that nobody sees still counts: with none in sight, guesses must do."""
FARTHEST = 100.0
"""Metres, for keypoints that all lie in one place."""


def place_by_landmarks(
    points: Tensor, seen: Tensor, visibility: Tensor, half_size: Tensor, prior: Tensor
) -> Tensor:
    """The body's origin in the view's coordinates.

    Args:
        points: (B, L, 3) the body's landmarks relative to its origin, metres.
        seen: (B, L, 2) where they are seen, in [-1, 1] over the view.
        visibility: (B, L) 0..1, how much each counts.
        half_size: (B,) tangent of half the view's angle.
        prior: (B, 3) the network's place, metres.

    Returns:
        (B, 3) metres; the prior itself where nothing is visible.
    """
    across = PLACE_SIGMA * half_size * prior[:, 2]
    prior_sigma = torch.stack([across, across, DEPTH_SIGMA * prior[:, 2]], dim=-1)
    tangent = seen * half_size[:, None, None]  # x/z, y/z
    sigma = LANDMARK_SIGMA * half_size
    return _settled(points, tangent, visibility, sigma, prior, prior_sigma.square().reciprocal())


def place_by_size(points: Tensor, rays: Tensor, visibility: Tensor) -> Tensor:
    """Where a body without a camera of its own stands: where its keypoints are seen.

    Args:
        points: (B, L, 3) the body's joints relative to its origin, metres, in camera axes.
        rays: (B, L, 2) where they are seen, x/z and y/z.
        visibility: (B, L) 0..1, how much each counts.

    Returns:
        (B, 3) metres, camera frame; from `NEAREST` to `FARTHEST`.
    """
    weight = visibility.double().clamp(min=DOUBT)
    joints, seen = points.double(), rays.double()
    body, image = (_centred(x, weight) for x in (joints[..., :2], seen))
    depth = (body.spread / image.spread.clamp(min=1e-6)).clamp(NEAREST, FARTHEST)
    start = torch.cat([image.centre * depth - body.centre, depth], dim=1)
    sigma = POSE_SIGMA * (2.0 * image.spread[:, 0]).clamp(min=1e-3)
    place = _settled(joints, seen, weight, sigma, start, torch.full_like(start, 1e-4))
    place = place * (FARTHEST / place[:, 2:]).clamp(max=1.0)
    return place.to(points)


class _Centred(NamedTuple):
    """Centre (B, 2) of weighted points, and how far they are from it (B, 1), root mean square."""

    centre: Tensor
    spread: Tensor


def _centred(points: Tensor, weight: Tensor) -> _Centred:
    share = (weight / weight.sum(dim=1, keepdim=True))[..., None]
    centre = (share * points).sum(dim=1)
    square = (share * (points - centre[:, None]).square()).sum(dim=(1, 2))
    return _Centred(centre, square.sqrt()[:, None])


def _settled(
    points: Tensor,
    tangent: Tensor,
    visibility: Tensor,
    sigma: Tensor,
    prior: Tensor,
    prior_weight: Tensor,
) -> Tensor:
    """The place (B, 3) that explains best where points are seen, and the prior.

    Args:
        points: (B, L, 3) metres.
        tangent: (B, L, 2) where they are seen, x/z and y/z.
        visibility: (B, L) how much each counts.
        sigma: (B,) of what is seen, at unit depth.
        prior: (B, 3) metres.
        prior_weight: (B, 3) how much its coordinates count, 1/m^2.
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
    for _ in range(ROUNDS):
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
