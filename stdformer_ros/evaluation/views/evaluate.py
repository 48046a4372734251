"""An estimator on calibrated views of real people.

Each view is estimated alone, and compared with a reference that uses all views together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stdformer_ros.evaluation.summaries import Reliability
from stdformer_ros.evaluation.views.cameras import Array, CalibratedCamera
from stdformer_ros.evaluation.views.recording import HIPS, Observation, Recording, people_in_views
from stdformer_ros.evaluation.views.reference import Reference, from_trc, triangulated
from stdformer_ros.metrics import aligned_position_error
from stdformer_ros.models.default.window_encoder import NEAR

MAX_DISTANCE = 0.2
"""Largest distance between the centres of a person and of the reference, as a fraction of the
reference's height; a person farther away is somebody else."""


def evaluate_views(
    names: Sequence[str],
    cameras: Sequence[CalibratedCamera],
    recordings: Sequence[Recording],
    rate: float,
    trc: Path | None = None,
) -> dict[str, Any]:
    """Errors of each view's answers.

    Args:
        names: of the V views.
        cameras: V, in the order of the views.
        recordings: V of them; all are cut to the length of the shortest.
        rate: frames per second.
        trc: file with the true joints; without it the landmarks of all views are triangulated.

    Returns:
        What the JSON file holds, see docs/accuracy.md.

    Raises:
        ValueError: if too few frames show a person in two views, or the file does not fit.
    """
    count = min(len(recording) for recording in recordings)
    recordings = [recording[:count] for recording in recordings]
    people = people_in_views(cameras, recordings)
    reliability = Reliability()
    results = []
    for tracks in people if trc is None else people[:1]:
        reference = triangulated(cameras, tracks, rate)
        if trc is not None:
            reference = from_trc(trc, reference)
        rows = []
        for name, camera, recording, pixels in zip(
            names, cameras, recordings, reference.residual, strict=True
        ):
            track = same_person(recording, camera, reference)
            _add_scores(reliability, track, camera, reference)
            rows.append(
                {
                    "view": name,
                    "camera": camera.name,
                    "frames": int(np.isfinite(reference.points).all(axis=(1, 2)).sum()),
                    "seen": sum(observation is not None for observation in track),
                    "landmark_residual_px": round(float(pixels), 2),
                    **_errors(track, camera, reference),
                }
            )
        results.append({"overall": _overall(rows), "views": rows})
    error = reliability.error
    return {
        "frames_per_second": round(rate, 3),
        "reference": "triangulated" if trc is None else trc.name,
        "compares": reference.kind,
        **results[0],
        "further_people": results[1:],
        "calibration_error": None if error is None else round(error, 4),
        "reliability": reliability.bins(),
    }


def views_table(result: dict[str, Any]) -> str:
    """The result as text: a line for each person, view and kind of points."""
    people = [result, *result["further_people"]]
    lines = []
    for number, person in enumerate(people, 1):
        title = "view" if len(people) == 1 else f"person {number}"
        lines.append(
            f"{title:<16} {'points':<10} {'PA-MPJPE':>9} {'MPJPE':>9} {'Accel':>9} {'seen':>6}"
        )
        rows: Sequence[dict[str, Any]] = [
            *person["views"],
            {"view": "all views", **person["overall"]},
        ]
        for row in rows:
            for kind in ("landmarks", "joints", "blazepose"):
                if kind in row:
                    numbers = " ".join(
                        f"{'-' if n is None else format(n, '.1f'):>9}" for n in row[kind].values()
                    )
                    seen = f"{100 * row['detection_rate']:>5.0f}%"
                    lines.append(f"{row['view']:<16} {kind:<10} {numbers} {seen}")
    if result["calibration_error"] is not None:
        lines.append(f"joint scores, calibration error {result['calibration_error']:.3f}")
    return "\n".join(lines)


def same_person(
    recording: Recording, camera: CalibratedCamera, reference: Reference
) -> list[Observation | None]:
    """The person of the reference in each frame of a view; track ids are not used.

    Only the centres of the landmarks are compared, so that a person with wrong landmarks is kept.
    """
    projected = camera.project(reference.points)
    found: list[Observation | None] = []
    for observations, pixels in zip(recording, projected, strict=True):
        height = float(np.ptp(pixels[:, 1])) if np.isfinite(pixels).all() else 0.0
        centre = pixels.mean(axis=0)
        distances = [
            (float(np.linalg.norm(observation.pixels.mean(axis=0) - centre)), k)
            for k, observation in enumerate(observations)
        ]
        distance, k = min(distances, default=(np.inf, -1))
        found.append(observations[k] if distance < MAX_DISTANCE * height else None)
    return found


def _add_scores(
    reliability: Reliability,
    track: Sequence[Observation | None],
    camera: CalibratedCamera,
    reference: Reference,
) -> None:
    """Add joint scores and whether each joint is right after the hips' centres are aligned."""
    true = _from_hips(camera.in_camera(reference.points))
    for observation, points in zip(track, true, strict=True):
        if observation is not None and np.isfinite(points).all():
            away = np.linalg.norm(_from_hips(observation.joints[None])[0] - points, axis=-1)
            reliability.add(observation.scores, away < NEAR)


def _errors(
    track: Sequence[Observation | None], camera: CalibratedCamera, reference: Reference
) -> dict[str, Any]:
    """The row of one view: detection rate, and the errors of each kind of points."""
    known = np.isfinite(reference.points).all(axis=(1, 2))
    true = camera.in_camera(reference.points)
    seen = np.array([observation is not None for observation in track])
    row: dict[str, Any] = {"detection_rate": round(float(seen.sum() / known.sum()), 4)}
    kinds = ("landmarks", "joints") if reference.kind == "landmarks" else ("joints",)
    for kind in (*kinds, "blazepose"):
        found = [
            None if observation is None else getattr(observation, kind) for observation in track
        ]
        if any(points is not None for points in found):
            blank = np.full(true.shape[1:], np.nan)
            row[kind] = _compared(np.stack([blank if p is None else p for p in found]), true)
    return row


def _compared(points: Array, true: Array) -> dict[str, float | None]:
    """PA-MPJPE and MPJPE in mm, Accel in mm/frame^2, over the frames where both are known.

    MPJPE and Accel are relative to the centre of the hips, in the camera's axes.
    """
    both = np.isfinite(points).all(axis=(1, 2)) & np.isfinite(true).all(axis=(1, 2))
    aligned = aligned_position_error(torch.from_numpy(points[both]), torch.from_numpy(true[both]))
    error = _from_hips(points) - _from_hips(true)
    acceleration = np.diff(error, n=2, axis=0)
    return {
        "pa_mpjpe_mm": _mean(aligned.numpy()),
        "mpjpe_mm": _mean(1e3 * np.linalg.norm(error[both], axis=-1)),
        "accel_mm_per_frame2": _mean(1e3 * np.linalg.norm(acceleration, axis=-1)),
    }


def _overall(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the views; all views have the same weight."""
    result: dict[str, Any] = {
        "detection_rate": _mean(np.array([r["detection_rate"] for r in rows]))
    }
    for kind in ("landmarks", "joints", "blazepose"):
        parts = [row[kind] for row in rows if kind in row]
        if parts:
            result[kind] = {
                key: _mean(np.array([part[key] for part in parts], np.float64)) for key in parts[0]
            }
    return result


def _from_hips(points: Array) -> Array:
    return points - points[:, list(HIPS)].mean(axis=1, keepdims=True)


def _mean(values: Array) -> float | None:
    values = values[np.isfinite(values)]
    return round(float(values.mean()), 3) if len(values) else None
