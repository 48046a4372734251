"""An estimator on calibrated views of real people: each view alone, judged by all together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stdformer_ros.evaluation.calibration import NEAR, Reliability
from stdformer_ros.evaluation.views.cameras import Array, CalibratedCamera
from stdformer_ros.evaluation.views.people import Recording, people_in_views
from stdformer_ros.evaluation.views.recording import HIPS, Sight
from stdformer_ros.evaluation.views.reference import Reference, from_trc, triangulated
from stdformer_ros.metrics import aligned_position_error

SAME_PERSON = 0.2
"""Whose middle is farther from the reference's, in its heights, is somebody else."""


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
        recordings: V; frames beyond the shortest are left out.
        rate: frames a second.
        trc: the truth as a file; otherwise the views' landmarks are triangulated.

    Returns:
        What the JSON file holds, see docs/accuracy.md.

    Raises:
        ValueError: if the views do not show one person together, or the file does not fit.
    """
    count = min(len(recording) for recording in recordings)
    recordings = [recording[:count] for recording in recordings]
    people = people_in_views(cameras, recordings)
    reliability = Reliability()
    judged = []
    for tracks in people if trc is None else people[:1]:
        reference = triangulated(cameras, tracks, rate)
        if trc is not None:
            reference = from_trc(trc, reference)
        rows = []
        for name, camera, recording, pixels in zip(
            names, cameras, recordings, reference.residual, strict=True
        ):
            track = matching(recording, camera, reference)
            _add_scores(reliability, track, camera, reference)
            rows.append(
                {
                    "view": name,
                    "camera": camera.name,
                    "frames": int(np.isfinite(reference.points).all(axis=(1, 2)).sum()),
                    "seen": sum(sight is not None for sight in track),
                    "landmark_residual_px": round(float(pixels), 2),
                    **_errors(track, camera, reference),
                }
            )
        judged.append({"overall": _overall(rows), "views": rows})
    error = reliability.error
    return {
        "frames_per_second": round(rate, 3),
        "reference": "triangulated" if trc is None else trc.name,
        "compares": reference.marks,
        **judged[0],
        "further_people": judged[1:],
        "calibration_error": None if error is None else round(error, 4),
        "reliability": reliability.bins(),
    }


def matching(
    recording: Recording, camera: CalibratedCamera, reference: Reference
) -> list[Sight | None]:
    """Who in each frame is the person of the reference, whatever the track's identity.

    The middle of the landmarks decides, so that wrong landmarks of the right person count.
    """
    projected = camera.project(reference.points)
    found: list[Sight | None] = []
    for sights, pixels in zip(recording, projected, strict=True):
        height = float(np.ptp(pixels[:, 1])) if np.isfinite(pixels).all() else 0.0
        middle = pixels.mean(axis=0)
        near = [
            (float(np.linalg.norm(sight.pixels.mean(axis=0) - middle)), k)
            for k, sight in enumerate(sights)
        ]
        distance, k = min(near, default=(np.inf, -1))
        found.append(sights[k] if distance < SAME_PERSON * height else None)
    return found


def _add_scores(
    reliability: Reliability,
    track: Sequence[Sight | None],
    camera: CalibratedCamera,
    reference: Reference,
) -> None:
    """Joint scores, and whether the joints lie where they should, middle of the hips on that."""
    true = _from_hips(camera.in_camera(reference.points))
    for sight, points in zip(track, true, strict=True):
        if sight is not None and np.isfinite(points).all():
            away = np.linalg.norm(_from_hips(sight.joints[None])[0] - points, axis=-1)
            reliability.add(sight.scores, away < NEAR)


def _errors(
    track: Sequence[Sight | None], camera: CalibratedCamera, reference: Reference
) -> dict[str, Any]:
    """The row of one view: rate of detection, and the errors of each kind of points."""
    known = np.isfinite(reference.points).all(axis=(1, 2))
    true = camera.in_camera(reference.points)
    seen = np.array([sight is not None for sight in track])
    row: dict[str, Any] = {"detection_rate": round(float(seen.sum() / known.sum()), 4)}
    kinds = ("landmarks", "joints") if reference.marks == "landmarks" else ("joints",)
    for kind in (*kinds, "blazepose"):
        found = [None if sight is None else getattr(sight, kind) for sight in track]
        if any(points is not None for points in found):
            blank = np.full(true.shape[1:], np.nan)
            row[kind] = _compared(np.stack([blank if p is None else p for p in found]), true)
    return row


def _compared(points: Array, true: Array) -> dict[str, float | None]:
    """PA-MPJPE and MPJPE in mm, Accel in mm/frame^2, over the frames where both are known.

    For MPJPE and Accel the middle of the hips is the origin, in the camera's axes.
    """
    both = np.isfinite(points).all(axis=(1, 2)) & np.isfinite(true).all(axis=(1, 2))
    aligned = aligned_position_error(torch.from_numpy(points[both]), torch.from_numpy(true[both]))
    error = _from_hips(points) - _from_hips(true)
    bend = np.diff(error, n=2, axis=0)
    return {
        "pa_mpjpe_mm": _mean(aligned.numpy()),
        "mpjpe_mm": _mean(1e3 * np.linalg.norm(error[both], axis=-1)),
        "accel_mm_per_frame2": _mean(1e3 * np.linalg.norm(bend, axis=-1)),
    }


def _overall(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the views, of which each counts the same."""
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
