"""`cli evaluate`: on motion capture, on calibrated views, or on the published data sets.

Each of the three has a group of options, a function that evaluates, and its own folder: `motion/`,
`views/`, `published/`. Slow imports are inside the functions that need them, so that `--help`
answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdformer_ros import config

if TYPE_CHECKING:
    from stdformer_ros.evaluation.motion.errors import MotionReport
    from stdformer_ros.evaluation.motion.evaluate import MotionEvaluation

FAILED = 2
DATASETS = ("3dpw", "h36m")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
_ONLY_FOR_ALL_CLIPS = ("clips", "conditions", "reliability")
"""Keys of the JSON file that are not repeated for each hard case."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="errors of an estimator on motion capture, calibrated views, 3DPW or Human3.6M",
        description="MPJPE, PA-MPJPE, MPVPE and Accel: with --motion of synthetic people who move "
        "like a folder of BVH clips, with --views of a real person in front of several calibrated "
        "cameras (docs/accuracy.md), with --dataset under the published protocols, whose data sets "
        "and weights you bring (docs/official_weights.md).",
    )
    files = dict.fromkeys(config.FILE_SETTINGS)
    config.add_arguments(parser, "model", "device", "backbone", *files, model=None, **files)
    parser.add_argument("--json", metavar="FILE", help="write the numbers to this file too")
    _add_motion_arguments(parser)
    _add_views_arguments(parser)
    _add_dataset_arguments(parser)
    parser.set_defaults(work=work)


def work(options: argparse.Namespace) -> int:
    """Evaluate, print a table, write the JSON file.

    Returns:
        0, or 2 after an error message on stderr.
    """
    evaluations = (
        (options.motion, on_motion),
        (options.views, on_views),
        (options.dataset, on_dataset),
    )
    chosen = [evaluate for value, evaluate in evaluations if value is not None]
    if len(chosen) != 1:
        wanted = f"--motion FOLDER, --views FOLDER or --dataset {'|'.join(DATASETS)}"
        print(f"error: {wanted}: one of them is needed", file=sys.stderr)
        return FAILED
    try:
        result = chosen[0](options)
        if options.json:
            Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


def _add_motion_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --motion")
    group.add_argument("--motion", type=Path, metavar="FOLDER", help="BVH clips at 30 Hz")
    group.add_argument(
        "--clips-matching",
        nargs="+",
        default=(),
        metavar="PART",
        help="only those whose file name contains one of these",
    )
    group.add_argument(
        "--seed", type=int, default=0, help="of random bodies, cameras and detector faults"
    )
    group.add_argument(
        "--plots",
        type=Path,
        metavar="DIR",
        help="folder for charts of all clips and the worst frames; hard cases get subfolders",
    )
    group.add_argument(
        "--hard-cases",
        action="store_true",
        help="repeat all clips with people who sit, people who lie, children, half bodies, crowds",
    )
    config.add_arguments(group, "filter_min_cutoff", "filter_beta", "mesh_level", mesh_level=1723)


def on_motion(options: argparse.Namespace) -> dict[str, Any]:
    """`--motion FOLDER`: an estimator on BVH clips in front of synthetic cameras.

    Returns:
        The content of the JSON file, see docs/accuracy.md.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is missing or wrong.
    """
    from stdformer_ros.evaluation.motion.errors import report_table
    from stdformer_ros.evaluation.motion.evaluate import MotionEvaluation, clip_paths
    from stdformer_ros.evaluation.motion.hard_cases import HARD_CASES
    from stdformer_ros.models.registry import create_estimator
    from stdformer_ros.postprocess.smoothing import one_euro_filter

    paths = clip_paths(options.motion, options.clips_matching)
    settings = config.from_arguments(config.PipelineSettings, options)
    estimator = create_estimator(settings)
    one_euro = one_euro_filter(settings)
    evaluation = MotionEvaluation(estimator, options.seed, one_euro=one_euro)
    report = _motion_report(evaluation, paths, "clips", options.plots)
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
            whole = _motion_report(changed, paths, case, folder).summary()
            result["hard_cases"][case] = {
                key: value for key, value in whole.items() if key not in _ONLY_FOR_ALL_CLIPS
            }
    print(report_table(result))
    if options.plots:
        print(f"pictures: {options.plots}")
    return result


