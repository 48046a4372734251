"""`cli evaluate --motion FOLDER`: an estimator on BVH clips before synthetic cameras."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stdformer_ros import config

if TYPE_CHECKING:
    from stdformer_ros.evaluation.motion.evaluate import MotionEvaluation
    from stdformer_ros.evaluation.motion.report import MotionReport

_CLIPS_ONLY = ("clips", "conditions", "reliability")
"""What the JSON file does not repeat for each hard case."""

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only this evaluation needs."""
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
        "--plots",
        type=Path,
        metavar="DIR",
        help="charts of all clips and the worst frames go there, those of hard cases below",
    )
    group.add_argument(
        "--hard-cases",
        action="store_true",
        help="then all clips again with people who sit, lie, are children, half seen, in crowds",
    )
    config.add_arguments(group, "filter_min_cutoff", "filter_beta", "mesh_level", mesh_level=1723)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate, print the table, write the JSON file.

    Args:
        options: of `add_arguments`, and `model`, `checkpoint`, `device`, `json`.

    Returns:
        What the JSON file holds, see docs/accuracy.md.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is missing or wrong.
    """
    from stdformer_ros.evaluation.motion.evaluate import MotionEvaluation, clip_paths
    from stdformer_ros.evaluation.motion.hard_cases import HARD_CASES
    from stdformer_ros.evaluation.motion.report import table
    from stdformer_ros.models.registry import create_estimator
    from stdformer_ros.postprocess.smoothing import one_euro_filter

    paths = clip_paths(options.motion, options.clips_matching)
    settings = config.from_arguments(config.PipelineSettings, options)
    estimator = create_estimator(settings)
    one_euro = one_euro_filter(settings)
    evaluation = MotionEvaluation(estimator, options.seed, one_euro=one_euro)
    report = _evaluated(evaluation, paths, "clips", options.plots)
    result = {
        "motion": options.motion.name,
        "model": settings.model,
        "checkpoint": options.checkpoint,
        "seed": options.seed,
        "filter": None if one_euro is None else asdict(one_euro),
        "vertices": None if evaluation.body is None else evaluation.body.level,
        **report.summary(),
    }
    if options.hard_cases:
        result["hard_cases"] = {}
        for case, change in HARD_CASES.items():
            changed = MotionEvaluation(estimator, options.seed, change, one_euro)
            folder = options.plots / case if options.plots else None
            whole = _evaluated(changed, paths, case, folder).summary()
            result["hard_cases"][case] = {k: whole[k] for k in whole if k not in _CLIPS_ONLY}
    print(table(result))
    if options.plots:
        print(f"pictures: {options.plots}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _evaluated(
    evaluation: MotionEvaluation, paths: Sequence[Path], what: str, folder: Path | None
) -> MotionReport:
    """All clips, with pictures in a folder if there is to be one."""
    from stdformer_ros.evaluation.motion.plots import MotionPlots
    from stdformer_ros.evaluation.motion.report import MotionReport

    report = MotionReport()
    plots = MotionPlots(folder, evaluation.estimator, evaluation.body) if folder else None
    for results in _bar(evaluation(paths), len(paths), what):
        report.add(results)
        if plots:
            plots.add(results)
    if plots:
        plots.save(report.reliability)
    return report


def _bar(results: Iterator[T], total: int, what: str) -> Iterator[T]:
    from tqdm import tqdm

    return iter(tqdm(results, total=total, desc=what, unit=" clips", dynamic_ncols=True))
