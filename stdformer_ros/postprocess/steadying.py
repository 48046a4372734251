"""What does not change in a person stays: their size. And they move on as they moved.

One camera cannot tell a tall person far away from a short one nearby, so that size and distance
tremble together, by more than everything else. Both are steadied causally, by memories that begin
with the person's window: an answer depends on the frames since then and their stamps alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log

import numpy as np

from stdformer_ros.types import Body, FloatArray

SIZE_SECONDS = 3.0
"""Time constant of the memory of a person's size and shape; in the first seconds it is the mean."""
DISTANCE_SECONDS = 0.3
"""Time constant of the memory of where a person is and goes along the line of sight."""
FAR = 6.0
"""Metres; beyond, that lasts longer in proportion: a pixel of error is a larger error there."""

_LIMBS = tuple(
    (f"{side}_{start}", f"{side}_{end}")
    for side in ("left", "right")
    for start, end in (
        ("hip", "knee"),
        ("knee", "ankle"),
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
    )
)


class _Memory:
    """How much the newest value counts: as much as each before it, until those fade."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._weight = 0.0

    def share(self, seconds: float) -> float:
        """Of a value that comes so long after the one before."""
        self._weight = self._weight * exp(-max(seconds, 0.0) / self._seconds) + 1.0
        return 1.0 / self._weight


class SteadySize:
    """Scales one person's bodies about the camera to the size that they had on average.

    That leaves every point where the image shows it.

    Args:
        joint_names: of the bodies.
    """

    def __init__(self, joint_names: Sequence[str]) -> None:
        present = [limb for limb in _LIMBS if set(limb) <= set(joint_names)]
        self._starts = [joint_names.index(start) for start, _ in present]
        self._ends = [joint_names.index(end) for _, end in present]
        self._memory = _Memory(SIZE_SECONDS)
        self._log_size = 0.0
        self._betas: FloatArray | None = None

    def __call__(self, body: Body, seconds: float) -> Body:
        """The body, `seconds` after the one before (any number for the first)."""
        length = self._limbs(body)
        if length <= 0.0:
            return body  # no limbs by which to tell
        share = self._memory.share(seconds)
        self._log_size += share * (log(length) - self._log_size)
        if body.betas is not None:
            before = body.betas if self._betas is None else self._betas
            self._betas = before + np.float32(share) * (body.betas - before)
        scale = np.float32(exp(self._log_size) / length)
        return replace(
            body,
            joints=body.joints * scale,
            vertices=None if body.vertices is None else body.vertices * scale,
            betas=self._betas if body.betas is not None else None,
        )

    def _limbs(self, body: Body) -> float:
        """Metres: the length of all arms and legs."""
        limbs = body.joints[self._ends] - body.joints[self._starts]
        return float(np.linalg.norm(limbs, axis=1).sum())


class SteadyDistance:
    """Smooths how far away one person is; across the line of sight nothing changes.

    A critically damped g-h filter (the fading-memory polynomial filter of degree one: Morrison,
    "Introduction to Sequential Smoothing and Prediction", 1969): it foresees that the person goes
    on at their pace, so that somebody who comes nearer is not seen late.

    Args:
        pelvis: which of the joints is the pelvis.
    """

    def __init__(self, pelvis: int) -> None:
        self._pelvis = pelvis
        self._count = 0
        self._distance = 0.0
        self._speed = 0.0

    def __call__(self, body: Body, seconds: float) -> Body:
        """The body, `seconds` after the one before (any number for the first)."""
        place = body.joints[self._pelvis].astype(np.float64)
        seen = float(np.linalg.norm(place))
        if seen <= 0.0:
            return body  # at the camera there is no line of sight
        self._follow(seen, seconds)
        shift = ((self._distance / seen - 1.0) * place).astype(np.float32)
        return replace(
            body,
            joints=body.joints + shift,
            vertices=None if body.vertices is None else body.vertices + shift,
        )

    def _follow(self, seen: float, seconds: float) -> None:
        if self._count == 0:
            self._count, self._distance = 1, seen
            return
        if seconds <= 0.0:
            return
        self._count += 1
        n = self._count
        fade = exp(-seconds / (DISTANCE_SECONDS * max(self._distance / FAR, 1.0)))
        # as long as that is more: the gains of the straight line through all n frames
        gain = max(1.0 - fade**2, 2.0 * (2 * n - 1) / (n * (n + 1)))
        pace = max((1.0 - fade) ** 2, 6.0 / (n * (n + 1)))
        foreseen = self._distance + self._speed * seconds
        self._distance = foreseen + min(gain, 1.0) * (seen - foreseen)
        self._speed += min(pace, 1.0) * (seen - foreseen) / seconds
