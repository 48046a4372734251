"""Moves a body to the distance that a depth image has measured."""

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
"""If measured and estimated distance differ by a larger factor, something else was measured."""

HOLD_SECONDS = 0.5
"""A body counts as measured for this time after the last measurement."""


class MeasuredDistance:
    """Moves one person's bodies to the measured distance.

    One image does not tell whether a person is tall and far away or short and near; a depth image
    does. The body is scaled about the camera, which leaves every joint where the image shows it.
    While nothing is measured (holes, an arm in front of the torso), the last ratio of measured to
    estimated distance holds: it is the ratio of the person's true to estimated size.
    """

    def __init__(self) -> None:
        self._ratio = 1.0
        self._stamp = -inf

    def __call__(
        self, body: Body, joint_names: Sequence[str], torso_depth: float, stamp: float
    ) -> Body:
        """The next body of the person, at the measured distance.

        Args:
            body: as estimated.
            joint_names: names of its joints, in their order.
            torso_depth: of the torso's visible surface, metres along the optical axis; NaN if it
                was not measured. Depths that cannot be this body's are ignored (`is_plausible`).
            stamp: seconds.
        """
        if is_plausible(body, joint_names, torso_depth):
            self._ratio, self._stamp = torso_depth / _surface_depth(body, joint_names), stamp
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


def is_plausible(body: Body, joint_names: Sequence[str], torso_depth: float) -> bool:
    """Whether the depth can be that of the body: finite, and within MAX_RATIO of the estimate."""
    if not isfinite(torso_depth):
        return False
    return 1 / MAX_RATIO < torso_depth / _surface_depth(body, joint_names) < MAX_RATIO


def _surface_depth(body: Body, joint_names: Sequence[str]) -> float:
    """The depth of the estimated torso's visible surface, metres along the optical axis."""
    torso = body.joints[[joint_names.index(name) for name in TORSO]]
    return max(float(torso[:, 2].mean()) - HALF_THICKNESS, HALF_THICKNESS)
