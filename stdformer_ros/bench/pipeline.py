"""The default pipeline on real footage, without ROS: frames per second and the time of each stage.

First comes the footage: one man from the sample clip, repeated for as many people as are wanted.
Then come the measurements, which time the stages that run a network.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.bench.timing import Figures, Stopwatch, timed
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.video import read_video
from stdformer_ros.perception.detector import PersonDetector
from stdformer_ros.perception.landmarks import LandmarkDetector
from stdformer_ros.pipeline import Pipeline, build_pipeline
from stdformer_ros.types import Frame, ImageArray

LEFT, TOP, WIDTH, HEIGHT = 340, 20, 640, 480
"""The part of the sample clip (1768x994 pixels) that shows one man alone; it is not scaled."""
CLIP_FRAMES = 160
"""The man is alone in this many frames, counted from the first one."""
PERIOD = 1 / 30
"""Seconds between frames."""

FRAMES = 150
PEOPLE = {1: "1_person", 4: "4_people"}


def one_person(video: Path) -> list[ImageArray]:
    """160 images (480, 640, 3) uint8 RGB from the sample clip: one man on a roof.

    Raises:
        VideoError: if the file is not a video.
        ValueError: if it is another video.
    """
    images = [frame.image for frame, _ in zip(read_video(video), range(CLIP_FRAMES), strict=False)]
    if len(images) < CLIP_FRAMES or images[0].shape != (994, 1768, 3):
        raise ValueError(f"{video} is not the sample clip, which the benchmarks are made for")
    return [np.ascontiguousarray(i[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]) for i in images]


def back_and_forth(images: Sequence[ImageArray], index: int) -> ImageArray:
    """The image at an index of an endless film that plays forwards, then backwards, and so on.

    Playing backwards avoids the jump from the last image to the first.
    """
    index %= 2 * len(images) - 2
    return images[min(index, 2 * len(images) - 2 - index)]


def crowd(images: Sequence[ImageArray], people: int) -> Iterator[Frame]:
    """Endless frames that show several people: a grid of cells that play the film time-shifted.

    Args:
        images: of one person, all of the same size.
        people: number of cells that are filled; the other cells of the grid stay black.
    """
    columns = int(np.ceil(np.sqrt(people)))
    rows = -(-people // columns)
    height, width = images[0].shape[:2]
    for i in count():
        canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
        for k in range(people):
            y, x = k // columns * height, k % columns * width
            cell = back_and_forth(images, i + k * len(images) // people)
            canvas[y : y + height, x : x + width] = cell
        yield frame_of(canvas, i)


def resized(images: Sequence[ImageArray], width: int, height: int, number: int) -> list[Frame]:
    """The first `number` frames of the film of one person, resized to width x height pixels."""
    return [
        frame_of(np.asarray(cv2.resize(back_and_forth(images, i), (width, height)), np.uint8), i)
        for i in range(number)
    ]


def frame_of(image: ImageArray, index: int) -> Frame:
    """The image as frame number `index` of a stream of 30 frames per second."""
    height, width = image.shape[:2]
    return Frame(image, index * PERIOD, Camera.assumed(width, height))


def bench_pipeline(images: Sequence[ImageArray]) -> Figures:
    """Frames per second and milliseconds of each stage, with 1 person and with 4 people."""
    figures: Figures = {}
    for people, name in PEOPLE.items():
        found = stream_figures(build_pipeline(), list(islice(crowd(images, people), FRAMES)))
        figures[f"default_fps_{name}"] = found.pop("fps")
        figures |= {f"{key}_{name}": value for key, value in found.items()}
    return figures


def stream_figures(pipeline: Pipeline, frames: Sequence[Frame]) -> Figures:
    """Means over the frames: `fps`, `people_per_frame`, and milliseconds per frame of each stage.

    `other_ms` is the time outside of all stages: tracking, windows, velocities.
    """
    people = 0
    with stages(pipeline) as watches:
        began = time.perf_counter()
        for answer in pipeline.follow(frames):
            people += len(answer.humans)
        seconds = time.perf_counter() - began
    shares = {f"{name}_ms": sum(w.milliseconds) / len(frames) for name, w in watches.items()}
    return {
        "fps": len(frames) / seconds,
        "people_per_frame": people / len(frames),
        **shares,
        "other_ms": 1e3 * seconds / len(frames) - sum(shares.values()),
    }


@contextmanager
def stages(pipeline: Pipeline) -> Iterator[dict[str, Stopwatch]]:
    """Stopwatches on the stages of the pipeline that run a network."""
    estimator = type(pipeline.estimator)
    with ExitStack() as stack:
        yield {
            "detector": stack.enter_context(timed(PersonDetector, "__call__")),
            "landmarks": stack.enter_context(timed(LandmarkDetector, "__call__")),
            "encode": stack.enter_context(timed(estimator, "encode_frames")),
            "decode": stack.enter_context(timed(estimator, "decode")),
        }
