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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from stdformer_ros.bench.device import bench_device
from stdformer_ros.bench.footage import one_person
from stdformer_ros.bench.growth import bench_growth
from stdformer_ros.bench.leak import bench_leak
from stdformer_ros.bench.pipeline import bench_pipeline
from stdformer_ros.bench.plots import growth_charts
from stdformer_ros.bench.streaming import bench_streaming
from stdformer_ros.bench.timing import Figures
from stdformer_ros.bench.topics import bench_overload, bench_ros_costs
from stdformer_ros.io.pictures import write_png
from stdformer_ros.io.video import VideoError, sample_clip
from stdformer_ros.models.registry import usable_device
from stdformer_ros.types import ImageArray

Part = Callable[[Sequence[ImageArray]], Figures]

PARTS: dict[str, Part] = {
    "pipeline": bench_pipeline,
    "ros": bench_ros_costs,
    "overload": bench_overload,
    "streaming": lambda _: bench_streaming(),
    "growth": bench_growth,
    "leak": lambda _: in_a_process_of_its_own(bench_leak),
}


def in_a_process_of_its_own(part: Callable[[], Figures]) -> Figures:
    """What a part measures where nothing has run before.

    What earlier parts have freed, the heap keeps or returns when it likes, in steps of 64 MB.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(part).result()


GATES: dict[str, tuple[str, float]] = {
    "stream_speedup_stdformer_L": (">=", 6.0),
    "stream_max_abs_difference": ("<=", 1e-4),
    "default_fps_1_person": (">=", 30.0),
    "default_fps_4_people": (">=", 12.0),
    "node_overhead_ms": ("<=", 5.0),
    "mesh_publish_ms_per_person": ("<=", 3.0),
    "overload_latency_over_processing": ("<=", 2.2),
    "people_growth_exponent": ("<=", 1.0),
    "device_ours_ms_1_people": ("<=", 5.0),
    "device_ours_fps_32_people": (">=", 30.0),
    "device_speedup_1_people": (">=", 10.0),
    "device_difference_mm_1_people": ("<=", 1.0),
    "leak_resident_growth": ("<=", 0.02),
}
"""What is asked for: of two cores without a GPU, and for `device_` of an H200."""


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
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="instead of all that STDFormer-L on this device (cuda)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="growth, as a PNG")
    options = parser.parse_args(arguments)
    if options.plot and (options.device or "growth" not in options.only):
        parser.error("--plot shows what the part 'growth' has measured")
    cache = Path(os.environ.get("STDFORMER_CACHE", Path.home() / ".cache" / "stdformer_ros"))
    try:
        if options.device:
            device = usable_device(options.device)
            parts = {f"STDFormer-L on {device_name(device)}": lambda _: bench_device(device)}
            figures = measure(parts, [])
        else:
            images = one_person(sample_clip(cache))
            figures = measure({name: PARTS[name] for name in options.only}, images)
    except (VideoError, RuntimeError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.plot:
        write_png(options.plot, growth_charts(figures))
    return 0


def device_name(device: torch.device) -> str:
    """The card's name, or the device's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def measure(parts: Mapping[str, Part], images: Sequence[ImageArray]) -> Figures:
    """The figures of these parts, printed as they come."""
    figures: Figures = {}
    for name, part in parts.items():
        began = time.monotonic()
        found = part(images)
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
