"""`./run bench`: how long everything takes, measured.

Milliseconds are valid only for this machine at this moment. Ratios compare two functions that were
timed in alternation, and are valid on other machines too. `docs/performance.md` explains each
figure. The parts that need ROS are separate programs (`ros_topics`), which this one starts if ROS 2
is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch

from stdformer_ros.bench.device import bench_device
from stdformer_ros.bench.growth import bench_growth, growth_charts
from stdformer_ros.bench.leak import bench_leak
from stdformer_ros.bench.pipeline import bench_pipeline, one_person
from stdformer_ros.bench.streaming import bench_streaming
from stdformer_ros.bench.timing import Figures
from stdformer_ros.io.files import VideoError
from stdformer_ros.io.pictures import write_png
from stdformer_ros.io.video import sample_clip
from stdformer_ros.models.registry import usable_device
from stdformer_ros.types import ImageArray

Part = Callable[[Sequence[ImageArray]], Figures]
"""Measures something on images of one person, (480, 640, 3) uint8 RGB."""


def bench_ros_overhead(images: Sequence[ImageArray]) -> Figures:
    """Overhead of the node, and of the mesh markers."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.npy"
        np.save(film, np.stack(images))
        return _over_topics("overhead", film)


def bench_overload(images: Sequence[ImageArray]) -> Figures:
    """Latency, memory and dropped frames under 60 frames of 1080p per second."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        write_png(picture, np.asarray(cv2.resize(images[0], (1920, 1080)), np.uint8))
        return _over_topics("overload", picture)


def _over_topics(measurement: str, source: Path) -> Figures:
    """Run a measurement of `ros_topics`; without ROS there are no figures."""
    if find_spec("rclpy") is None:
        print(f"{measurement}: skipped, because ROS 2 is not installed", file=sys.stderr)
        return {}
    result = source.with_suffix(".json")
    command = [sys.executable, "-m", "stdformer_ros.bench.ros_topics", measurement]
    # A ROS domain of its own, so that other nodes on this machine and network take no part.
    isolation = {
        "ROS_DOMAIN_ID": str(100 + os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    command += [str(source), str(result)]
    if subprocess.run(command, env={**os.environ, **isolation}, check=False).returncode:
        raise RuntimeError(f"{measurement} failed (its message is above)")
    figures: Figures = json.loads(result.read_text())
    return figures


def in_fresh_process(part: Callable[[], Figures]) -> Figures:
    """The figures of a part that runs in a new process.

    Memory that earlier parts have freed stays in the heap, or returns to the system at any time in
    steps of 64 MB: either would distort a measurement of memory.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(part).result()


PARTS: dict[str, Part] = {
    "pipeline": bench_pipeline,
    "ros": bench_ros_overhead,
    "overload": bench_overload,
    "streaming": lambda _: bench_streaming(),
    "growth": bench_growth,
    "leak": lambda _: in_fresh_process(bench_leak),
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
    "device_ours_ms_1_people": ("<=", 5.0),
    "device_ours_fps_32_people": (">=", 30.0),
    "device_speedup_1_people": (">=", 10.0),
    "device_difference_mm_1_people": ("<=", 1.0),
    "leak_resident_growth": ("<=", 0.02),
}
"""The goals: for a machine with two cores and no GPU, but those of `device_...` for an H200."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write JSON and a chart if asked to.

    Returns:
        0, or 2 if something could not be measured. A missed goal is shown and is not an error.
    """
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="default: everything"
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="measure only STDFormer-L on this device (cuda)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="chart of growth, as a PNG")
    options = parser.parse_args(arguments)
    if options.plot and (options.device or "growth" not in options.only):
        parser.error("--plot draws the figures of the part 'growth': measure it too")
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
    """The name of the graphics card, or else of the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def measure(parts: Mapping[str, Part], images: Sequence[ImageArray]) -> Figures:
    """The figures of these parts; those of each part are printed when it has ended."""
    figures: Figures = {}
    for name, part in parts.items():
        began = time.monotonic()
        found = part(images)
        print(f"\n{name} ({time.monotonic() - began:.0f} s)")
        print("\n".join(table(found)), flush=True)
        figures |= found
    return figures


def table(figures: Figures) -> list[str]:
    """A line for each figure, with its goal if there is one."""
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
