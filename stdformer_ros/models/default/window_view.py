"""The view of a window of landmarks: what a camera that looks straight at the person would see.

Turning the camera towards the person is exact for a pinhole camera, so the network need not learn
where in the image the person stands. Dividing by the person's size leaves only a weak dependence on
distance, and the network gets that size as an input.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.models.rotations import rotation_to_z

SPREAD = 1.6
"""Half size of the view, divided by the landmarks' root mean square distance from their centre: the
view is about as high as a standing person."""

PLACING = 8
"""Number of newest frames that place the view: enough to be steady, few enough to follow."""

SEEN = 0.3
"""Only landmarks of more visibility than this place the view."""


class WindowView(NamedTuple):
    """Landmarks in the view, and how the view lies in the camera.

    Attributes:
        points: (B, T, L, 2), about [-1, 1] over the view, 0 at the person's mean position in the
            newest frames.
        turn: (B, 3, 3) rotation from camera coordinates to the view's.
        half_size: (B,) half the view's extent at unit depth (a tangent).
    """

    points: Tensor
    turn: Tensor
    half_size: Tensor


def view_window(rays: Tensor, visibility: Tensor) -> WindowView:
    """Turn the camera towards a window of landmarks and zoom in on them.

    The view follows from the landmarks' mean direction and mean spread. So it neither jumps when a
    landmark is lost nor grows when the person walks, and it does not depend on how the camera is
    turned.

    Args:
        rays: (B, T, L, 2) landmarks as x/z, y/z in camera coordinates, undistorted.
        visibility: (B, T, L) 0..1.

    Returns:
        The view, placed by the visible landmarks of the newest `PLACING` frames. Where none is
        visible, all landmarks of the window are used.
    """
    weight = torch.where(visibility > SEEN, visibility, 0.0)
    weight[:, :-PLACING] = 0.0
    weight = torch.where(weight.flatten(1).any(1)[:, None, None], weight, 1.0)[..., None]
    directions = F.normalize(torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1), dim=-1)
    turn = rotation_to_z((weight * directions).flatten(1, 2).sum(1))
    turned = torch.einsum("bij,btlj->btli", turn, directions)
    points = turned[..., :2] / turned[..., 2:].clamp(min=0.1)
    # spread about each frame's own centre, so that walking across does not count as size
    centre = (weight * points).sum(2) / weight.sum(2).clamp(min=1e-6)
    squares = (points - centre[:, :, None]).square().sum(-1, keepdim=True)
    spread = ((weight * squares).flatten(1).sum(1) / weight.flatten(1).sum(1)).sqrt()
    half_size = (SPREAD * spread).clamp(min=1e-3)
    return WindowView(points / half_size[:, None, None, None], turn, half_size)


def project(points: Tensor, place: Tensor, half_size: Tensor) -> Tensor:
    """Project points into the view.

    Args:
        points: (B, N, 3) metres, relative to `place`.
        place: (B, 3) metres, in the view.
        half_size: (B,) half the view's extent at unit depth.

    Returns:
        (B, N, 2), in [-1, 1] inside the view.
    """
    placed = points + place[:, None]
    return placed[..., :2] / placed[..., 2:].clamp(min=0.2) / half_size[:, None, None]
