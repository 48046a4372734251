"""The benchmark's figures are what they are called."""

import numpy as np
import pytest

from stdformer_ros.camera import Camera
from stdformer_ros.evaluation.bench import Stopwatch, bench_streaming, bench_video
from stdformer_ros.pipeline import build_pipeline
from stdformer_ros.types import Frame


@pytest.fixture(scope="module")
def pipeline():
    return build_pipeline()


def blank(stamp=0.0):
    return Frame(np.zeros((120, 160, 3), np.uint8), stamp, Camera.assumed(160, 120))


def test_streaming_answers_what_recomputation_answers(pipeline):
    figures = bench_streaming(pipeline, blank())
    assert figures["default_stream_max_abs_difference"] <= 1e-5
    assert figures["default_stream_ms"] > 0


def test_frames_a_second_count_every_stage(pipeline):
    figures = bench_video(pipeline, [blank(0.1 * i) for i in range(3)])
    assert figures["people_per_frame"] == 0
    assert figures["perception_ms"] <= 1e3 / figures["default_fps"]
    assert figures["decode_ms"] == 0  # nobody to decode
    assert "encode" not in vars(pipeline.estimator)  # the stopwatch is gone again


def test_a_stopwatch_hands_on_what_it_times():
    watch = Stopwatch(lambda a, b: a + b)
    assert watch(1, 2) == 3
    assert len(watch.milliseconds) == 1
