"""Line charts drawn with OpenCV, which the package needs anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.types import ImageArray

Color = tuple[int, int, int]

BLUE: Color = (20, 100, 200)
ORANGE: Color = (225, 130, 40)
GRAY: Color = (150, 150, 150)
_INK: Color = (50, 50, 50)
_GRID: Color = (225, 225, 225)

_ZOOM = 2
"""Charts are drawn larger by this factor and then shrunk, which smooths OpenCV's text and lines."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 30, 42
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Line:
    """A line of a chart: x and y (N,), NaN where it has a gap; colour; name in the legend."""

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    color: Color
    name: str


def draw_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_title: str,
    y_title: str,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    size: tuple[int, int] = (900, 240),
) -> ImageArray:
    """An RGB picture (height, width, 3) of `size` (width, height) pixels.

    Lines are cut off at the limits of the axes.
    """
    width, height = size
    canvas = np.full((height * _ZOOM, width * _ZOOM, 3), 255, np.uint8)
    right, bottom = width - _RIGHT, height - _BOTTOM

    def pixels(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.int32]:
        across = _LEFT + (right - _LEFT) * (x - x_limits[0]) / (x_limits[1] - x_limits[0])
        down = bottom - (bottom - _TOP) * (y - y_limits[0]) / (y_limits[1] - y_limits[0])
        return np.round(_ZOOM * np.stack([across, down], axis=-1)).astype(np.int32)

    for value in _ticks(*y_limits, 5):
        _, y = pixels(np.array(x_limits[0]), np.array(value)).tolist()
        cv2.line(canvas, (_LEFT * _ZOOM, y), (right * _ZOOM, y), _GRID, _ZOOM)
        _write(canvas, f"{value:g}", (_LEFT - 6, y // _ZOOM + 4), align=1.0)
    for value in _ticks(*x_limits, 10):
        x, _ = pixels(np.array(value), np.array(y_limits[0])).tolist()
        cv2.line(canvas, (x, bottom * _ZOOM), (x, (bottom + 4) * _ZOOM), _INK, _ZOOM)
        _write(canvas, f"{value:g}", (x // _ZOOM, bottom + 17), align=0.5)
    inside = canvas[_TOP * _ZOOM : bottom * _ZOOM, _LEFT * _ZOOM : right * _ZOOM]
    corner = np.array([_LEFT, _TOP]) * _ZOOM
    for line in lines:
        known = np.isfinite(line.x) & np.isfinite(line.y)
        for part in np.split(np.arange(len(known)), np.flatnonzero(~known)):
            part = part[known[part]]
            lowest = y_limits[0] - 2 * (y_limits[1] - y_limits[0])
            highest = y_limits[1] + 2 * (y_limits[1] - y_limits[0])
            points = pixels(line.x[part], np.clip(line.y[part], lowest, highest)) - corner
            inside_points = [points.reshape(-1, 1, 2).astype(np.int32)]
            cv2.polylines(inside, inside_points, False, line.color, _ZOOM + 1, cv2.LINE_AA)
    for start, end in (((_LEFT, _TOP), (_LEFT, bottom)), ((_LEFT, bottom), (right, bottom))):
        cv2.line(canvas, _scaled(start), _scaled(end), _INK, _ZOOM)
    _write(canvas, title, (_LEFT, 19), scale=0.5)
    _write(canvas, x_title, ((_LEFT + right) // 2, height - 8), align=0.5)
    _write_upwards(canvas, y_title, (14, (_TOP + bottom) // 2))
    _write_legend(canvas, lines, right)
    shrunk = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)


def _ticks(low: float, high: float, count: int) -> NDArray[np.float64]:
    """About `count` round numbers in the interval."""
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return np.asarray(step * np.arange(first, np.floor(high / step + 1e-9) + 1) + 0.0)


def _scaled(point: tuple[int, int]) -> tuple[int, int]:
    return point[0] * _ZOOM, point[1] * _ZOOM


def _write(
    canvas: ImageArray,
    text: str,
    place: tuple[int, int],
    *,
    align: float = 0.0,
    scale: float = 0.4,
    color: Color = _INK,
) -> None:
    """Text with its base line at `place`: align 0 starts there, 0.5 is centred, 1 ends there."""
    (width, _), _ = cv2.getTextSize(text, _FONT, scale * _ZOOM, _ZOOM)
    x, y = _scaled(place)
    at = (x - round(align * width), y)
    cv2.putText(canvas, text, at, _FONT, scale * _ZOOM, color, _ZOOM, cv2.LINE_AA)


def _write_upwards(canvas: ImageArray, text: str, centre: tuple[int, int]) -> None:
    (width, height), below = cv2.getTextSize(text, _FONT, 0.4 * _ZOOM, _ZOOM)
    label = np.full((height + below + 2, width, 3), 255, np.uint8)
    cv2.putText(label, text, (0, height + 1), _FONT, 0.4 * _ZOOM, _INK, _ZOOM, cv2.LINE_AA)
    label = np.rot90(label)
    x, y = _scaled(centre)
    top = max(y - label.shape[0] // 2, 0)
    area = canvas[top : top + label.shape[0], x - label.shape[1] // 2 :][:, : label.shape[1]]
    area[:] = label[: area.shape[0]]


def _write_legend(canvas: ImageArray, lines: Sequence[Line], right: int) -> None:
    x = right
    for line in reversed([line for line in lines if line.name]):
        (width, _), _ = cv2.getTextSize(line.name, _FONT, 0.4 * _ZOOM, _ZOOM)
        _write(canvas, line.name, (x, 19), align=1.0, color=line.color)
        x -= width // _ZOOM + 16
