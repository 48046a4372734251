"""`./run bench --plot FILE`: how the cost grows, as curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from stdformer_ros.bench.growth import PEOPLE, SIZES, WINDOWS
from stdformer_ros.bench.timing import Figures
from stdformer_ros.evaluation.line_chart import GRAY, OTHER, OURS, Line, draw_chart
from stdformer_ros.types import ImageArray


def growth_charts(figures: Figures) -> ImageArray:
    """Milliseconds a frame against people, megapixels and window, one chart below the other.

    Args:
        figures: those of `bench_growth`.

    Raises:
        KeyError: if they are not there.
    """
    followed = [figures[f"followed_at_{people}_people"] for people in PEOPLE]
    people = _line(figures, "ms_at_{}_people", PEOPLE, followed)
    linear = Line(people.x, people.y[0] * people.x, GRAY, "linear in people")
    megapixels = [1e-6 * width * height for width, height in SIZES.values()]
    whole = _line(figures, "ms_at_{}", SIZES, megapixels)
    networks = _line(figures, "network_ms_at_{}", SIZES, megapixels)
    stream = _line(figures, "stream_ms_at_window_{}", WINDOWS, WINDOWS)
    anew = _line(figures, "recompute_ms_at_window_{}", WINDOWS, WINDOWS)
    return np.concatenate(
        [
            _chart(
                "default pipeline, cells of 640x480", "people", [_named(people, "measured"), linear]
            ),
            _chart(
                "default pipeline, one person, VGA to 4K",
                "megapixels",
                [_named(whole, "all"), _named(networks, "estimator", OTHER)],
            ),
            _chart(
                "STDFormer-S on ResNet-50, a new frame",
                "frames in the window",
                [_named(stream, "streaming"), _named(anew, "recomputing", OTHER)],
            ),
        ]
    )


def _line(figures: Figures, key: str, names: Iterable[int | str], x: Sequence[float]) -> Line:
    values = [figures[key.format(name)] for name in names]
    return Line(np.array(x, float), np.array(values), OURS, "")


def _named(line: Line, name: str, color: tuple[int, int, int] = OURS) -> Line:
    return Line(line.x, line.y, color, name)


def _chart(title: str, x_title: str, lines: list[Line]) -> ImageArray:
    return draw_chart(
        lines,
        title=title,
        x_title=x_title,
        y_title="ms a frame",
        x_limits=(0.0, float(lines[0].x.max())),
        y_limits=(0.0, 1.1 * float(max(line.y.max() for line in lines))),
        size=(700, 260),
    )
