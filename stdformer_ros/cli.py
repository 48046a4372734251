"""The command line: `python -m stdformer_ros.cli COMMAND`. Needs ROS only to read a bag.

Each command has a function that adds its parser, and one that does the work. The latter imports
what it needs, so that `--help` does not wait for torch.
"""

from __future__ import annotations

import argparse
import sys

from stdformer_ros.stopping import (
    INTERRUPTED,
    exit_on_signals,
    interrupt_on_signals,
    keyboard_interrupts,
)

if __name__ == "__main__":  # before the other imports
    exit_on_signals(INTERRUPTED)

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from stdformer_ros.config import PipelineSettings, add_arguments, from_arguments
from stdformer_ros.evaluation import command as evaluate_command
from stdformer_ros.training import command as train_command

if TYPE_CHECKING:
    from stdformer_ros.io.offline import Sink

_BAG_OPTIONS = ("image_topic", "camera_info_topic", "depth_topic", "rectified", "markers")


class CommandError(Exception):
    """A command cannot be carried out; the message says what is wrong and what to do."""


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="people in a video, a folder of images or a bag, written to humans.npz",
        description="Follow everybody through a video and write DIR/humans.npz: frame, track_id, "
        "joints (metres, camera frame), joint_names and more, one row per person and frame. A "
        "bag also gives the bag DIR/humans. Ctrl-C keeps the results so far.",
    )
    parser.add_argument("source", type=Path, metavar="VIDEO_OR_FOLDER_OR_BAG")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    for option in ("--image-topic", "--camera-info-topic"):
        parser.add_argument(option, default="", metavar="TOPIC", help="a topic of a bag")
    parser.add_argument(
        "--depth-topic", default="", metavar="TOPIC", help="a topic of a bag; none: ignore depth"
    )
    parser.add_argument("--rectified", action="store_true", help="a bag's images are rectified")
    parser.add_argument("--markers", action="store_true", help="write a bag's markers for RViz too")
    parser.add_argument(
        "--fps", type=_positive, metavar="N", help="frames per second of a folder of images (30)"
    )
    parser.add_argument("--vertices", action="store_true", help="write the meshes too")
    parser.add_argument("--overlay", action="store_true", help="write overlay.mp4 too")
    add_arguments(parser)
    parser.set_defaults(work=_run)


def _run(options: argparse.Namespace) -> int:
    exit_on_signals(INTERRUPTED)  # there is nothing to keep while it imports and loads
    from stdformer_ros.hints import nobody_found
    from stdformer_ros.io.files import is_bag, print_warning, shown
    from stdformer_ros.io.humans_file import HumansFile
    from stdformer_ros.io.offline import run_offline
    from stdformer_ros.io.pictures import OverlayVideo
    from stdformer_ros.io.video import count_frames, read_video
    from stdformer_ros.pipeline import build_pipeline

    out: Path = options.out
    from_bag = is_bag(options.source)
    for name in _BAG_OPTIONS if not from_bag else ("fps",):
        if getattr(options, name):
            kind = "pictures" if from_bag else "bags"
            raise CommandError(f"--{name.replace('_', '-')} is for {kind}; leave it out")
    if not from_bag:
        frames, total = read_video(options.source, options.fps), count_frames(options.source)
    else:
        bag = _ros_module("inputs.bags", options.source).Bag(
            options.source,
            image=options.image_topic,
            camera_info=options.camera_info_topic,
            depth=options.depth_topic,
            rectified=options.rectified,
        )
        print(bag.topics)
        frames, total = bag.frames(), bag.images
    try:
        pipeline = build_pipeline(from_arguments(PipelineSettings, options))
        if options.vertices and pipeline.estimator.faces is None:
            raise ValueError(f"{options.model} gives joints and no mesh; leave out --vertices")
    except ValueError as error:
        raise CommandError(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    estimator = pipeline.estimator
    sinks: list[Sink] = [HumansFile(out / "humans.npz", estimator, options.vertices)]
    if from_bag:
        results_bag = _ros_module("outputs.results_bag", options.source)
        sinks.append(
            results_bag.ResultsBag(out / "humans", estimator, options.vertices, options.markers)
        )
    if options.overlay:
        sinks.append(OverlayVideo(out / "overlay.mp4", estimator.faces, estimator.skeleton))
    interrupt_on_signals()
    summary = run_offline(frames, pipeline, sinks, total)
    print(f"{summary.people} people in {summary.frames} frames")
    for sink in sinks:
        if sink.path.exists():  # a run without any frame writes no video
            print(f"  {shown(sink.path)}")
    if summary.frames and not summary.people:
        print_warning(nobody_found(summary.frames, options.rotate))
    if summary.error is not None:
        raise summary.error
    return 0


def _positive(text: str) -> float:
    """A number above zero, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above zero")
    return value


def _ros_module(name: str, bag: Path) -> ModuleType:
    """The module that reads or writes a bag, imported only here: it needs a sourced ROS 2."""
    from stdformer_ros.io.files import shown

    try:
        return import_module(f"stdformer_ros.ros.{name}")
    except ImportError as error:
        raise CommandError(
            f"{shown(bag)} is a bag, and reading its messages needs ROS 2 (./run shell, or "
            f"a sourced workspace): {error}"
        ) from error


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("models", help="list the models and the files that each needs")
    parser.add_argument(
        "--files",
        type=Path,
        default=Path("official_weights"),
        metavar="FOLDER",
        help="where to look for the files that you bring (default: official_weights)",
    )
    parser.set_defaults(work=_models)


def _models(options: argparse.Namespace) -> int:
    from stdformer_ros.models.table import model_table

    print(model_table(options.files))
    return 0


COMMANDS = (_add_run, _add_models, train_command.add_parser, evaluate_command.add_parser)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 2 if the command could not be carried out; 130 if Ctrl-C has ended it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m stdformer_ros.cli", description="3D people from videos, without ROS."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    options = parser.parse_args(arguments)

    from stdformer_ros.assets import AssetError
    from stdformer_ros.io.files import VideoError

    try:
        with keyboard_interrupts():
            return int(options.work(options))
    except (CommandError, VideoError, AssetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
