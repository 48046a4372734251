"""`cli evaluate`: on motion capture before synthetic cameras, or on the published data sets.

What takes long to import is imported when it is needed, so that `--help` is there at once.
"""

from __future__ import annotations

import argparse
import sys

from stdformer_ros import config
from stdformer_ros.evaluation.motion import command as motion_command
from stdformer_ros.evaluation.published import command as published
from stdformer_ros.evaluation.views import command as views_command

FAILED = 2


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="errors of an estimator on motion capture, calibrated views, 3DPW or Human3.6M",
        description="MPJPE, PA-MPJPE, MPVPE and Accel: with --motion of synthetic people who move "
        "like a folder of BVH clips, with --views of a real person before several calibrated "
        "cameras (docs/accuracy.md), with --dataset under the published "
        "protocols, whose data sets and weights are yours to bring (docs/official_weights.md).",
    )
    files = dict.fromkeys(config.FILE_SETTINGS)
    config.add_arguments(parser, "model", "device", "backbone", *files, model=None, **files)
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")
    motion_command.add_arguments(parser)
    views_command.add_arguments(parser)
    published.add_arguments(parser)
    parser.set_defaults(work=work)


def work(options: argparse.Namespace) -> int:
    """The command; returns 0, or 2 after saying what was wrong."""
    chosen = [options.motion, options.views, options.dataset]
    if sum(choice is not None for choice in chosen) != 1:
        wanted = f"--motion FOLDER, --views FOLDER or --dataset {'|'.join(published.DATASETS)}"
        print(f"error: {wanted}: one of them is needed", file=sys.stderr)
        return FAILED
    try:
        if options.motion is not None:
            motion_command.run(options)
        elif options.views is not None:
            views_command.run(options)
        else:
            published.run(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0
