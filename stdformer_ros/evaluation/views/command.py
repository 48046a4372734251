"""`cli evaluate --views FOLDER --calibration FILE`: an estimator on several views of people."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only this evaluation needs: not `--model`, `--checkpoint`, `--device`, `--json`."""
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


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate, print the table, write the JSON file.

    Args:
        options: of `add_arguments`, and `model`, `checkpoint`, `device`, `json`.

    Returns:
        What the JSON file holds, see docs/accuracy.md.

    Raises:
        ValueError, OSError, VideoError: with a message that says what is missing or wrong.
    """
    from tqdm import tqdm

    from stdformer_ros.config import PipelineSettings, from_arguments
    from stdformer_ros.evaluation.views.cameras import read_calibration
    from stdformer_ros.evaluation.views.evaluate import evaluate_views
    from stdformer_ros.evaluation.views.recording import ViewRecorder
    from stdformer_ros.io.video import count_frames, read_video
    from stdformer_ros.pipeline import build_pipeline

    if options.calibration is None:
        raise ValueError("--views needs --calibration FILE, the cameras' places")
    cameras = read_calibration(options.calibration)
    videos = video_files(options.views)
    if len(videos) != len(cameras):
        raise ValueError(
            f"{options.views} has {len(videos)} videos and {options.calibration} {len(cameras)} "
            "cameras; there must be a video for each camera"
        )
    settings = from_arguments(PipelineSettings, options, mesh_level=431)
    recordings, rates = [], []
    for video, camera in zip(videos, cameras, strict=True):
        pipeline = build_pipeline(settings)
        recorded = ViewRecorder(pipeline)(read_video(video), camera)
        bar = tqdm(recorded, total=count_frames(video), desc=video.name, unit=" frames")
        stamps, sights = zip(*bar, strict=True)
        recordings.append(sights)
        rates.append(1.0 / float(np.median(np.diff(stamps))))
    if max(rates) > 1.01 * min(rates):
        listed = ", ".join(f"{v.name} {r:.2f}" for v, r in zip(videos, rates, strict=True))
        raise ValueError(f"the videos differ in frames a second: {listed}")
    result = {
        "views_folder": options.views.name,
        "model": settings.model,
        "checkpoint": options.checkpoint,
        **evaluate_views(
            [v.name for v in videos], cameras, recordings, rates[0], options.reference
        ),
    }
    print(table(result))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def video_files(folder: Path) -> list[Path]:
    """The videos of a folder in the order of their names.

    Raises:
        FileNotFoundError: if there is no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no videos in {folder}; known are {', '.join(VIDEO_SUFFIXES)}")
    return found


def table(result: dict[str, Any]) -> str:
    """The result for the eyes: a line for each person, view and kind of points."""
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
