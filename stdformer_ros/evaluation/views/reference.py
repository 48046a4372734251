"""Where a person truly was, from all views together or from a file of a motion laboratory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stdformer_ros.evaluation.views.cameras import Array, CalibratedCamera
from stdformer_ros.evaluation.views.recording import JOINTS, Sight
from stdformer_ros.evaluation.views.triangulation import low_pass, triangulate

CUTOFF_HZ = 6.0
"""Of the low-pass over the reference, usual for walking."""
FEW = 20
"""Frames that a reference needs at least."""
_TRC_NAMES = {
    side + name: f"{word}_{name.lower()}"
    for side, word in (("L", "left"), ("R", "right"))
    for name in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
}


@dataclass(frozen=True)
class Reference:
    """A person over time.

    Attributes:
        points: (F, 12, 3) of `JOINTS` in the world, metres; NaN where unknown.
        marks: "landmarks" if they are what BlazePose marks, "joints" if they are joints.
        residual: (V,) median pixels between each view's landmarks and their triangulation.
    """

    points: Array
    marks: str
    residual: Array


def triangulated(
    cameras: Sequence[CalibratedCamera], tracks: Sequence[Sequence[Sight | None]], rate: float
) -> Reference:
    """The consensus of BlazePose's landmarks, weighted by visibility and low-passed at 6 Hz.

    Args:
        cameras: V of them.
        tracks: the person in each of the F frames of each view, or None.
        rate: frames a second.

    Raises:
        ValueError: if the views do not see the person together.
    """
    views, frames = len(tracks), len(tracks[0])
    pixels = np.zeros((views, frames, len(JOINTS), 2))
    weights = np.zeros((views, frames, len(JOINTS)))
    for view, track in enumerate(tracks):
        for frame, sight in enumerate(track):
            if sight is not None:
                pixels[view, frame], weights[view, frame] = sight.pixels, sight.visibility
    points, distance = triangulate(cameras, pixels, weights)
    if np.isfinite(points).all(axis=(1, 2)).sum() < FEW:
        raise ValueError(
            f"fewer than {FEW} frames show the whole person in two views at once; do the videos "
            "begin together, and are they in the order of the calibration's cameras?"
        )
    distance[weights == 0] = np.nan
    residual = np.nanmedian(distance.reshape(views, -1), axis=1)
    return Reference(low_pass(points, rate, CUTOFF_HZ), "landmarks", residual)


def from_trc(path: Path, consensus: Reference) -> Reference:
    """Joints that a motion laboratory measured, brought into the cameras' world.

    The file's axes and origin are free: the whole recording is turned and moved at once (not
    scaled) onto the triangulated landmarks.

    Args:
        path: a .trc file with LShoulder, RShoulder, LElbow ... RAnkle (Pose2Sim's names), a row for
            each frame of the videos.
        consensus: of the same person and frames.

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
    """The joints (F, 12, 3) of a .trc file in metres, in the order of `JOINTS`.

    Raises:
        ValueError: if it is no such file or lacks one of them.
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
        raise ValueError(f"{path} is no .trc file in m or mm: {error!r}") from error
    column = {_TRC_NAMES[name]: i for i, name in enumerate(names) if name in _TRC_NAMES}
    missing = sorted(set(JOINTS) - set(column))
    if missing or not len(table):
        raise ValueError(f"{path} lacks {', '.join(missing) or 'frames'}")
    points = table[:, 2:].reshape(len(table), -1, 3) * unit
    return np.asarray(points[:, [column[name] for name in JOINTS]])
