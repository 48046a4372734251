"""A window of landmarks as a camera sees it that looks straight at the person.

Turning the camera towards the person is exact for a pinhole camera, so a network behind it need not
learn where in the image the person stands; dividing by the person's size leaves only a weak
dependence on distance, which the network is told.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stdformer_ros.models.rotation import rotation_to_z

MARGIN = 1.1
"""Half size of the view over half the landmarks' extent."""

SEEN = 0.3
"""Visibility from which on a landmark helps to place the view."""


class WindowView(NamedTuple):
    """What `view_window` gives.

    Attributes:
        points: (B, T, L, 2) in [-1, 1] over the view, 0 at the person's centre.
        turn: (B, 3, 3) from camera coordinates to the view's.
        half_size: (B,) half the view's extent at unit depth (a tangent).
    """

    points: Tensor
    turn: Tensor
    half_size: Tensor


def view_window(rays: Tensor, visibility: Tensor) -> WindowView:
    """Turn towards and zoom on a window of landmarks.

    Args:
        rays: (B, T, L, 2) landmarks as x/z, y/z in camera coordinates, undistorted.
        visibility: (B, T, L) 0..1.

    Returns:
        The view, placed by all visible landmarks of the window so that it does not jump when one of
        them is lost. Where none is visible all are used.
    """
    seen = visibility > SEEN
    seen = seen | ~seen.flatten(1).any(1)[:, None, None]
    low = torch.where(seen[..., None], rays, torch.inf).flatten(1, 2).amin(1)
    high = torch.where(seen[..., None], rays, -torch.inf).flatten(1, 2).amax(1)
    centre = 0.5 * (low + high)
    turn = rotation_to_z(torch.cat([centre, torch.ones_like(centre[:, :1])], dim=-1))
    directions = torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1)
    turned = torch.einsum("bij,btlj->btli", turn, directions)
    points = turned[..., :2] / turned[..., 2:].clamp(min=0.1)
    # measured in the turned view, of what is seen: the extent's larger side
    reach = torch.where(seen[..., None], points.abs(), 0.0).flatten(1).amax(1)
    half_size = (MARGIN * reach).clamp(min=1e-3)
    return WindowView(points / half_size[:, None, None, None], turn, half_size)
