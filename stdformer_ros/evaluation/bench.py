"""`./run bench`: the frame's budget, measured.

Milliseconds are this machine's at this moment; ratios are between two things timed in alternation
and mean something elsewhere too. `docs/performance.md` explains each figure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stdformer_ros.evaluation.bench_growth import bench_growth
from stdformer_ros.evaluation.bench_leak import bench_leak
from stdformer_ros.evaluation.bench_pipeline import bench_pipeline
from stdformer_ros.evaluation.bench_streaming import bench_streaming
from stdformer_ros.evaluation.bench_topics import bench_overload, bench_ros_costs
from stdformer_ros.evaluation.footage import one_person
from stdformer_ros.evaluation.timing import Figures
from stdformer_ros.sample_clip import sample_clip
from stdformer_ros.types import ImageArray
from stdformer_ros.video import VideoError

PARTS: dict[str, Callable[[Sequence[ImageArray]], Figures]] = {
    "pipeline": bench_pipeline,
    "ros": bench_ros_costs,
    "overload": bench_overload,
    "streaming": lambda _: bench_streaming(),
    "growth": bench_growth,
    "leak": lambda _: bench_leak(),
}

GATES: dict[str, tuple[str, float]] = {
    "stream_speedup_stdformer_L": (">=", 6.0),
    "stream_max_abs_difference": ("<=", 1e-4),
    "default_fps_1_person": (">=", 30.0),
    "default_fps_4_people": (">=", 12.0),
    "node_overhead_ms": ("<=", 5.0),
    "mesh_publish_ms_per_person": ("<=", 3.0),
    "overload_latency_over_processing": ("<=", 2.2),
    "people_growth_exponent": ("<=", 1.0),
    "leak_resident_growth": ("<=", 0.02),
}
"""What is asked for, of two cores without a GPU."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON where asked.

    Returns:
        0, or 2 if something could not be measured; a missed goal is shown, not punished.
    """
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="default: everything"
    )
    options = parser.parse_args(arguments)
    cache = Path(os.environ.get("STDFORMER_CACHE", Path.home() / ".cache" / "stdformer_ros"))
    try:
        images = one_person(sample_clip(cache))
        figures = measure(options.only, images)
    except (VideoError, RuntimeError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def measure(parts: Sequence[str], images: Sequence[ImageArray]) -> Figures:
    """The figures of these parts, printed as they come."""
    figures: Figures = {}
    for name in parts:
        began = time.monotonic()
        found = PARTS[name](images)
        print(f"\n{name} ({time.monotonic() - began:.0f} s)")
        print("\n".join(table(found)), flush=True)
        figures |= found
    return figures


def table(figures: Figures) -> list[str]:
    """A line for each figure, with the goal where there is one."""
    lines = []
    for name, value in figures.items():
        line = f"  {name:38s} {value:12.4g}"
        if name in GATES:
            sign, goal = GATES[name]
            met = value >= goal if sign == ">=" else value <= goal
            line += f"   {sign} {goal:g}: {'met' if met else 'MISSED'}"
        lines.append(line)
    return lines


if __name__ == "__main__":
    sys.exit(main())
