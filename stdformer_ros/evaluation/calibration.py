"""Whether joint scores are the probabilities that they claim to be.

A score is the probability that the joint lies within 100 mm of the truth, pelvis on pelvis. Guo et
al., "On Calibration of Modern Neural Networks", ICML 2017: scores are sorted into bins of equal
width; in each the mean score is compared with the part that was right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAR = 0.1
"""Metres."""
BINS = 10


class Reliability:
    """Collects scores and what came of them."""

    def __init__(self) -> None:
        self._count = np.zeros(BINS)
        self._score = np.zeros(BINS)
        self._right = np.zeros(BINS)

    def add(self, scores: NDArray[np.floating], right: NDArray[np.bool_]) -> None:
        """More scores 0..1 and whether each joint was right, of the same shape."""
        which = np.clip((scores * BINS).astype(int), 0, BINS - 1).ravel()
        self._count += np.bincount(which, minlength=BINS)
        self._score += np.bincount(which, scores.ravel(), minlength=BINS)
        self._right += np.bincount(which, right.ravel(), minlength=BINS)

    @property
    def error(self) -> float | None:
        """The expected calibration error: the mean gap, weighted by count; None without scores."""
        total = self._count.sum()
        return float(np.abs(self._score - self._right).sum() / total) if total else None

    def bins(self) -> list[dict[str, Any]]:
        """Of each bin that is not empty the number of scores, their mean, and the part right."""
        return [
            {"count": int(n), "score": round(score / n, 4), "right": round(right / n, 4)}
            for n, score, right in zip(self._count, self._score, self._right, strict=True)
            if n
        ]
