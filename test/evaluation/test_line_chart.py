"""Line charts show their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from stdformer_ros.evaluation.line_chart import BLUE, ORANGE, Line, draw_chart


def chart(*lines: Line, y_limits: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    return draw_chart(
        lines,
        title="",
        x_title="",
        y_title="",
        x_limits=(0.0, 10.0),
        y_limits=y_limits,
        size=(400, 200),
    )


def where(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) x, y of the pixels of roughly this colour, below the legend."""
    near = np.abs(picture.astype(int) - color).max(axis=2) < 40
    near[:28] = False
    return np.argwhere(near)[:, ::-1]


def test_a_line_is_drawn_at_its_values() -> None:
    x = np.linspace(0.0, 10.0, 50)
    low = where(chart(Line(x, np.full(50, 0.25), BLUE, "")), BLUE)
    high = where(chart(Line(x, np.full(50, 0.75), BLUE, "")), BLUE)
    assert np.ptp(low[:, 0]) > 300
    assert np.ptp(low[:, 1]) <= 3
    plot = 200 - 30 - 42  # what is left below the title and above the axis
    assert low[:, 1].mean() - high[:, 1].mean() == pytest.approx(0.5 * plot, abs=1.5)


def test_a_line_has_gaps_at_nan_and_is_cut_at_the_limits() -> None:
    x = np.linspace(0.0, 10.0, 51)
    y = np.where((x > 4) & (x < 6), np.nan, 0.5)
    columns = np.unique(where(chart(Line(x, y, BLUE, "")), BLUE)[:, 0])
    assert np.diff(columns).max() > 50
    outside = where(chart(Line(x, np.full(51, 7.0), ORANGE, "")), ORANGE)
    assert len(outside) == 0


@pytest.mark.parametrize("y_limits", [(0.0, 1e-3), (0.0, 137.0), (-5.0, 2e6)])
def test_any_scale_can_be_drawn(y_limits: tuple[float, float]) -> None:
    middle = np.full(5, sum(y_limits) / 2)
    picture = chart(Line(np.arange(5.0), middle, BLUE, "a"), y_limits=y_limits)
    assert picture.shape == (200, 400, 3)
    assert len(where(picture, BLUE)) > 50
