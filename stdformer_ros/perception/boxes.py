"""Arithmetic of axis-aligned boxes, (N, 4) arrays of x0, y0, x1, y1 in pixels."""

from __future__ import annotations

import numpy as np

from stdformer_ros.types import FloatArray


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of each box of a (N, 4) with each of b (M, 4): (N, M) in 0..1.

    A box without area overlaps with nothing.
    """
    upper_left = np.maximum(a[:, None, :2], b[None, :, :2])
    lower_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.maximum(lower_right - upper_left, 0), axis=2)
    union = area(a)[:, None] + area(b)[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def area(boxes: FloatArray) -> FloatArray:
    """The area of each box, (N,); 0 where a side is negative."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def non_maximum_suppression(boxes: FloatArray, scores: FloatArray, max_iou: float) -> list[int]:
    """Indices of the boxes that no better one overlaps by more than `max_iou`, best first."""
    overlap = iou(boxes, boxes) > max_iou
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not overlap[i, kept].any():
            kept.append(int(i))
    return kept
