"""The command line: `python -m stdformer_ros.cli COMMAND`. Knows no ROS.

A command is a function that adds its parser and names the function that does the work, which
imports what it needs: `--help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from stdformer_ros.config import PipelineSettings, add_arguments, from_arguments
from stdformer_ros.evaluation import command as evaluate_command
from stdformer_ros.training import command as train_command

if TYPE_CHECKING:
    from stdformer_ros.pipeline import Pipeline

INTERRUPTED = 130
"""What shells give for a program that Ctrl-C has ended."""


class CommandError(Exception):
    """A command cannot be done; the message says what was wrong and what to do."""


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="people in a video or a folder of images, written to humans.npz",
        description="Follow everybody through a video and write OUT/humans.npz: frame, track_id, "
        "joints (metres, camera frame), joint_names and more, one row per person and frame.",
    )
    parser.add_argument("source", type=Path, metavar="VIDEO_OR_FOLDER_OR_BAG")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    for option in ("--image-topic", "--camera-info-topic", "--depth-topic"):
        parser.add_argument(option, default="", metavar="TOPIC", help="of a rosbag2")
    parser.add_argument("--vertices", action="store_true", help="write the meshes too")
    parser.add_argument("--overlay", action="store_true", help="write overlay.mp4 too")
    add_arguments(parser)
    parser.set_defaults(work=_run)


def _run(options: argparse.Namespace) -> int:
    from stdformer_ros.io.offline import run_offline
    from stdformer_ros.io.video import count_frames, read_video
    from stdformer_ros.pipeline import build_pipeline

    is_bag = (options.source / "metadata.yaml").is_file()
    frames = iter(()) if is_bag else read_video(options.source)
    try:
        pipeline = build_pipeline(from_arguments(PipelineSettings, options))
        if options.vertices and pipeline.estimator.faces is None:
            raise ValueError(f"{options.model} gives joints and no mesh; leave out --vertices")
    except ValueError as error:
        raise CommandError(str(error)) from error
    if is_bag:
        return _run_bag(options, pipeline)
    summary = run_offline(
        frames,
        pipeline,
        options.out,
        vertices=options.vertices,
        overlay=options.overlay,
        total=count_frames(options.source),
    )
    print(f"{summary.people} people in {summary.frames} frames")
    for file in summary.files:
        print(f"  {file}")
    return INTERRUPTED if summary.interrupted else 0


def _run_bag(options: argparse.Namespace, pipeline: Pipeline) -> int:
    """A bag holds ROS' messages: what reads them is imported by name, and needs a sourced ROS 2."""
    try:
        bags = import_module("stdformer_ros.ros.inputs.bags")
    except ImportError as error:
        raise CommandError(
            f"{options.source} is a rosbag2, and reading its messages needs ROS 2 (./run shell, or "
            f"a sourced workspace): {error}"
        ) from error
    topics = bags.BagTopics(options.image_topic, options.camera_info_topic, options.depth_topic)
    try:
        frames, people, files = bags.process_bag(
            options.source, pipeline, options.out, topics, vertices=options.vertices
        )
    except bags.BagError as error:
        raise CommandError(str(error)) from error
    print(f"{people} people in {frames} frames")
    for file in files:
        print(f"  {file}")
    return 0


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("models", help="what models there are, and what each needs")
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
        0, 2 if the command could not be done, 130 if Ctrl-C has ended it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m stdformer_ros.cli", description="3D people from videos, without ROS."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    options = parser.parse_args(arguments)

    from stdformer_ros.assets import AssetError
    from stdformer_ros.io.video import VideoError

    try:
        return int(options.work(options))
    except (CommandError, VideoError, AssetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
