"""How many frames an answer comes after the truth, by cross-correlation of velocities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAGS = np.arange(-5, 16)
"""Frames that are tried; a negative one would be a look into the future."""


def velocity_correlation(
    predicted: NDArray[np.floating], true: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How well velocities agree when the answer is taken to be so many frames late.

    Args:
        predicted: (N, J, 3) relative to the pelvis.
        true: (N, J, 3).

    Returns:
        (len(LAGS),) sums of scalar products, over the same predicted frames for every lag, so that
        those of several clips can be added up; zero for a clip that is too short.
    """
    before, after = int(LAGS.max()), -int(LAGS.min())
    v, w = np.diff(predicted, axis=0), np.diff(true, axis=0)
    if len(v) <= before + after:
        return np.zeros(len(LAGS))
    frames = np.arange(before, len(v) - after)
    return np.array([float((v[frames] * w[frames - lag]).sum()) for lag in LAGS])


def lag_frames(correlation: NDArray[np.float64]) -> float:
    """The lag of the highest correlation, to a part of a frame by the parabola through its top.

    Returns:
        Frames, or NaN if nothing moved.
    """
    if not correlation.max() > 0:
        return float("nan")
    top = int(correlation.argmax())
    if top in (0, len(LAGS) - 1):
        return float(LAGS[top])
    low, high, right = correlation[top - 1 : top + 2]
    return float(LAGS[top] + 0.5 * (low - right) / (low - 2.0 * high + right))
