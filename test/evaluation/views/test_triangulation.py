"""Points from several views, and their low pass."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.calibrated_views import CAMERAS, RATE, walker
from stdformer_ros.evaluation.views.triangulation import low_pass, triangulate


def test_points_are_found_where_they_are_although_one_view_is_wrong():
    points = walker()[:5]
    pixels = np.stack([cam.project(points) for cam in CAMERAS])
    weights = np.ones(pixels.shape[:-1])
    exact, distance = triangulate(CAMERAS, pixels, weights)
    np.testing.assert_allclose(exact, points, atol=1e-6)
    assert distance.max() < 1e-3

    pixels[2, :, 3] += 200.0  # this view marks another place for one of the points
    found, distance = triangulate(CAMERAS, pixels, weights)
    assert np.abs(found - points).max() < 2e-3
    assert np.median(distance[2, :, 3]) == pytest.approx(200 * 2**0.5, rel=0.01)


def test_a_point_that_fewer_than_two_views_see_is_unknown():
    points = walker()[:1]
    pixels = np.stack([cam.project(points) for cam in CAMERAS])
    weights = np.ones(pixels.shape[:-1])
    weights[1:, 0, 4] = 0
    found, _ = triangulate(CAMERAS, pixels, weights)
    assert np.isnan(found[0, 4]).all()
    assert np.isfinite(np.delete(found, 4, axis=1)).all()


def test_the_low_pass_keeps_slow_motion_in_time_and_takes_fast_noise_away():
    time = np.arange(240) / RATE
    slow, fast = np.sin(2 * np.pi * 1.0 * time), 0.1 * np.sin(2 * np.pi * 25.0 * time)
    points = np.stack([slow + fast, slow, fast], axis=1)[:, None]
    points[100] = np.nan
    smooth = low_pass(points, RATE, 6.0)
    assert np.isnan(smooth[100]).all()
    inner = np.r_[30:95, 106:210]
    assert np.abs(smooth[inner, 0, 0] - slow[inner]).max() < 0.01
    assert np.abs(smooth[inner, 0, 2]).max() < 0.01
