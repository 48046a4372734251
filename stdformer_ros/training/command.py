"""`cli train`: train a network from the command line.

Slow imports are inside the functions that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stdformer_ros.training.recipes import Recipe

DEFAULT_MODEL = "stdformer_s_keypoints"
FAILED = 2
_DATA = ("motion", "crops", "h36m")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `train`."""
    parser = commands.add_parser(
        "train",
        help="train a network on motion capture or on your data sets",
        description="Train a network, or resume the training in OUT: docs/training.md.",
    )
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help=f"default: {DEFAULT_MODEL}"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1 ...")
    data = parser.add_argument_group("data, one of")
    data.add_argument(
        "--motion", type=Path, metavar="FOLDER", help="BVH clips at 30 Hz, for synthetic people"
    )
    data.add_argument(
        "--crops",
        type=Path,
        metavar="FOLDER",
        help="recorded people, for stdformer_ and fastmetro_",
    )
    data.add_argument(
        "--h36m",
        type=Path,
        metavar="FOLDER",
        help="Human3.6M in VideoPose3D's layout, for poseformer_ and _posenet_",
    )
    how = parser.add_argument_group("training options; not for the default model")
    how.add_argument(
        "--recipe",
        choices=("published", "shipped"),
        help="published (default): loss and schedule of the paper's code; shipped: of the small "
        "causal networks that come with this package",
    )
    how.add_argument("--steps", type=int, metavar="N", help="number of optimiser steps")
    how.add_argument("--batch", type=int, metavar="N", help="sequences per step")
    how.add_argument("--learning-rate", type=float, metavar="R")
    how.add_argument("--report-every", type=int, metavar="N", help="steps between checkpoints")
    how.add_argument("--seed", type=int, metavar="N")
    how.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="of matrix products; auto: half precision that the device supports",
    )
    how.add_argument("--backbone", metavar="NAME", help="of stdformer_: resnet50, hrnet_w32 ...")
    how.add_argument("--mesh-sampling", type=Path, metavar="FILE", help="with --crops")
    how.add_argument("--joint-regressor", type=Path, metavar="FILE", help="with --crops")
    how.add_argument(
        "--keypoints", metavar="NAME", help="with --h36m: gt or cpn_ft_h36m_dbb (default)"
    )
    parser.set_defaults(work=work)


def work(options: argparse.Namespace) -> int:
    """Train; returns 0, or 2 after an error message on stderr."""
    try:
        weights = run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print(f"wrote {weights}")
    return 0


def run(options: argparse.Namespace) -> Path:
    """Train; returns the file of the weights.

    Raises:
        ValueError, FileNotFoundError: with a message that says what is missing or wrong.
    """
    given = [name for name in _DATA if getattr(options, name) is not None]
    kind = _kind(options.model)
    if len(given) != 1 or given[0] not in _ACCEPTED[kind]:
        flags = " or ".join(f"--{name} FOLDER" for name in _ACCEPTED[kind])
        raise ValueError(f"{options.model} learns from {flags}: give one of them")
    _check_useful(options, kind, given[0])
    return _TRAIN[kind](options)


def _kind(model: str) -> str:
    from stdformer_ros.training.recipes import PUBLISHED

    if model == DEFAULT_MODEL:
        return "default"
    if model not in PUBLISHED:
        known = ", ".join((DEFAULT_MODEL, *PUBLISHED))
        raise ValueError(f"{model!r} cannot be trained here; these can: {known}")
    return "crops" if model.startswith(("stdformer_", "fastmetro_")) else "keypoints"


def _check_useful(options: argparse.Namespace, kind: str, data: str) -> None:
    """Raise a ValueError for options that have no effect on this model and data."""
    useful = {
        "default": (),
        "crops": (*_SCHEDULE, *(("backbone",) if options.model.startswith("stdformer_") else ())),
        "keypoints": _SCHEDULE,
    }[kind] + _WITH.get(data, ())
    every = {*_SCHEDULE, "backbone", *(o for names in _WITH.values() for o in names)}
    useless = sorted(o for o in every - set(useful) if getattr(options, o) is not None)
    if useless:
        flags = ", ".join(f"--{o.replace('_', '-')}" for o in useless)
        raise ValueError(f"training {options.model} on --{data} does not use {flags}")


_ACCEPTED = {"default": ("motion",), "crops": ("motion", "crops"), "keypoints": ("motion", "h36m")}
_SCHEDULE = (
    "recipe", "steps", "batch", "learning_rate", "report_every", "seed", "precision",
)  # fmt: skip
_WITH = {"crops": ("mesh_sampling", "joint_regressor"), "h36m": ("keypoints",)}


def _default(options: argparse.Namespace) -> Path:
    from stdformer_ros.models.registry import usable_device
    from stdformer_ros.training.runs import train_default

    device = str(usable_device(options.device))
    return train_default(options.motion, options.out, device, report=print)


def _crops(options: argparse.Namespace) -> Path:
    from stdformer_ros.models.registry import usable_device
    from stdformer_ros.training.runs import train_on_crops

    return train_on_crops(
        options.model,
        _recipe(options),
        options.out,
        usable_device(options.device),
        motion=options.motion,
        crops=options.crops,
        mesh_sampling=options.mesh_sampling,
        joint_regressor=options.joint_regressor,
        backbone=options.backbone,
    )


def _keypoints(options: argparse.Namespace) -> Path:
    from stdformer_ros.models.registry import usable_device
    from stdformer_ros.training.runs import train_on_keypoints

    chosen = {} if options.keypoints is None else {"keypoints": options.keypoints}
    return train_on_keypoints(
        options.model,
        _recipe(options),
        options.out,
        usable_device(options.device),
        motion=options.motion,
        h36m=options.h36m,
        **chosen,
    )


_TRAIN = {"default": _default, "crops": _crops, "keypoints": _keypoints}


def _recipe(options: argparse.Namespace) -> Recipe:
    """The model's recipe with the user's changes."""
    from stdformer_ros.training.recipes import recipe_of

    recipe = recipe_of(options.model, options.recipe or "published")
    wanted = {
        "steps": options.steps,
        "sequences": options.batch,
        "learning_rate": options.learning_rate,
        "report_every": options.report_every,
        "seed": options.seed,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    wrong = [
        n for n in ("steps", "sequences", "learning_rate", "report_every") if given.get(n, 1) <= 0
    ]
    if wrong:
        raise ValueError(f"{wrong[0]} must be positive, not {given[wrong[0]]}")
    schedule = replace(recipe.schedule, **given)
    return replace(recipe, schedule=schedule, precision=options.precision or recipe.precision)
