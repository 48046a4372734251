"""From the weak-perspective camera over a crop to metres in the camera of the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.camera.pinhole import Camera, weak_perspective_to_metres
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.published.crops import Square

VIEW = "view"
METRIC = "metric"
SIGHT = "sight"

MIN_SCALE = 0.05
"""Of the weak camera, in 1/m: the crop would span 40 m. Networks without training go below."""


def crop_view(squares: Sequence[Square], camera: Camera, device: torch.device) -> Features:
    """Where crops lie in the camera, as features of their people.

    Returns:
        `view` (P, 3): x and y of the crop's centre and half its size, at unit depth; `metric` (P,):
        1 where the intrinsics are known, 0 where they are assumed.
    """
    focal = sqrt(camera.fx * camera.fy)
    centres = camera.rays(np.array([(s.x, s.y) for s in squares], np.float32))
    view = [(x, y, 0.5 * s.size / focal) for (x, y), s in zip(centres, squares, strict=True)]
    known = torch.full((len(squares),), float(camera.known), device=device)
    return {VIEW: torch.tensor(view, dtype=torch.float32, device=device), METRIC: known}


def place_in_camera(weak: Tensor, view: Tensor) -> Tensor:
    """Where the body's origin is.

    The published networks take the crop for the whole view of a distant camera. So the body is
    as far away as its size in pixels and the focal length say, z = 2 f / (s size), and it is
    shifted, not turned, to where the crop lies.

    Args:
        weak: (B, 3) s, tx, ty: a point X shows at s (X + t) of the crop's [-1, 1].
        view: (B, 3) see `crop_view`.

    Returns:
        (B, 3) metres, camera frame.
    """
    scale = weak[:, :1].clamp(min=MIN_SCALE)
    near = weak_perspective_to_metres(torch.cat([scale, weak[:, 1:]], dim=1), view[:, 2])
    depth = near[:, 2:]
    return torch.cat([near[:, :2] + view[:, :2] * depth, depth], dim=1)
