"""`cli evaluate --dataset 3dpw|h36m PATH`: published systems on the published sets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

DATASETS = ("3dpw", "h36m")
_GENDERED = {
    "m": ("basicmodel_m_", "smpl_male"),
    "f": ("basicmodel_f_", "smpl_female"),
}
"""How the names of SMPL's male and female pickles begin, in small letters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What only this evaluation needs: not `--model`, `--checkpoint`, `--device`, `--json`."""
    group = parser.add_argument_group("with --dataset")
    group.add_argument("path", nargs="?", type=Path, metavar="PATH", help="folder of --dataset")
    group.add_argument("--dataset", choices=DATASETS, help="the published set, which is yours")
    group = parser.add_argument_group("with --dataset 3dpw")
    group.add_argument("--split", default="test", choices=("train", "validation", "test"))
    group.add_argument(
        "--true-smpl",
        type=Path,
        metavar="PATH",
        help="SMPL for the ground truth: a folder with the male and the female one, or one file "
        "for all (with the neutral one as FastMETRO's own evaluation does)",
    )
    group = parser.add_argument_group("with --dataset h36m")
    group.add_argument("--keypoints", default="cpn_ft_h36m_dbb", help="gt or cpn_ft_h36m_dbb")
    group.add_argument(
        "--delay-frames",
        type=int,
        metavar="N",
        help="frames that the answer may be late; default: half the window, as published",
    )
    group.add_argument("--no-flip", action="store_true", help="without mirrored averaging")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate, print the table, write the JSON file.

    Args:
        options: of `add_arguments`, and `model`, `checkpoint`, `device`, `json`.

    Returns:
        What the JSON file holds.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is missing or wrong.
    """
    if not options.model:
        raise ValueError("--dataset needs --model; `models` lists the published networks")
    if options.path is None:
        raise ValueError(f"--dataset {options.dataset} needs PATH, the folder of the data set")
    if not options.checkpoint:
        raise ValueError(
            f"{options.model} needs --checkpoint; docs/official_weights.md says where from"
        )
    evaluate = {"3dpw": _on_3dpw, "h36m": _on_h36m}[options.dataset]
    result = evaluate(options)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _on_3dpw(options: argparse.Namespace) -> dict[str, Any]:
    from stdformer_ros.body.smpl import SmplBody, load_joint_regressor
    from stdformer_ros.config import EstimatorSettings, from_arguments
    from stdformer_ros.evaluation.published.evaluate_3dpw import evaluate_3dpw
    from stdformer_ros.models.registry import create_estimator

    missing = [o for o in ("joint_regressor", "true_smpl") if not getattr(options, o)]
    if missing:
        named = " and ".join(f"--{o.replace('_', '-')}" for o in missing)
        raise ValueError(f"3DPW's joints come from SMPL's mesh: give {named} (--help says what)")
    regressor = load_joint_regressor(options.joint_regressor)
    files = true_smpl_files(options.true_smpl)
    bodies = {file: SmplBody(file) for file in set(files.values())}
    estimator = create_estimator(from_arguments(EstimatorSettings, options, joint_regressor=""))
    tally = evaluate_3dpw(
        estimator,
        options.path,
        {gender: bodies[file] for gender, file in files.items()},
        regressor,
        options.split,
    )
    print(tally.table())
    return {
        "dataset": "3dpw",
        "split": options.split,
        "model": options.model,
        "checkpoint": str(options.checkpoint),
        "true_smpl": {gender: file.name for gender, file in files.items()},
        **tally.summary(),
    }


def _on_h36m(options: argparse.Namespace) -> dict[str, Any]:
    from stdformer_ros.evaluation.published.evaluate_h36m import evaluate_h36m
    from stdformer_ros.models.lifting.weights import NETWORKS, load_keypoint_network
    from stdformer_ros.models.registry import MODELS, usable_device

    if options.model not in MODELS:
        raise ValueError(f"there is no model {options.model!r}; `models` lists those that are")
    if options.model not in NETWORKS:
        raise ValueError(
            f"{options.model} does not answer from keypoints, which is all that VideoPose3D's "
            "layout of Human3.6M has; take one of the poseformer_ and _posenet_ models"
        )
    model = load_keypoint_network(options.model, options.checkpoint, options.delay_frames)
    model = model.to(usable_device(options.device)).eval()
    tally = evaluate_h36m(model, options.path, options.keypoints, flip=not options.no_flip)
    print(tally.table())
    return {
        "dataset": "h36m",
        "keypoints": options.keypoints,
        "model": options.model,
        "checkpoint": str(options.checkpoint),
        "delay_frames": model.delay_frames,
        "flip": not options.no_flip,
        **tally.summary(),
    }


def true_smpl_files(path: Path) -> dict[str, Path]:
    """SMPL's file for each gender, from a folder or one file for all.

    Raises:
        FileNotFoundError: if the folder lacks one of them.
    """
    if not path.is_dir():
        return {"m": path, "f": path}
    found: dict[str, Path] = {}
    for gender, beginnings in _GENDERED.items():
        files = [f for f in sorted(path.glob("*.pkl")) if f.name.lower().startswith(beginnings)]
        if not files:
            raise FileNotFoundError(
                f"no SMPL for gender {gender!r} in {path}; a name that begins with "
                f"{' or '.join(beginnings)} was looked for, as in the SMPL project's downloads"
            )
        found[gender] = files[-1]
    return found
