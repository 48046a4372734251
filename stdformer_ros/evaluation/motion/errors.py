"""Errors of an estimator on motion capture: frame by frame, as means, and as the report.

`FrameErrors` compares the answers of a scene with the truth. The lag is found by cross-correlation
of velocities. `summary` computes means over many scenes, `MotionReport` collects all clips, and
`report_table` prints the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.evaluation.motion.faulty_detector import Detections
from stdformer_ros.evaluation.motion.hard_cases import conditions
from stdformer_ros.evaluation.motion.scenes import Scene
from stdformer_ros.evaluation.summaries import Reliability
from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.default.window_encoder import NEAR
from stdformer_ros.types import Body, Person

Array = NDArray[np.float64]

JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head",
)  # fmt: skip
"""The 14 joints of LSP, over which errors are means; skeletons are aligned at the pelvis."""

POSE_KEYS = {
    "mpjpe_mm": "mpjpe",
    "pa_mpjpe_mm": "pa_mpjpe",
    "mpvpe_mm": "mpvpe",
    "accel_mm_per_frame2": "accel",
}
"""Keys of the JSON file, and the attributes of `FrameErrors` whose means they hold."""

LAGS = np.arange(-5, 16)
"""Lags in frames that are tried; a negative one would be an answer from the future."""

COLUMNS = {
    "frames": "frames",
    "mpjpe_mm": "MPJPE",
    "pa_mpjpe_mm": "PA-MPJPE",
    "mpvpe_mm": "MPVPE",
    "accel_mm_per_frame2": "Accel",
    "lag_frames": "lag",
}
"""Keys and titles of the table's columns."""


@dataclass(frozen=True)
class FrameErrors:
    """Errors of N frames of a scene.

    Attributes:
        mpjpe, pa_mpjpe: (N,) mm.
        mpvpe: (N,) mm, NaN without a comparable mesh.
        accel: (N,) mm/frame^2, NaN in the first and the last frame.
        jump: (N,) mm, error of the pelvis' motion since the previous frame; NaN in the first frame.
        place: (N,) mm, error of the pelvis' position in the camera frame.
        height: (N,) metres, standing height of the predicted body; NaN where it is unknown.
        true_height: metres, the standing height.
        correlation: of velocities, see `velocity_correlation`.
    """

    mpjpe: Array
    pa_mpjpe: Array
    mpvpe: Array
    accel: Array
    jump: Array
    place: Array
    height: Array
    true_height: float
    correlation: Array

    @classmethod
    def of(
        cls,
        joints: NDArray[np.floating],
        pelvis: NDArray[np.floating],
        true_joints: NDArray[np.floating],
        true_pelvis: NDArray[np.floating],
        *,
        true_height: float,
        height: NDArray[np.floating] | None = None,
        mpvpe: NDArray[np.floating] | None = None,
    ) -> FrameErrors:
        """Compare predicted with true joints.

        Args:
            joints: (N, 14, 3) of `JOINTS`, metres, camera frame.
            pelvis: (N, 3) metres, camera frame.
            true_joints: (N, 14, 3) metres, camera frame.
            true_pelvis: (N, 3) metres, camera frame.
            true_height: metres, standing.
            height: (N,) metres, if the estimator gives the person's size.
            mpvpe: (N,) mm, if there is a comparable mesh.
        """
        ours = np.asarray(joints - pelvis[:, None], np.float64)
        true = np.asarray(true_joints - true_pelvis[:, None], np.float64)
        a, b = torch.from_numpy(ours), torch.from_numpy(true)
        place = np.asarray(pelvis, np.float64) - true_pelvis
        unknown = np.full(len(ours), np.nan)
        accel, jump = unknown.copy(), unknown.copy()
        if len(ours) > 2:
            acceleration = np.diff(ours - true, n=2, axis=0)
            accel[1:-1] = 1e3 * np.linalg.norm(acceleration, axis=-1).mean(axis=-1)
        jump[1:] = 1e3 * np.linalg.norm(np.diff(place, axis=0), axis=-1)
        return cls(
            mean_position_error(a, b).numpy(),
            aligned_position_error(a, b).numpy(),
            unknown if mpvpe is None else np.asarray(mpvpe, np.float64),
            accel,
            jump,
            1e3 * np.linalg.norm(place, axis=-1),
            unknown if height is None else np.asarray(height, np.float64),
            true_height,
            velocity_correlation(ours, true),
        )


