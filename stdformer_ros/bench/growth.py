"""How the cost grows with the number of people, the image's size and the window's length.

`bench_growth` measures; `growth_charts` draws the curves of `./run bench --plot FILE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from math import log

import numpy as np
import torch

from stdformer_ros.bench.pipeline import crowd, resized, stream_figures
from stdformer_ros.bench.streaming import stdformer
from stdformer_ros.bench.timing import Figures, in_alternation
from stdformer_ros.evaluation.line_chart import BLUE, GRAY, ORANGE, Color, Line, draw_chart
from stdformer_ros.pipeline import build_pipeline
from stdformer_ros.types import ImageArray

PEOPLE = (1, 2, 4, 8, 16)
SIZES = {"VGA": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
WINDOWS = (1, 2, 4, 8, 16)
FRAMES = 40
WARM_UP_FRAMES = 10
"""Frames before the measured ones, in which the pipeline finds the one person."""
CROWD_WARM_UP_FRAMES = 100
"""The most frames in which the pipeline may find all people of a crowd. In a large grid the
detector can miss somebody for longer; `followed_at_..._people` says how many were followed."""


def bench_growth(images: Sequence[ImageArray]) -> Figures:
    """Milliseconds per frame by number of people, image size and window length.

    `people_growth_exponent` is the p of the power law (milliseconds ~ people^p) between the
    smallest and the largest number of people.
    """
    people = people_growth(images)
    fewest, most = (people[f"followed_at_{n}_people"] for n in (PEOPLE[0], PEOPLE[-1]))
    cost = people[f"ms_at_{PEOPLE[-1]}_people"] / people[f"ms_at_{PEOPLE[0]}_people"]
    exponent = log(cost) / log(most / fewest)
    return people | size_growth(images) | window_growth() | {"people_growth_exponent": exponent}


def people_growth(images: Sequence[ImageArray]) -> Figures:
    """Milliseconds per frame of the default pipeline; each person is in a cell of 640x480."""
    figures: Figures = {}
    for people in PEOPLE:
        pipeline = build_pipeline(max_people=people)
        frames = crowd(images, people)
        answers = pipeline.follow(frames)
        for answer, _ in zip(answers, range(CROWD_WARM_UP_FRAMES), strict=False):
            if len(answer.humans) == people:
                break
        found = stream_figures(pipeline, list(islice(frames, FRAMES)))
        figures[f"ms_at_{people}_people"] = 1e3 / found["fps"]
        figures[f"followed_at_{people}_people"] = found["people_per_frame"]
    return figures


def size_growth(images: Sequence[ImageArray]) -> Figures:
    """Milliseconds per frame of the default pipeline for one person and resized images."""
    figures: Figures = {}
    for name, (width, height) in SIZES.items():
        pipeline = build_pipeline()
        frames = resized(images, width, height, WARM_UP_FRAMES + FRAMES)
        for frame in frames[:WARM_UP_FRAMES]:
            pipeline(frame)
        found = stream_figures(pipeline, frames[WARM_UP_FRAMES:])
        figures[f"ms_at_{name}"] = 1e3 / found["fps"]
        figures[f"network_ms_at_{name}"] = found["encode_ms"] + found["decode_ms"]
    return figures


def window_growth(repeats: int = 3) -> Figures:
    """Milliseconds of STDFormer-S on ResNet-50 for a new frame: streaming, and recomputing."""
    figures: Figures = {}
    torch.manual_seed(0)
    with torch.inference_mode():
        for window in WINDOWS:
            stream, recompute = stdformer("stdformer_S", backbone="resnet50", window=window)
            took = in_alternation({"stream": stream, "recompute": recompute}, repeats)
            figures[f"stream_ms_at_window_{window}"] = took["stream"]
            figures[f"recompute_ms_at_window_{window}"] = took["recompute"]
    return figures


def growth_charts(figures: Figures) -> ImageArray:
    """Milliseconds per frame by people, megapixels and window, one chart below the other.

    Args:
        figures: those of `bench_growth`.

    Returns:
        RGB picture, (height, width, 3).

    Raises:
        KeyError: if figures are missing.
    """
    followed = [figures[f"followed_at_{people}_people"] for people in PEOPLE]
    people = _line(figures, "ms_at_{}_people", PEOPLE, followed, "measured")
    linear = Line(people.x, people.y[0] * people.x, GRAY, "linear in people")
    megapixels = [1e-6 * width * height for width, height in SIZES.values()]
    windows = (
        _line(figures, "stream_ms_at_window_{}", WINDOWS, WINDOWS, "streaming"),
        _line(figures, "recompute_ms_at_window_{}", WINDOWS, WINDOWS, "recomputing", ORANGE),
    )
    return np.concatenate(
        [
            _chart("default pipeline, cells of 640x480", "people", [people, linear]),
            _chart(
                "default pipeline, one person, VGA to 4K",
                "megapixels",
                [
                    _line(figures, "ms_at_{}", SIZES, megapixels, "all"),
                    _line(figures, "network_ms_at_{}", SIZES, megapixels, "estimator", ORANGE),
                ],
            ),
            _chart(
                "STDFormer-S on ResNet-50, a new frame",
                "frames in the window",
                windows,
            ),
        ]
    )


def _line(
    figures: Figures,
    key: str,
    names: Iterable[int | str],
    x: Sequence[float],
    label: str,
    color: Color = BLUE,
) -> Line:
    """A curve of the figures `key.format(name)` at the places `x`."""
    values = [figures[key.format(name)] for name in names]
    return Line(np.array(x, float), np.array(values), color, label)


def _chart(title: str, x_title: str, lines: Sequence[Line]) -> ImageArray:
    return draw_chart(
        lines,
        title=title,
        x_title=x_title,
        y_title="ms a frame",
        x_limits=(0.0, float(lines[0].x.max())),
        y_limits=(0.0, 1.1 * float(max(line.y.max() for line in lines))),
        size=(700, 260),
    )
