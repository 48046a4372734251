"""Endurance test of the node: `python -m stdformer_ros.bench.soak VIDEO --minutes 30`.

The node and a player that repeats the video run as processes of their own, as in `./run demo`. This
process receives the answers and samples the resources of the node's process at regular intervals:
memory, threads, open files.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isnan, nan
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time

from stdformer_ros.msg import HumanArray

REMAPPED = ["-r", "image:=/camera/image", "-r", "camera_info:=/camera/camera_info"]
NODE = [sys.executable, "-m", "stdformer_ros.ros.node", "--ros-args", "-p", "autostart:=true"]
PLAYER = [sys.executable, "-m", "stdformer_ros.demo.player", "--loop"]
STARTING = 300.0
"""Seconds that the node may take until its first answer."""


@dataclass(frozen=True)
class Sample:
    """Resources of the node's process at one time.

    Attributes:
        seconds: since the first answer.
        megabytes: resident memory.
        threads: number of them.
        files: number of open files, sockets and shared memory included.
        answers: number of HumanArrays so far.
        in_use: megabytes that it uses according to its own diagnostics; NaN before the first.
    """

    seconds: float
    megabytes: float
    threads: int
    files: int
    answers: int
    in_use: float


@dataclass
class Listener:
    """Counts the answers of the node.

    Attributes:
        node: receives the messages.
        ages: seconds from stamp to arrival, of each answer.
        times: of arrival, of each answer (monotonic clock, seconds).
        people: number of humans in all answers.
        in_use: the memory in use that the diagnostics reported since `memory_in_use` was called.
    """

    node: Node
    ages: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    people: int = 0
    in_use: list[float] = field(default_factory=list)

    def on_humans(self, humans: HumanArray) -> None:
        """Count an answer."""
        age = self.node.get_clock().now() - Time.from_msg(humans.header.stamp)
        self.ages.append(1e-9 * age.nanoseconds)
        self.times.append(time.monotonic())
        self.people += len(humans.humans)

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the memory in use that the node reports."""
        for item in message.status[0].values if message.status else ():
            if item.key == "memory in use MB":
                self.in_use.append(float(item.value))

    def memory_in_use(self) -> float:
        """The least memory in use since the last call, in megabytes; NaN if none was reported.

        The least, because the memory for an image in processing comes and goes.
        """
        reported, self.in_use = self.in_use, []
        return min(reported, default=nan)


def sample(pid: int, seconds: float, answers: int, in_use: float = nan) -> Sample:
    """Sample the resources of a process (Linux only)."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in status)
    return Sample(
        seconds,
        int(values["VmRSS"].split()[0]) / 1024,
        int(values["Threads"]),
        len(os.listdir(f"/proc/{pid}/fd")),
        answers,
        in_use,
    )


def summary(samples: Sequence[Sample], listener: Listener) -> dict[str, float | None]:
    """The figures of a run. Growth is the slope of a line through the second half of the samples.

    Args:
        samples: at least four, in order.
        listener: at least two answers.
    """
    second_half = samples[len(samples) // 2 :]
    hours = np.array([s.seconds for s in second_half]) / 3600.0
    growth = float(np.polyfit(hours, [s.megabytes for s in second_half], 1)[0])
    in_use = [s.in_use for s in second_half if not isnan(s.in_use)]
    rates = [
        (after.answers - before.answers) / (after.seconds - before.seconds)
        for before, after in pairwise(samples)
    ]
    median_age, high_age = np.percentile(listener.ages, [50, 99])
    return {
        "seconds": samples[-1].seconds,
        "answers": len(listener.ages),
        "humans_per_answer": listener.people / len(listener.ages),
        "fps_median": float(np.median(rates)),
        "fps_lowest": min(rates),
        "longest_silence_s": float(np.diff(listener.times).max()),
        "latency_p50_ms": 1e3 * float(median_age),
        "latency_p99_ms": 1e3 * float(high_age),
        "memory_first_mb": samples[0].megabytes,
        "memory_half_mb": second_half[0].megabytes,
        "memory_last_mb": samples[-1].megabytes,
        "memory_growth_mb_per_hour": growth,
        # The least over a quarter of the run: memory while no image was being processed.
        "memory_in_use_3rd_quarter_mb": min(in_use[: len(in_use) // 2], default=None),
        "memory_in_use_4th_quarter_mb": min(in_use[len(in_use) // 2 :], default=None),
        "threads_half": second_half[0].threads,
        "threads_last": samples[-1].threads,
        "files_half": second_half[0].files,
        "files_last": samples[-1].files,
    }


def soak(
    node_command: Sequence[str], player_command: Sequence[str], seconds: float, every: float
) -> dict[str, float | None]:
    """Run both processes for so many seconds after the first answer; returns `summary`.

    Raises:
        RuntimeError: if the node does not answer, or node or player end early.
    """
    executor = SingleThreadedExecutor()
    listener = Listener(rclpy.create_node("soak"))
    listener.node.create_subscription(HumanArray, "/stdformer/humans", listener.on_humans, 5)
    listener.node.create_subscription(DiagnosticArray, "/diagnostics", listener.on_diagnostics, 10)
    executor.add_node(listener.node)
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for command in (node_command, player_command)
    ]
    samples: list[Sample] = []

    def take_sample(seconds: float) -> Sample:
        return sample(processes[0].pid, seconds, len(listener.ages), listener.memory_in_use())

    try:
        start = time.monotonic()
        while not listener.ages:
            if time.monotonic() - start > STARTING:
                raise RuntimeError(f"no answer within {STARTING:.0f} s")
            executor.spin_once(timeout_sec=0.2)
        start = time.monotonic()
        while (now := time.monotonic() - start) < seconds:
            if any(process.poll() is not None for process in processes):
                raise RuntimeError(f"node or player has ended after {now:.0f} s")
            if now >= len(samples) * every:
                samples.append(take_sample(now))
            executor.spin_once(timeout_sec=0.2)
        samples.append(take_sample(now))
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        executor.shutdown()
        listener.node.destroy_node()
    return summary(samples, listener)


def main(args: Sequence[str] | None = None) -> int:
    """Run the endurance test and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path, help="a video file or a folder of images")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(args)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rclpy.init(args=[])
    player = [*PLAYER, str(options.video), "--ros-args", *REMAPPED]
    report = soak([*NODE, *REMAPPED], player, 60.0 * options.minutes, options.every)
    rclpy.shutdown()
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
