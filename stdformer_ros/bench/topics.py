"""The benchmarks over real topics: programs of their own, because only `ros/` knows ROS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.bench.timing import Figures
from stdformer_ros.types import ImageArray


def bench_ros_costs(images: Sequence[ImageArray]) -> Figures:
    """Overhead of the node, and of the mesh markers."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.npy"
        np.save(film, np.stack(images))
        return _figures("bench_overhead", film)


def bench_overload(images: Sequence[ImageArray]) -> Figures:
    """Latency, memory and drops under 60 frames of 1080p a second."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        large = cv2.resize(images[0], (1920, 1080))
        cv2.imwrite(str(picture), cv2.cvtColor(large, cv2.COLOR_RGB2BGR))
        return _figures("bench_overload", picture)


def _figures(program: str, source: Path) -> Figures:
    """Run a program of `ros/`; nothing where there is no ROS."""
    if find_spec("rclpy") is None:
        print(f"{program}: skipped, there is no ROS 2 here", file=sys.stderr)
        return {}
    result = source.with_suffix(".json")
    command = [sys.executable, "-m", f"stdformer_ros.ros.{program}", str(source), str(result)]
    # Nobody else's robot is part of this.
    alone = {"ROS_DOMAIN_ID": str(100 + os.getpid() % 100)}
    alone["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if subprocess.run(command, env={**os.environ, **alone}, check=False).returncode:
        raise RuntimeError(f"{program} failed (its message is above)")
    figures: Figures = json.loads(result.read_text())
    return figures
