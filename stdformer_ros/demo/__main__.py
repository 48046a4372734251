"""`./run demo`: run the real node on a video, with real topics and separate processes.

The node and a player run as processes of their own. This process receives and counts the results.
It draws them over the video only afterwards, so that drawing does not slow the node down.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from stdformer_ros.stopping import INTERRUPTED, exit_on_signals, stop_requests

if __name__ == "__main__":  # the other imports take seconds
    exit_on_signals(INTERRUPTED)

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from stdformer_ros.demo.recorder import Recorder, Result, summary
from stdformer_ros.io.pictures import OverlayVideo, snapshot, write_png
from stdformer_ros.io.video import read_video, sample_clip
from stdformer_ros.types import ImageArray

REMAPPED = ["-r", "image:=/camera/image", "-r", "camera_info:=/camera/camera_info"]
CAMERA_SECONDS = 60.0
LAST_RESULT_SECONDS = 1.0
"""The demo ends when the player has ended and no result has come for this long."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0 if at least one image was answered.
    """
    options = _options(args)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    for name in ("report.json", "overlay.mp4", "snapshot.png"):  # of an earlier run
        (out / name).unlink(missing_ok=True)
    if options.camera is not None:
        video, source = out / "camera.mp4", ["--camera", str(options.camera)]
        source += ["--record", str(video)]
        seconds = options.seconds or CAMERA_SECONDS
    else:
        try:
            video = options.video or sample_clip(_cache())
            read_video(video)  # fails at once if it cannot be read
        except RuntimeError as error:  # it cannot be downloaded or read
            return _failed(str(error))
        source, seconds = [str(video)], options.seconds
    if seconds is not None:
        source += ["--seconds", str(seconds)]

    # The demo must not connect to other people's cameras and robots on the network.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    window = None if options.headless or not _has_display() else _show
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    recorder = Recorder(window)
    with stop_requests() as stop:
        stamps = _run(recorder, options.model, source, stop)
    exit_on_signals(INTERRUPTED)  # while the results are drawn
    if stamps is None:
        return 1
    if window is not None:
        cv2.destroyAllWindows()

    report = summary(stamps, recorder.results, recorder.topics)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    if report["frames_processed"]:
        _draw(recorder, video, stamps, out)
    recorder.destroy_node()
    rclpy.shutdown()
    if not report["frames_processed"]:
        return _failed(
            f"none of {len(stamps)} published images was answered (see {out}/report.json)"
        )
    latency = report["latency_ms"]
    print(
        f"{report['frames_processed']} of {report['frames_published']} frames processed at "
        f"{report['fps']:.1f} per second, {report['humans']} people, "
        f"latency {latency['p50']:.0f} ms (p99 {latency['p99']:.0f} ms)\n"
        f"Look at:  {out / 'overlay.mp4'}\n          {out / 'snapshot.png'}\n"
        f"Numbers:  {out / 'report.json'}"
    )
    return 0


def _run(
    recorder: Recorder, model: str | None, source: list[str], stop: threading.Event
) -> list[int] | None:
    """Start node and player, record until the player is done or `stop` is set, then end both.

    Returns:
        The stamps of all published images, or None if the node did not start.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    node_command = [sys.executable, "-m", "stdformer_ros.ros.node", "--ros-args", *REMAPPED]
    node_command += ["-p", "autostart:=true", "-p", "publish_vertices:=true"]
    node_command += ["-p", f"model:={model}"] if model else []
    player_command = [sys.executable, "-m", "stdformer_ros.demo.player", *source]
    player_command += ["--ros-args", *REMAPPED]
    stamps: list[int] = []
    with ExitStack() as ended:
        ended.callback(executor.shutdown)
        node = subprocess.Popen(node_command)
        ended.callback(_end, node)
        player = subprocess.Popen(player_command, stdout=subprocess.PIPE, text=True)
        ended.callback(_end, player)
        reader = threading.Thread(target=_read_stamps, args=(player, stamps), daemon=True)
        reader.start()
        while recorder.body_model is None:  # the node publishes it when it becomes active
            if stop.is_set():
                break
            if node.poll() is not None:
                _failed("the node did not start (its message is above)")
                return None
            executor.spin_once(timeout_sec=0.1)
        _record(recorder, executor, (node, player), stamps, stop)
        if stop.is_set():
            print("\nstopping", file=sys.stderr)
            return stamps
        reader.join(1.0)
        if node.poll() is not None:
            _failed(f"the node ended with code {node.returncode} (its message is above)")
        elif player.returncode:
            _failed("the player failed (its message is above)")
    return stamps


