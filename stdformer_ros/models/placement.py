"""Put a body where its landmarks are seen.

The network's weak-perspective camera is smooth but rough; the landmarks of the newest frame are
noisy but many. The place that explains both best is a small weighted least-squares problem, linear
in the place once its equations are weighted by depth.
"""

from __future__ import annotations

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
    tangent = seen * half_size[:, None, None]  # x/z, y/z
    across = PLACE_SIGMA * half_size * prior[:, 2]
    prior_sigma = torch.stack([across, across, DEPTH_SIGMA * prior[:, 2]], dim=-1)
    prior_weight = torch.diag_embed(prior_sigma.square().reciprocal())
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
        sigma = LANDMARK_SIGMA * half_size[:, None] * depth
        residual = torch.einsum("blij,bj->bli", rows, place) - wanted
        excess = torch.linalg.vector_norm(residual, dim=-1) / sigma
        weight = visibility / sigma.square() * (HUBER / excess.clamp(min=HUBER))
        normal = torch.einsum("bl,blij,blik->bjk", weight, rows, rows) + prior_weight
        right = torch.einsum("bl,blij,bli->bj", weight, rows, wanted)
        right = right + (prior_weight @ prior[..., None])[..., 0]
        place = torch.linalg.solve(normal, right)
    return torch.cat([place[:, :2], place[:, 2:].clamp(min=0.3)], dim=-1)
