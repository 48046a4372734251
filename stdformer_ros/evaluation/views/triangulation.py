"""Points in space from several calibrated views, without one wrong view spoiling them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, filtfilt

from stdformer_ros.evaluation.views.cameras import Array, CalibratedCamera

RESIDUAL_SCALE = 12.0
"""Pixels from which on a view counts less and less (Geman and McClure's cost)."""
ROUNDS = 5
FILTER_ORDER = 2


def triangulate(
    cameras: Sequence[CalibratedCamera], pixels: Array, weights: Array
) -> tuple[Array, Array]:
    """The points that the views agree on.

    For each point the consensus of the subsets of views with the least robust cost is taken as a
    start, and refined by iteratively reweighted least squares (linear triangulation, its equations
    divided by depth).

    Args:
        cameras: V >= 2 of them.
        pixels: (V, ..., 2) where each view sees the points.
        weights: (V, ...) how much each view counts, 0 where it sees nothing.

    Returns:
        Points (..., 3) in metres, NaN where fewer than two views see anything, and the distances
        (V, ...) in pixels between what is seen and the point's projection.
    """
    shape, views = pixels.shape[1:-1], len(cameras)
    pixels, weights = pixels.reshape(views, -1, 2), weights.reshape(views, -1)
    rays = np.stack([c.rays(p) for c, p in zip(cameras, pixels, strict=True)])
    best = np.full((pixels.shape[1], 3), np.nan)
    least = np.full(len(best), np.inf)
    for size in range(2, views + 1):
        for chosen in combinations(range(views), size):
            part = np.zeros((views, 1))
            part[list(chosen)] = 1.0
            points = _linear(cameras, rays, weights * part)
            relative = _distances(cameras, points, pixels) / RESIDUAL_SCALE
            cost = (weights * relative**2 / (1 + relative**2)).sum(axis=0)
            enough = (weights * part > 0).sum(axis=0) >= 2
            better = enough & (cost < least)
            best[better], least[better] = points[better], cost[better]
    seen = np.isfinite(least)
    points = best[seen]
    for _ in range(ROUNDS if seen.any() else 0):
        relative = _distances(cameras, points, pixels[:, seen]) / RESIDUAL_SCALE
        depth = np.stack([c.in_camera(points)[..., 2] for c in cameras])
        scale = 1 / (np.maximum(depth, 0.1) * (1 + relative**2))
        points = _linear(cameras, rays[:, seen], np.sqrt(weights[:, seen]) * scale)
    best[seen] = points
    distances = np.full((views, len(best)), np.nan)
    if seen.any():
        distances[:, seen] = _distances(cameras, points, pixels[:, seen])
    return best.reshape(*shape, 3), distances.reshape(views, *shape)


def low_pass(points: Array, rate: float, cutoff: float) -> Array:
    """Points (F, ..., 3) over time without what is faster, without lag (Butterworth, both ways).

    Frames that are NaN are bridged by straight lines for the filter and stay NaN.

    Args:
        points: in frames of equal distance.
        rate: frames a second.
        cutoff: Hz; the gain there is one half, as it is applied twice.
    """
    series = points.reshape(len(points), -1)
    filled = series.copy()
    time = np.arange(len(series))
    for column in filled.T:
        known = np.isfinite(column)
        if known.any():
            column[~known] = np.interp(time[~known], time[known], column[known])
    if cutoff < 0.5 * rate and len(series) > 3 * (FILTER_ORDER + 1):
        b, a = butter(FILTER_ORDER, cutoff / (0.5 * rate))
        pad = min(len(series) - 1, int(rate / cutoff) + 3 * FILTER_ORDER)
        filled = filtfilt(b, a, filled, axis=0, padlen=pad)
    filled[np.isnan(series)] = np.nan
    return filled.reshape(points.shape)


def _linear(cameras: Sequence[CalibratedCamera], rays: Array, weights: Array) -> Array:
    """Points (N, 3) from rays (V, N, 2): the least singular vector of the weighted equations."""
    rows = []
    for camera, ray, weight in zip(cameras, rays, weights, strict=True):
        matrix = np.hstack([camera.rotation, camera.translation[:, None]])
        rows += [(ray[:, k, None] * matrix[2] - matrix[k]) * weight[:, None] for k in (0, 1)]
    homogeneous = np.linalg.svd(np.stack(rows, axis=1))[2][:, -1]
    last = homogeneous[:, 3:]
    return homogeneous[:, :3] / np.where(np.abs(last) < 1e-9, 1e-9, last)


def _distances(
    cameras: Sequence[CalibratedCamera], points: Array, pixels: NDArray[np.floating]
) -> Array:
    """(V, N) pixels between projections of points (N, 3) and where they are seen (V, N, 2)."""
    return np.stack(
        [
            np.linalg.norm(camera.project(points) - seen, axis=-1)
            for camera, seen in zip(cameras, pixels, strict=True)
        ]
    )