def _record(
    recorder: Recorder,
    executor: SingleThreadedExecutor,
    processes: tuple[subprocess.Popen[bytes], subprocess.Popen[str]],
    stamps: list[int],
    stop: threading.Event,
) -> None:
    """Record until the player has ended and the last results have come, or the node has ended, or
    `stop` is set.
    """
    node, player = processes
    last = time.monotonic()
    with tqdm(unit=" frames", desc="processed") as bar:
        while not stop.is_set() and node.poll() is None:
            if time.monotonic() - last > LAST_RESULT_SECONDS:
                break
            executor.spin_once(timeout_sec=0.1)
            new = len(recorder.results) - bar.n
            if new or player.poll() is None:
                last = time.monotonic()
            if new:
                recorder.look_for_topics()
                newest = recorder.results[-1]
                bar.set_postfix(people=len(newest.track_ids), published=len(stamps), refresh=False)
                bar.update(new)


def _draw(recorder: Recorder, video: Path, stamps: list[int], out: Path) -> None:
    """Write overlay.mp4 and snapshot.png, from the received messages and the video, read again."""
    body_model = recorder.body_model
    assert body_model is not None
    faces = np.array(body_model.triangles, np.int32).reshape(-1, 3)
    skeleton = [tuple(pair) for pair in np.array(body_model.bones).reshape(-1, 2).tolist()]
    by_stamp = {result.stamp_ns: result for result in recorder.results}
    best = _best(recorder, [by_stamp[stamp] for stamp in stamps if stamp in by_stamp])

    bar = tqdm(read_video(video), total=len(stamps), desc="drawing", unit=" frames")
    with OverlayVideo(out / "overlay.mp4", faces, skeleton) as overlay:
        for frame, stamp in zip(bar, stamps, strict=False):
            result = by_stamp.get(stamp)
            figures = None if result is None else recorder.figures(result)
            if result is best and figures is not None:
                write_png(out / "snapshot.png", snapshot(frame, figures, faces, skeleton))
            overlay.show(frame, figures)


def _best(recorder: Recorder, results: list[Result]) -> Result:
    """The middle one of the results with the most people, after the first ones (at most 30)."""
    later = results[min(len(results) // 4, 30) :]
    most = max(len(result.track_ids) for result in later)
    full = [result for result in later if len(result.track_ids) == most]
    return full[len(full) // 2]


def _read_stamps(player: subprocess.Popen[str], stamps: list[int]) -> None:
    assert player.stdout is not None
    for line in player.stdout:
        stamps.append(int(line.split()[1]))


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Ask the process to end, with stronger signals if it does not."""
    for number, seconds in ((signal.SIGINT, 10.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def _show(image: ImageArray) -> None:
    cv2.imshow("stdformer_ros", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    cv2.waitKey(1)


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _cache() -> Path:
    return Path(os.environ.get("STDFORMER_CACHE", Path.home() / ".cache" / "stdformer_ros"))


def _failed(text: str) -> int:
    print(f"demo: {text}", file=sys.stderr)
    return 1


def _options(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        help="default: a clip of two people, downloaded once",
    )
    source.add_argument("--camera", type=int, metavar="N", help="the webcam /dev/videoN")
    parser.add_argument("--model", metavar="NAME", help="the estimator; default: that of the node")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="default: the whole video, or 60 seconds of the webcam",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("out/demo"),
        help="where to write report.json, overlay.mp4 and snapshot.png; default: out/demo",
    )
    parser.add_argument("--headless", action="store_true", help="show no window")
    return parser.parse_args(args)


if __name__ == "__main__":
    sys.exit(main())
