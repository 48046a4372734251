"""People in front of a landmark detector without faults; each test adds one fault."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers.poses import standing
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.evaluation.motion.scenes import standing_height
from stdformer_ros.training.people import landmark_noise
from stdformer_ros.training.people.landmark_noise import disturb

PEOPLE, FRAMES = 400, 24
HEIGHT = 0.5
"""Height of the people below from sole to crown, at unit depth."""
WRIST = LANDMARK_NAMES.index("left_wrist")


@pytest.fixture
def faultless(monkeypatch: pytest.MonkeyPatch) -> None:
    """All faults are switched off; each test adds one."""
    torch.manual_seed(0)
    for name in ("PLAIN", "PLAIN_NOISE", "SHIFT", "GROWTH", "PLAIN_GROWTH", "BIAS", "BURST_RATE",
                 "SWAP_RATE", "TRUNCATED"):  # fmt: skip
        monkeypatch.setattr(landmark_noise, name, 0.0)
    # These are drawn on a logarithmic scale and cannot be 0.
    for name in ("SLOW_NOISE", "FAST_NOISE"):
        monkeypatch.setattr(landmark_noise, name, (1e-12, 1e-12))


def people(points: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rays and points of people who stand still and face the camera; all landmarks are visible."""
    body = BodyModel(431)
    stature = float(standing_height(body, torch.zeros(1, 10)))
    points = standing() if points is None else points
    points = points + torch.tensor([0.0, 0.0, stature / HEIGHT])
    # All at the same depth, so that none is hidden.
    points[..., 2] = stature / HEIGHT
    points = points.expand(PEOPLE, FRAMES, -1, -1)
    return points[..., :2] / points[..., 2:], points


def error_of(rays: Tensor, points: Tensor) -> Tensor:
    return disturb(rays, points)[0] - rays


def lag(error: Tensor, frames: int) -> float:
    """Correlation of errors that are this number of frames apart."""
    return float((error[:, frames:] * error[:, :-frames]).mean() / error.square().mean())


def steady(visibility: Tensor) -> Tensor:
    """(B, L) bool: constant visibility over all frames, as of hidden and cut-off landmarks."""
    return (visibility == visibility[:, :1]).all(1)
