"""Errors of a scene, frame by frame, and their means over many scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stdformer_ros.evaluation.motion.lag import lag_frames, velocity_correlation
from stdformer_ros.metrics import aligned_position_error, mean_position_error

Array = NDArray[np.float64]

JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head",
)  # fmt: skip
"""The 14 joints (LSP's) that errors are means over; the pelvis is what they are aligned by."""


POSE_KEYS = {
    "mpjpe_mm": "mpjpe",
    "pa_mpjpe_mm": "pa_mpjpe",
    "mpvpe_mm": "mpvpe",
    "accel_mm_per_frame2": "accel",
}
"""The keys of the JSON file and the attributes of `FrameErrors` whose means they are."""


@dataclass(frozen=True)
class FrameErrors:
    """Errors of N frames of a scene.

    Attributes:
        mpjpe, pa_mpjpe: (N,) mm.
        mpvpe: (N,) mm, NaN without a mesh to compare.
        accel: (N,) mm/frame^2, NaN in the first and the last frame.
        jump: (N,) mm, how far the step of the pelvis from the frame before is from the true step,
            NaN in the first frame.
        place: (N,) mm, how far the pelvis is from where it is in the camera frame.
        height: (N,) metres of the body that was answered, standing; NaN where it is unknown.
        true_height: metres.
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
        """Compare.

        Args:
            joints: (N, 14, 3) of `JOINTS`, metres, camera frame.
            pelvis: (N, 3).
            true_joints: (N, 14, 3).
            true_pelvis: (N, 3).
            true_height: metres.
            height: (N,) metres, if the answer tells the person's size.
            mpvpe: (N,) mm, if there is a mesh to compare.
        """
        ours = np.asarray(joints - pelvis[:, None], np.float64)
        true = np.asarray(true_joints - true_pelvis[:, None], np.float64)
        a, b = torch.from_numpy(ours), torch.from_numpy(true)
        place = np.asarray(pelvis, np.float64) - true_pelvis
        unknown = np.full(len(ours), np.nan)
        accel, jump = unknown.copy(), unknown.copy()
        if len(ours) > 2:
            bend = np.diff(ours - true, n=2, axis=0)
            accel[1:-1] = 1e3 * np.linalg.norm(bend, axis=-1).mean(axis=-1)
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


def summary(errors: Sequence[FrameErrors]) -> dict[str, Any]:
    """Means over all frames of some scenes, as in the JSON file; None: not to be said."""
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
    """Means over the chosen frames of some scenes; `chosen` has an array (N,) for each scene."""
    return {
        "frames": int(sum(c.sum() for c in chosen)),
        **{
            key: _mean([getattr(e, name)[c] for e, c in zip(errors, chosen, strict=True)])
            for key, name in POSE_KEYS.items()
        },
    }


def _mean(parts: Sequence[Array]) -> float | None:
    values = np.concatenate(parts)
    values = values[~np.isnan(values)]
    return round(float(values.mean()), 3) if len(values) else None
