"""A body at the distance that a depth image has measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite

import numpy as np

from stdformer_ros.types import Body

TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")

HALF_THICKNESS = 0.12
"""Metres from a torso's visible surface to the middle of these joints (0.08 to 0.15 on the embedded
body, from all sides)."""

MAX_RATIO = 2.0
"""A measured distance that differs more from the estimated one is of something else."""

HOLD_SECONDS = 0.5
"""A body counts as measured for so long after the last measurement."""


class MeasuredDistance:
    """Puts one person's bodies where a depth image says they are.

    One image leaves open whether a person is large and far away or small and near. Scaling the
    body about the camera answers that, and leaves every joint where the image shows it. While
    nothing is measured (holes, an arm before the torso) the last ratio of measured to estimated
    distance holds: it is that person's size.
    """

    def __init__(self) -> None:
        self._ratio = 1.0
        self._stamp = -inf

    def __call__(
        self, body: Body, joint_names: Sequence[str], torso_depth: float, stamp: float
    ) -> Body:
        """The next body of the person, at its distance.

        Args:
            body: as estimated.
            joint_names: of its joints.
            torso_depth: of the torso's visible surface, metres along the optical axis; NaN if it
                was not measured. What cannot be this body's is left aside (see `agrees`).
            stamp: seconds.
        """
        if agrees(body, joint_names, torso_depth):
            self._ratio, self._stamp = torso_depth / _surface(body, joint_names), stamp
        if self._stamp == -inf:
            return body
        ratio = np.float32(self._ratio)
        measured = 0 <= stamp - self._stamp <= HOLD_SECONDS
        return replace(
            body,
            joints=body.joints * ratio,
            vertices=None if body.vertices is None else body.vertices * ratio,
            metric_depth=body.metric_depth or measured,
            measured_depth=measured,
        )


def agrees(body: Body, joint_names: Sequence[str], torso_depth: float) -> bool:
    """Whether the depth can be that of the body: finite, and within MAX_RATIO of the estimate."""
    if not isfinite(torso_depth):
        return False
    return 1 / MAX_RATIO < torso_depth / _surface(body, joint_names) < MAX_RATIO


def _surface(body: Body, joint_names: Sequence[str]) -> float:
    """How far away the estimated torso's visible surface is."""
    torso = body.joints[[joint_names.index(name) for name in TORSO]]
    return max(float(torso[:, 2].mean()) - HALF_THICKNESS, HALF_THICKNESS)
