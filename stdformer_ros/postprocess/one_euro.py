"""A causal low-pass over each person's answers, for users who want them calmer still.

The 1 euro filter: Casiez, Roussel, Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for
Noisy Input in Interactive Systems", CHI 2012. What is slow is smoothed much, so that it does not
tremble; what is fast little, so that it does not lag.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.config import PipelineSettings
from stdformer_ros.types import Body, FloatArray

SPEED_CUTOFF = 1.0
"""Hz, of the low-pass over speeds, as published."""
CHORD_METRES = 0.2
"""Rotations are smoothed like a point so far from the joint: what is a metre per second there."""


@dataclass(frozen=True)
class OneEuro:
    """How much to smooth.

    Attributes:
        min_cutoff: Hz, of what does not move; lower is calmer.
        beta: Hz by which the cutoff rises for each metre per second; higher lags less.

    Raises:
        ValueError: if a number is out of range.
    """

    min_cutoff: float
    beta: float

    def __post_init__(self) -> None:
        if not 0.0 < self.min_cutoff < np.inf or not 0.0 <= self.beta < np.inf:
            raise ValueError(
                f"the filter needs min_cutoff over 0 Hz and beta from 0, not "
                f"{self.min_cutoff} and {self.beta}"
            )


class OneEuroFilter:
    """Smooths points (N, C) that all have a speed of their own."""

    def __init__(self, settings: OneEuro) -> None:
        self.settings = settings
        self._points: NDArray[np.floating] | None = None
        self._velocity: NDArray[np.floating] | None = None

    def __call__(self, points: NDArray[np.floating], seconds: float) -> NDArray[np.floating]:
        """The points (N, C), smoothed.

        Args:
            points: those of the next frame. Another number of them starts anew.
            seconds: since the frame before; without any the answer stays what it was.
        """
        before, velocity = self._points, self._velocity
        if before is None or velocity is None or before.shape != points.shape:
            self._points, self._velocity = points, np.zeros_like(points)
            return points
        if seconds <= 0.0:
            return before
        newest = (points - before) / seconds
        velocity = velocity + _share(SPEED_CUTOFF, seconds) * (newest - velocity)
        speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
        cutoff = self.settings.min_cutoff + self.settings.beta * speed
        smooth = before + _share(cutoff, seconds) * (points - before)
        self._points, self._velocity = smooth, velocity
        return smooth


class BodyFilter:
    """Smooths one person's bodies: their place, and everything else about the pelvis.

    What comes out depends on the answers since the person's window began and on their stamps alone.

    Args:
        settings: see there.
        pelvis: which of the joints is the pelvis.
    """

    def __init__(self, settings: OneEuro, pelvis: int) -> None:
        self._pelvis = pelvis
        self._place = OneEuroFilter(settings)
        self._joints = OneEuroFilter(settings)
        self._vertices = OneEuroFilter(settings)
        self._rotations = OneEuroFilter(settings)

    def use(self, settings: OneEuro) -> None:
        """Go on with other settings from where the body is."""
        for one in (self._place, self._joints, self._vertices, self._rotations):
            one.settings = settings

    def __call__(self, body: Body, seconds: float) -> Body:
        """The body, smoothed, `seconds` after the one before (any number for the first)."""
        pelvis = body.joints[self._pelvis : self._pelvis + 1]
        place = self._place(pelvis, seconds)
        vertices, rotations = body.vertices, body.rotations
        if vertices is not None:
            vertices = _single(self._vertices(vertices - pelvis, seconds) + place)
        if rotations is not None:
            chords = self._rotations(CHORD_METRES * rotations.reshape(-1, 9), seconds)
            rotations = _nearest_rotations(chords.reshape(rotations.shape))
        return replace(
            body,
            joints=_single(self._joints(body.joints - pelvis, seconds) + place),
            vertices=vertices,
            rotations=rotations,
        )


def _share(cutoff: float | NDArray[np.floating], seconds: float) -> NDArray[np.floating]:
    """Of the newest value in a first-order low-pass with a cutoff in Hz."""
    turn = 2.0 * np.pi * np.asarray(cutoff) * seconds
    return np.asarray(turn / (turn + 1.0))


def _nearest_rotations(matrices: NDArray[np.floating]) -> FloatArray:
    """(..., 3, 3), orthogonal Procrustes."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]
    return _single(u @ vt)


def _single(array: NDArray[np.floating]) -> FloatArray:
    return np.asarray(array, np.float32)


def one_euro_filter(settings: PipelineSettings) -> OneEuro | None:
    """The filter over the answers that the settings ask for, None for none."""
    if not settings.filter_min_cutoff:
        return None
    return OneEuro(settings.filter_min_cutoff, settings.filter_beta)
