"""How the cost grows with people, with the image's size and with the window."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import log

import torch

from stdformer_ros.bench.footage import crowd, resized
from stdformer_ros.bench.pipeline import stream_figures
from stdformer_ros.bench.streaming import stdformer
from stdformer_ros.bench.timing import Figures, in_alternation
from stdformer_ros.pipeline import build_pipeline
from stdformer_ros.types import ImageArray

PEOPLE = (1, 2, 4, 8, 16)
SIZES = {"VGA": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
WINDOWS = (1, 2, 4, 8, 16)
FRAMES = 40
SETTLING = 10
"""Frames in which one person is found, before those that count."""
PATIENCE = 100
"""Frames in which all of a crowd should be found; in a large grid the detector misses some."""


def bench_growth(images: Sequence[ImageArray]) -> Figures:
    """Milliseconds a frame against people, image size and window, and the people's exponent."""
    people = people_growth(images)
    fewest, most = (people[f"followed_at_{n}_people"] for n in (PEOPLE[0], PEOPLE[-1]))
    cost = people[f"ms_at_{PEOPLE[-1]}_people"] / people[f"ms_at_{PEOPLE[0]}_people"]
    exponent = log(cost) / log(most / fewest)
    return people | size_growth(images) | window_growth() | {"people_growth_exponent": exponent}


def people_growth(images: Sequence[ImageArray]) -> Figures:
    """The default pipeline's milliseconds a frame, all people in cells of 640x480."""
    figures: Figures = {}
    for people in PEOPLE:
        pipeline = build_pipeline(max_people=people)
        frames = crowd(images, people)
        for answer, _ in zip(pipeline.follow(frames), range(PATIENCE), strict=False):
            if len(answer.humans) == people:
                break
        found = stream_figures(pipeline, list(islice(frames, FRAMES)))
        figures[f"ms_at_{people}_people"] = 1e3 / found["fps"]
        figures[f"followed_at_{people}_people"] = found["people_per_frame"]
    return figures


def size_growth(images: Sequence[ImageArray]) -> Figures:
    """The default pipeline's milliseconds a frame, one person, the image resized."""
    figures: Figures = {}
    for name, (width, height) in SIZES.items():
        pipeline = build_pipeline()
        frames = resized(images, width, height, SETTLING + FRAMES)
        for frame in frames[:SETTLING]:
            pipeline(frame)
        found = stream_figures(pipeline, frames[SETTLING:])
        figures[f"ms_at_{name}"] = 1e3 / found["fps"]
        figures[f"network_ms_at_{name}"] = found["encode_ms"] + found["decode_ms"]
    return figures


def window_growth(repeats: int = 3) -> Figures:
    """STDFormer-S with ResNet-50 on a new frame: streaming, and the whole window anew."""
    figures: Figures = {}
    torch.manual_seed(0)
    with torch.inference_mode():
        for window in WINDOWS:
            stream, recompute = stdformer("stdformer_S", backbone="resnet50", window=window)
            took = in_alternation({"stream": stream, "recompute": recompute}, repeats)
            figures[f"stream_ms_at_window_{window}"] = took["stream"]
            figures[f"recompute_ms_at_window_{window}"] = took["recompute"]
    return figures