def _motion_report(
    evaluation: MotionEvaluation, paths: Sequence[Path], label: str, folder: Path | None
) -> MotionReport:
    """The report of all clips; pictures are written to the folder if there is one."""
    from tqdm import tqdm

    from stdformer_ros.evaluation.motion.errors import MotionReport
    from stdformer_ros.evaluation.motion.plots import MotionPlots

    report = MotionReport()
    plots = MotionPlots(folder, evaluation.estimator, evaluation.body) if folder else None
    for results in tqdm(
        evaluation(paths), total=len(paths), desc=label, unit=" clips", dynamic_ncols=True
    ):
        report.add(results)
        if plots:
            plots.add(results)
    if plots:
        plots.save(report.reliability)
    return report


def _add_views_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --views")
    group.add_argument("--views", type=Path, metavar="FOLDER", help="a video from each camera")
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="the cameras, in the order of the videos' names: Pose2Sim's .toml or a .qca.txt",
    )
    group.add_argument(
        "--reference",
        type=Path,
        metavar="FILE.trc",
        help="the true joints; default: BlazePose's landmarks, triangulated from all views",
    )


def on_views(options: argparse.Namespace) -> dict[str, Any]:
    """`--views FOLDER --calibration FILE`: an estimator on several views of real people.

    Returns:
        The content of the JSON file, see docs/accuracy.md.

    Raises:
        ValueError, OSError, VideoError: with a message that says what is missing or wrong.
    """
    import numpy as np
    from tqdm import tqdm

    from stdformer_ros.evaluation.views.cameras import read_calibration
    from stdformer_ros.evaluation.views.evaluate import evaluate_views, views_table
    from stdformer_ros.evaluation.views.recording import ViewRecorder
    from stdformer_ros.io.video import count_frames, read_video
    from stdformer_ros.pipeline import build_pipeline

    if options.calibration is None:
        raise ValueError("--views needs --calibration FILE, the cameras' calibration")
    cameras = read_calibration(options.calibration)
    videos = video_files(options.views)
    if len(videos) != len(cameras):
        raise ValueError(
            f"{options.views} has {len(videos)} videos and {options.calibration} {len(cameras)} "
            "cameras; there must be a video for each camera"
        )
    settings = config.from_arguments(config.PipelineSettings, options, mesh_level=431)
    recordings, rates = [], []
    for video, camera in zip(videos, cameras, strict=True):
        recorded = ViewRecorder(build_pipeline(settings))(read_video(video), camera)
        bar = tqdm(recorded, total=count_frames(video), desc=video.name, unit=" frames")
        stamps, observations = zip(*bar, strict=True)
        recordings.append(observations)
        rates.append(1.0 / float(np.median(np.diff(stamps))))
    if max(rates) > 1.01 * min(rates):
        listed = ", ".join(f"{v.name} {r:.2f}" for v, r in zip(videos, rates, strict=True))
        raise ValueError(f"the videos differ in frames per second: {listed}")
    names = [video.name for video in videos]
    result = {
        "views_folder": options.views.name,
        "model": settings.model,
        "checkpoint": options.checkpoint,
        **evaluate_views(names, cameras, recordings, rates[0], options.reference),
    }
    print(views_table(result))
    return result


