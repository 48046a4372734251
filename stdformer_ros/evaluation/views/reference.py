"""The reference: the true positions of a person's joints.

It is triangulated from all views together, or read from the file of a motion laboratory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, filtfilt

from stdformer_ros.evaluation.views.cameras import Array, CalibratedCamera, triangulate
from stdformer_ros.evaluation.views.recording import JOINTS, Observation

CUTOFF_HZ = 6.0
"""Cut-off frequency of the reference's low-pass filter, usual for walking."""
FILTER_ORDER = 2
MIN_FRAMES = 20
"""Smallest number of frames of a reference."""
_TRC_NAMES = {
    side + name: f"{word}_{name.lower()}"
    for side, word in (("L", "left"), ("R", "right"))
    for name in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
}


@dataclass(frozen=True)
class Reference:
    """A person over F frames.

    Attributes:
        points: (F, 12, 3) of `JOINTS` in world coordinates, metres; NaN where unknown.
        kind: "landmarks" for the points that BlazePose gives, "joints" for joint centres.
        residual: (V,) median distance in pixels between each view's landmarks and the projections
            of the triangulated points.
    """

    points: Array
    kind: str
    residual: Array


def triangulated(
    cameras: Sequence[CalibratedCamera], tracks: Sequence[Sequence[Observation | None]], rate: float
) -> Reference:
    """BlazePose's landmarks, triangulated with their visibility as weight, low-passed at 6 Hz.

    Args:
        cameras: V of them.
        tracks: for each of the V views the person in each of the F frames, or None.
        rate: frames per second.

    Raises:
        ValueError: if too few frames show the person in two views at once.
    """
    views, frames = len(tracks), len(tracks[0])
    pixels = np.zeros((views, frames, len(JOINTS), 2))
    weights = np.zeros((views, frames, len(JOINTS)))
    for view, track in enumerate(tracks):
        for frame, observation in enumerate(track):
            if observation is not None:
                pixels[view, frame], weights[view, frame] = (
                    observation.pixels,
                    observation.visibility,
                )
    points, distance = triangulate(cameras, pixels, weights)
    if np.isfinite(points).all(axis=(1, 2)).sum() < MIN_FRAMES:
        raise ValueError(
            f"fewer than {MIN_FRAMES} frames show the whole person in two views at once; do the "
            "videos begin together, and are they in the order of the calibration's cameras?"
        )
    distance[weights == 0] = np.nan
    residual = np.nanmedian(distance.reshape(views, -1), axis=1)
    return Reference(low_pass(points, rate, CUTOFF_HZ), "landmarks", residual)


def from_trc(path: Path, consensus: Reference) -> Reference:
    """Joints that a motion laboratory measured, transformed to the cameras' world coordinates.

    The file may use any axes and origin: one rotation and translation (no scale) for the whole
    recording aligns it with the triangulated landmarks.

    Args:
        path: a .trc file with LShoulder, RShoulder, LElbow ... RAnkle (Pose2Sim's names), a row for
            each frame of the videos.
        consensus: the triangulated reference of the same person and frames.

    Raises:
        ValueError: if the file lacks a joint or has another number of frames.
    """
    points = read_trc(path)
    count = len(consensus.points)
    if len(points) != count:
        raise ValueError(f"{path} has {len(points)} frames, the videos have {count}")
    known = np.isfinite(points).all(axis=2) & np.isfinite(consensus.points).all(axis=2)
    theirs, ours = torch.from_numpy(points[known]), torch.from_numpy(consensus.points[known])
    mean_theirs, mean_ours = theirs.mean(0), ours.mean(0)
    u, _, vt = torch.linalg.svd((theirs - mean_theirs).T @ (ours - mean_ours))
    flip = torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vt).sign())]).double())
    turned = (points - mean_theirs.numpy()) @ (u @ flip @ vt).numpy() + mean_ours.numpy()
    return Reference(turned, "joints", consensus.residual)


def read_trc(path: Path) -> Array:
    """Read the joints (F, 12, 3) of a .trc file in metres, in the order of `JOINTS`.

    Raises:
        ValueError: if it is not such a file or lacks one of them.
        OSError: if it cannot be read.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        head = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
        unit = {"m": 1.0, "mm": 1e-3}[head["Units"].strip()]
        names = [name.strip() for name in lines[3].split("\t")[2:] if name.strip()]
        rows = [line.split("\t") for line in lines[5:] if line.strip()]
        width = 2 + 3 * len(names)
        table = np.array(
            [[float(x) if x.strip() else np.nan for x in (r + [""] * width)[:width]] for r in rows]
        )
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a .trc file in m or mm: {error!r}") from error
    column = {_TRC_NAMES[name]: i for i, name in enumerate(names) if name in _TRC_NAMES}
    missing = sorted(set(JOINTS) - set(column))
    if missing or not len(table):
        raise ValueError(f"{path} lacks {', '.join(missing) or 'frames'}")
    points = table[:, 2:].reshape(len(table), -1, 3) * unit
    return np.asarray(points[:, [column[name] for name in JOINTS]])


def low_pass(points: Array, rate: float, cutoff: float) -> Array:
    """Low-pass filter without lag: a Butterworth filter that runs forwards and backwards.

    Frames that are NaN are interpolated linearly for the filter and stay NaN.

    Args:
        points: (F, ..., 3) over time.
        rate: frames per second.
        cutoff: Hz; the gain there is one half, because the filter is applied twice.
    """
    series = points.reshape(len(points), -1)
    filled = series.copy()
    time = np.arange(len(series))
    for column in filled.T:
        known = np.isfinite(column)
        if known.any():
            column[~known] = np.interp(time[~known], time[known], column[known])
    if cutoff < 0.5 * rate and len(series) > 3 * (FILTER_ORDER + 1):
        b, a = butter(FILTER_ORDER, cutoff / (0.5 * rate))
        pad = min(len(series) - 1, int(rate / cutoff) + 3 * FILTER_ORDER)
        filled = filtfilt(b, a, filled, axis=0, padlen=pad)
    filled[np.isnan(series)] = np.nan
    return filled.reshape(points.shape)
