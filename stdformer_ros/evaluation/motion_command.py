"""`cli evaluate --motion FOLDER`: an estimator on BVH clips before synthetic cameras."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

DEFAULT_MODEL = "stdformer_s_keypoints"
COLUMNS = {
    "frames": "frames",
    "mpjpe_mm": "MPJPE",
    "pa_mpjpe_mm": "PA-MPJPE",
    "mpvpe_mm": "MPVPE",
    "accel_mm_per_frame2": "Accel",
    "lag_frames": "lag",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only this evaluation needs: not `--model`, `--checkpoint`, `--device`, `--json`."""
    group = parser.add_argument_group("with --motion")
    group.add_argument("--motion", type=Path, metavar="FOLDER", help="BVH clips at 30 Hz")
    group.add_argument(
        "--clips-matching",
        nargs="+",
        default=(),
        metavar="PART",
        help="only those whose file name contains one of these",
    )
    group.add_argument("--seed", type=int, default=0, help="of bodies, cameras, detector's faults")
    group.add_argument(
        "--mesh-level", type=int, default=1723, metavar="N", help="vertices: 6890, 1723 or 431"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate, print the table, write the JSON file.

    Args:
        options: of `add_arguments`, and `model`, `checkpoint`, `device`, `json`.

    Returns:
        What the JSON file holds, see docs/accuracy.md.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is missing or wrong.
    """
    from tqdm import tqdm

    from stdformer_ros.evaluation.evaluate_motion import MotionEvaluation, clip_paths, clip_row
    from stdformer_ros.evaluation.motion_errors import summary
    from stdformer_ros.models.estimators import create_estimator

    paths = clip_paths(options.motion, options.clips_matching)
    name = options.model or DEFAULT_MODEL
    estimator = create_estimator(
        name,
        mesh_level=options.mesh_level,
        device=options.device,
        checkpoint=options.checkpoint,
        mesh_sampling=options.mesh_sampling,
        joint_regressor=options.joint_regressor,
        smpl=options.smpl,
    )
    evaluation = MotionEvaluation(estimator, options.seed)
    rows, errors, baseline = [], [], []
    for results in tqdm(evaluation(paths), total=len(paths), unit=" clips", dynamic_ncols=True):
        rows.append(clip_row(results))
        errors += [r.errors for r in results]
        baseline += [r.baseline for r in results]
    result = {
        "motion": options.motion.name,
        "model": name,
        "checkpoint": options.checkpoint,
        "seed": options.seed,
        "vertices": evaluation.vertices,
        **summary(errors),
        "baseline": summary(baseline),
        "clips": rows,
    }
    print(table(result))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def table(result: dict[str, Any]) -> str:
    """Clips, best first, then everything, then the baseline; millimetres and frames."""
    clips = sorted(result["clips"], key=lambda row: float(row["mpjpe_mm"]))
    lines = [(row["clip"], row) for row in clips]
    lines += [("overall", result), ("baseline", result["baseline"])]
    width = max(len(name) for name, _ in lines)
    text = [" " * width + "".join(f"{title:>10}" for title in COLUMNS.values())]
    for name, row in lines:
        cells = "".join(f"{_cell(row[key]):>10}" for key in COLUMNS)
        text.append(f"{name:<{width}}{cells}")
    return "\n".join(text)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
