"""Errors of many frames by group and metric: their means as a table and for a file."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from torch import Tensor


class Tally:
    """Collects errors.

    Args:
        group_name: what the groups are, "sequence" or "action".
        over_groups: whether the overall mean is that of the groups' means, which is how results on
            Human3.6M are given, or that of all frames, as on 3DPW.
    """

    def __init__(self, group_name: str, over_groups: bool) -> None:
        self.group_name = group_name
        self.over_groups = over_groups
        self._errors: dict[str, dict[str, list[np.ndarray]]] = {}

    def add(self, group: str, metric: str, errors: Tensor) -> None:
        """More errors (N,) in millimetres of one metric."""
        by_metric = self._errors.setdefault(group, defaultdict(list))
        by_metric[metric].append(errors.detach().double().cpu().numpy().ravel())

    @property
    def metrics(self) -> list[str]:
        """In the order in which they came."""
        return list(dict.fromkeys(m for group in self._errors.values() for m in group))

    def mean(self, metric: str, group: str | None = None) -> float:
        """The mean of a group, or overall; NaN where there are no errors."""
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
        """How many errors the first metric has."""
        groups = self._errors if group is None else [group]
        first = self.metrics[0]
        return sum(len(e) for g in groups for e in self._errors[g].get(first, []))

    def summary(self) -> dict[str, Any]:
        """Everything, for a JSON file; what cannot be said is None."""

        def row(group: str | None) -> dict[str, Any]:
            means = {m: self.mean(m, group) for m in self.metrics}
            rounded = {m: None if np.isnan(v) else round(v, 3) for m, v in means.items()}
            return {"frames": self.frames(group), **rounded}

        groups = {group: row(group) for group in sorted(self._errors)}
        return {"overall": row(None), f"by_{self.group_name}": groups}

    def table(self) -> str:
        """The same to read, in millimetres (Accel in mm/frame^2)."""
        width = max(len("overall"), len(self.group_name), *map(len, self._errors))
        lines = [f"{self.group_name:<{width}}  frames" + "".join(f"{m:>10}" for m in self.metrics)]
        for group in [*sorted(self._errors), None]:
            numbers = "".join(f"{self.mean(m, group):10.1f}" for m in self.metrics)
            name = "overall" if group is None else group
            lines.append(f"{name:<{width}}  {self.frames(group):6d}{numbers}")
        return "\n".join(lines)
