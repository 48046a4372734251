"""Summaries over many frames: mean errors by group, and whether joint scores are calibrated."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BINS = 10
"""Number of bins of the scores."""


class ErrorTable:
    """Collects errors by group and metric.

    Args:
        group_name: what a group is, "sequence" or "action".
        over_groups: True if the overall mean is the mean of the groups' means, as results on
            Human3.6M are published; False if it is the mean of all frames, as on 3DPW.
    """

    def __init__(self, group_name: str, over_groups: bool) -> None:
        self.group_name = group_name
        self.over_groups = over_groups
        self._errors: dict[str, dict[str, list[np.ndarray]]] = {}

    def add(self, group: str, metric: str, errors: Tensor) -> None:
        """Add errors (N,) in millimetres of one metric."""
        by_metric = self._errors.setdefault(group, defaultdict(list))
        by_metric[metric].append(errors.detach().double().cpu().numpy().ravel())

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics in the order in which they were first added."""
        return list(dict.fromkeys(m for group in self._errors.values() for m in group))

    def mean(self, metric: str, group: str | None = None) -> float:
        """The mean error of a group, or overall; NaN without errors."""
        if group is not None:
            values = self._errors[group].get(metric, [])
            return float(np.concatenate(values).mean()) if sum(map(len, values)) else float("nan")
        if self.over_groups:
            means = np.array([self.mean(metric, g) for g in self._errors])
            means = means[~np.isnan(means)]
            return float(means.mean()) if len(means) else float("nan")
        everything = [e for g in self._errors.values() for e in g.get(metric, [])]
        return float(np.concatenate(everything).mean()) if everything else float("nan")

    def frames(self, group: str | None = None) -> int:
        """Number of errors of the first metric, in a group or overall."""
        groups = self._errors if group is None else [group]
        first = self.metrics[0]
        return sum(len(e) for g in groups for e in self._errors[g].get(first, []))

    def summary(self) -> dict[str, Any]:
        """All means for a JSON file; None for a mean without errors."""

        def row(group: str | None) -> dict[str, Any]:
            means = {m: self.mean(m, group) for m in self.metrics}
            rounded = {m: None if np.isnan(v) else round(v, 3) for m, v in means.items()}
            return {"frames": self.frames(group), **rounded}

        groups = {group: row(group) for group in sorted(self._errors)}
        return {"overall": row(None), f"by_{self.group_name}": groups}

    def table(self) -> str:
        """The same as text, in millimetres (Accel in mm/frame^2)."""
        width = max(len("overall"), len(self.group_name), *map(len, self._errors))
        lines = [f"{self.group_name:<{width}}  frames" + "".join(f"{m:>10}" for m in self.metrics)]
        for group in [*sorted(self._errors), None]:
            numbers = "".join(f"{self.mean(m, group):10.1f}" for m in self.metrics)
            name = "overall" if group is None else group
            lines.append(f"{name:<{width}}  {self.frames(group):6d}{numbers}")
        return "\n".join(lines)


class Reliability:
    """Whether joint scores are the probabilities that they claim to be.

    A score is the probability that the joint lies within 100 mm of the truth after the pelvises are
    aligned. As in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, scores are
    sorted into bins of equal width; in each bin the mean score is compared with the fraction of
    joints that were right.
    """

    def __init__(self) -> None:
        self._count = np.zeros(BINS)
        self._score = np.zeros(BINS)
        self._right = np.zeros(BINS)

    def add(self, scores: NDArray[np.floating], right: NDArray[np.bool_]) -> None:
        """Add scores 0..1, and whether each joint was right (an array of the same shape)."""
        which = np.clip((scores * BINS).astype(int), 0, BINS - 1).ravel()
        self._count += np.bincount(which, minlength=BINS)
        self._score += np.bincount(which, scores.ravel(), minlength=BINS)
        self._right += np.bincount(which, right.ravel(), minlength=BINS)

    @property
    def error(self) -> float | None:
        """Expected calibration error: the mean gap over bins, weighted by count; None if empty."""
        total = self._count.sum()
        return float(np.abs(self._score - self._right).sum() / total) if total else None

    def bins(self) -> list[dict[str, Any]]:
        """For each bin that is not empty: number of scores, mean score, fraction right."""
        return [
            {"count": int(n), "score": round(score / n, 4), "right": round(right / n, 4)}
            for n, score, right in zip(self._count, self._score, self._right, strict=True)
            if n
        ]
