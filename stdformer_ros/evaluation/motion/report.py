"""The numbers of many scenes as `cli evaluate --motion` gives them: for a file, and to read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.evaluation.calibration import NEAR, Reliability
from stdformer_ros.evaluation.motion.conditions import conditions
from stdformer_ros.evaluation.motion.errors import FrameErrors, summary, summary_where
from stdformer_ros.evaluation.motion.evaluate import SceneResult

COLUMNS = {
    "frames": "frames",
    "mpjpe_mm": "MPJPE",
    "pa_mpjpe_mm": "PA-MPJPE",
    "mpvpe_mm": "MPVPE",
    "accel_mm_per_frame2": "Accel",
    "lag_frames": "lag",
}


class MotionReport:
    """Collects the results of clips."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.reliability = {"all": Reliability(), "hidden": Reliability()}
        self._errors: list[FrameErrors] = []
        self._unsmoothed: list[FrameErrors] = []
        self._baseline: list[FrameErrors] = []
        self._conditions: list[dict[str, NDArray[np.bool_]]] = []

    def add(self, results: list[SceneResult]) -> None:
        """All scenes of one clip."""
        errors, baseline = [r.errors for r in results], [r.baseline for r in results]
        row = {"clip": results[0].scene.clip, **summary(errors), "baseline": summary(baseline)}
        self.rows.append(row)
        self._errors += errors
        self._unsmoothed += [r.unsmoothed for r in results]
        self._baseline += baseline
        for result in results:
            held = conditions(result.scene, result.detections)
            self._conditions.append({n: h[: len(result.bodies)] for n, h in held.items()})
            right = np.linalg.norm(result.joints - result.true_joints, axis=-1) < NEAR
            self.reliability["all"].add(result.scores, right)
            self.reliability["hidden"].add(result.scores[result.hidden], right[result.hidden])

    def summary(self) -> dict[str, Any]:
        """Everything but who was asked, see docs/accuracy.md."""
        everything, hidden = self.reliability["all"], self.reliability["hidden"]
        return {
            **summary(self._errors),
            "calibration_error": _rounded(everything.error),
            "calibration_error_hidden": _rounded(hidden.error),
            "unsmoothed": summary(self._unsmoothed),
            "baseline": summary(self._baseline),
            "conditions": {
                name: summary_where(self._errors, [held[name] for held in self._conditions])
                for name in self._conditions[0]
            },
            "reliability": {name: r.bins() for name, r in self.reliability.items()},
            "clips": self.rows,
        }


def table(result: dict[str, Any]) -> str:
    """Clips, best first, then conditions, hard cases, everything, and what it is compared with."""
    clips = sorted(result["clips"], key=lambda row: float(row["mpjpe_mm"]))
    blocks = [
        {row["clip"]: row for row in clips},
        result["conditions"],
        result.get("hard_cases", {}),
        {"overall": result, "unsmoothed": result["unsmoothed"], "baseline": result["baseline"]},
    ]
    width = max(len(name) for block in blocks for name in block)
    text = [" " * width + "".join(f"{title:>10}" for title in COLUMNS.values())]
    for block in blocks:
        for name, row in block.items():
            cells = "".join(f"{_cell(row.get(key)):>10}" for key in COLUMNS)
            text.append(f"{name:<{width}}{cells}")
        if block is not blocks[-1] and block:
            text.append("")
    return "\n".join(text)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