def velocity_correlation(
    predicted: NDArray[np.floating], true: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Correlation of predicted and true velocities for each of `LAGS`, a delay of the answer.

    Args:
        predicted: (N, J, 3) joints in metres, relative to the pelvis.
        true: (N, J, 3) the true joints.

    Returns:
        (len(LAGS),) sums of scalar products over the same predicted frames for every lag. Those of
        several clips can be added up; they are zero for a clip that is too short.
    """
    before, after = int(LAGS.max()), -int(LAGS.min())
    v, w = np.diff(predicted, axis=0), np.diff(true, axis=0)
    if len(v) <= before + after:
        return np.zeros(len(LAGS))
    frames = np.arange(before, len(v) - after)
    return np.array([float((v[frames] * w[frames - lag]).sum()) for lag in LAGS])


def lag_frames(correlation: NDArray[np.float64]) -> float:
    """The lag of the highest correlation, refined to a fraction of a frame by a parabola.

    Returns:
        How many frames the answer comes after the truth, or NaN if nothing moved.
    """
    if not correlation.max() > 0:
        return float("nan")
    top = int(correlation.argmax())
    if top in (0, len(LAGS) - 1):
        return float(LAGS[top])
    low, high, right = correlation[top - 1 : top + 2]
    return float(LAGS[top] + 0.5 * (low - right) / (low - 2.0 * high + right))


def summary(errors: Sequence[FrameErrors]) -> dict[str, Any]:
    """Means over all frames of some scenes, as in the JSON file; None for what is unknown."""
    lag = lag_frames(np.sum([e.correlation for e in errors], axis=0))
    return {
        "frames": sum(len(e.mpjpe) for e in errors),
        **{key: _mean([getattr(e, name) for e in errors]) for key, name in POSE_KEYS.items()},
        "lag_frames": None if np.isnan(lag) else round(lag, 3),
        "translation_error_mm": _mean([e.place for e in errors]),
        "translation_jump_mm": _mean([e.jump for e in errors]),
        "height_m": _mean([e.height for e in errors]),
        "height_std_m": _mean([np.atleast_1d(e.height.std()) for e in errors]),
        "height_error_m": _mean([np.abs(e.height - e.true_height) for e in errors]),
    }


def summary_where(
    errors: Sequence[FrameErrors], chosen: Sequence[NDArray[np.bool_]]
) -> dict[str, Any]:
    """Means over chosen frames of some scenes; `chosen` has an array (N,) bool for each scene."""
    return {
        "frames": int(sum(c.sum() for c in chosen)),
        **{
            key: _mean([getattr(e, name)[c] for e, c in zip(errors, chosen, strict=True)])
            for key, name in POSE_KEYS.items()
        },
    }


@dataclass(frozen=True)
class SceneResult:
    """The results of a scene of N frames; answer i is for frame i.

    Attributes:
        scene: the truth.
        detections: what the simulated detector gave.
        people: N of them, the detections after perception's filters: the estimator's input.
        bodies: the M = N - `delay_frames` answers.
        joints: (M, 14, 3) `JOINTS` of the answers, metres, relative to the pelvis.
        true_joints: (M, 14, 3) the true joints, likewise.
        scores: (M, 14) of the answers' joints, 0..1.
        hidden: (M, 14) bool, whether a joint's landmark was lost.
        errors: of the answers.
        unsmoothed: errors of the estimator's own answers, before the pipeline corrects and smooths
            them; without errors of the mesh.
        baseline: errors of the baseline.
    """

    scene: Scene
    detections: Detections
    people: list[Person]
    bodies: list[Body]
    joints: NDArray[np.float32]
    true_joints: NDArray[np.float32]
    scores: NDArray[np.float32]
    hidden: NDArray[np.bool_]
    errors: FrameErrors
    unsmoothed: FrameErrors
    baseline: FrameErrors


class MotionReport:
    """Collects the results of clips.

    Attributes:
        rows: a summary of each clip.
        reliability: of the scores of "all" joints, and of joints whose landmark is "hidden".
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.reliability = {"all": Reliability(), "hidden": Reliability()}
        self._errors: list[FrameErrors] = []
        self._unsmoothed: list[FrameErrors] = []
        self._baseline: list[FrameErrors] = []
        self._conditions: list[dict[str, NDArray[np.bool_]]] = []

    def add(self, results: list[SceneResult]) -> None:
        """Add all scenes of one clip."""
        errors, baseline = [r.errors for r in results], [r.baseline for r in results]
        row = {"clip": results[0].scene.clip, **summary(errors), "baseline": summary(baseline)}
        self.rows.append(row)
        self._errors += errors
        self._unsmoothed += [r.unsmoothed for r in results]
        self._baseline += baseline
        for result in results:
            found = conditions(result.scene, result.detections)
            self._conditions.append({n: c[: len(result.bodies)] for n, c in found.items()})
            right = np.linalg.norm(result.joints - result.true_joints, axis=-1) < NEAR
            self.reliability["all"].add(result.scores, right)
            self.reliability["hidden"].add(result.scores[result.hidden], right[result.hidden])

    def summary(self) -> dict[str, Any]:
        """All results except the names of model and data, see docs/accuracy.md."""
        everything, hidden = self.reliability["all"], self.reliability["hidden"]
        return {
            **summary(self._errors),
            "calibration_error": _rounded(everything.error),
            "calibration_error_hidden": _rounded(hidden.error),
            "unsmoothed": summary(self._unsmoothed),
            "baseline": summary(self._baseline),
            "conditions": {
                name: summary_where(self._errors, [found[name] for found in self._conditions])
                for name in self._conditions[0]
            },
            "reliability": {name: r.bins() for name, r in self.reliability.items()},
            "clips": self.rows,
        }


def report_table(result: dict[str, Any]) -> str:
    """The results as text: clips, best first; conditions; hard cases; overall; the baselines."""
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


def _mean(parts: Sequence[Array]) -> float | None:
    values = np.concatenate(parts)
    values = values[~np.isnan(values)]
    return round(float(values.mean()), 3) if len(values) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