def video_files(folder: Path) -> list[Path]:
    """The videos of a folder, sorted by name.

    Raises:
        FileNotFoundError: if there is no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise FileNotFoundError(
            f"no videos in {folder}; known suffixes: {', '.join(VIDEO_SUFFIXES)}"
        )
    return found


def _add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --dataset")
    group.add_argument("path", nargs="?", type=Path, metavar="PATH", help="folder of --dataset")
    group.add_argument("--dataset", choices=DATASETS, help="a published data set of yours")
    group = parser.add_argument_group("with --dataset 3dpw")
    group.add_argument("--split", default="test", choices=("train", "validation", "test"))
    group.add_argument(
        "--true-smpl",
        type=Path,
        metavar="PATH",
        help="SMPL of the ground truth: a folder with the male and the female file, or one file "
        "for both (the neutral one, as in FastMETRO's own evaluation)",
    )
    group = parser.add_argument_group("with --dataset h36m")
    group.add_argument("--keypoints", default="cpn_ft_h36m_dbb", help="gt or cpn_ft_h36m_dbb")
    group.add_argument(
        "--delay-frames",
        type=int,
        metavar="N",
        help="frames by which answers may be late; default: half the window, as published",
    )
    group.add_argument("--no-flip", action="store_true", help="no averaging with mirrored input")


def on_dataset(options: argparse.Namespace) -> dict[str, Any]:
    """`--dataset 3dpw|h36m PATH`: published networks under the published protocols.

    Returns:
        The content of the JSON file.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is missing or wrong.
    """
    if not options.model:
        raise ValueError("--dataset needs --model; `models` lists the published networks")
    if options.path is None:
        raise ValueError(f"--dataset {options.dataset} needs PATH, the folder of the data set")
    if not options.checkpoint:
        raise ValueError(
            f"{options.model} needs --checkpoint; docs/official_weights.md says where to get it"
        )
    evaluate = {"3dpw": _on_3dpw, "h36m": _on_h36m}[options.dataset]
    return evaluate(options)


def _on_3dpw(options: argparse.Namespace) -> dict[str, Any]:
    from stdformer_ros.body.smpl import SmplBody, load_joint_regressor
    from stdformer_ros.evaluation.published.protocol_3dpw import evaluate_3dpw, true_smpl_files
    from stdformer_ros.models.registry import create_estimator

    missing = [o for o in ("joint_regressor", "true_smpl") if not getattr(options, o)]
    if missing:
        named = " and ".join(f"--{o.replace('_', '-')}" for o in missing)
        raise ValueError(f"3DPW's joints are computed from SMPL's mesh: give {named} (see --help)")
    regressor = load_joint_regressor(options.joint_regressor)
    files = true_smpl_files(options.true_smpl)
    bodies = {file: SmplBody(file) for file in set(files.values())}
    settings = config.from_arguments(config.EstimatorSettings, options, joint_regressor="")
    estimator = create_estimator(settings)
    table = evaluate_3dpw(
        estimator,
        options.path,
        {gender: bodies[file] for gender, file in files.items()},
        regressor,
        options.split,
    )
    print(table.table())
    return {
        "dataset": "3dpw",
        "split": options.split,
        "model": options.model,
        "checkpoint": str(options.checkpoint),
        "true_smpl": {gender: file.name for gender, file in files.items()},
        **table.summary(),
    }


def _on_h36m(options: argparse.Namespace) -> dict[str, Any]:
    from stdformer_ros.evaluation.published.protocol_h36m import evaluate_h36m
    from stdformer_ros.models.lifting.weights import NETWORKS, load_keypoint_network
    from stdformer_ros.models.registry import MODELS, usable_device

    if options.model not in MODELS:
        raise ValueError(f"there is no model {options.model!r}; `models` lists all of them")
    if options.model not in NETWORKS:
        raise ValueError(
            f"{options.model} does not read 2D keypoints, the only input in VideoPose3D's layout "
            "of Human3.6M; take one of the poseformer_ and _posenet_ models"
        )
    model = load_keypoint_network(options.model, options.checkpoint, options.delay_frames)
    model = model.to(usable_device(options.device)).eval()
    table = evaluate_h36m(model, options.path, options.keypoints, flip=not options.no_flip)
    print(table.table())
    return {
        "dataset": "h36m",
        "keypoints": options.keypoints,
        "model": options.model,
        "checkpoint": str(options.checkpoint),
        "delay_frames": model.delay_frames,
        "flip": not options.no_flip,
        **table.summary(),
    }
