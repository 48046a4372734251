"""The benchmarks measure what their figures' names say."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stdformer_ros.bench import __main__ as bench
from stdformer_ros.bench.device import compare
from stdformer_ros.bench.growth import PEOPLE, SIZES, WINDOWS, growth_charts
from stdformer_ros.bench.leak import ABSENCE, STAY, ScriptedPerception, bench_leak
from stdformer_ros.bench.pipeline import (
    back_and_forth,
    crowd,
    frame_of,
    one_person,
    resized,
    stream_figures,
)
from stdformer_ros.bench.streaming import (
    default_network,
    largest_difference,
    poseformer,
    set_batch_norm_statistics,
)
from stdformer_ros.bench.timing import Stopwatch, in_alternation, resident_bytes, timed
from stdformer_ros.body.mesh_levels import SAMPLING_LEVELS, embedded_mesh_sampling
from stdformer_ros.evaluation.line_chart import BLUE
from stdformer_ros.models.registry import create_model
from stdformer_ros.perception.tracking import MAX_LOST_SECONDS
from stdformer_ros.pipeline import build_pipeline

FILM = [np.full((6, 8, 3), i, np.uint8) for i in range(4)]


def test_a_stopwatch_returns_what_the_timed_function_returns():
    watch = Stopwatch(lambda a, b: a + b)
    assert watch(1, b=2) == 3
    assert len(watch.milliseconds) == 1


def test_a_method_is_timed_only_inside_the_context():
    class Base:
        def work(self, seconds):
            time.sleep(seconds)
            return seconds

    class Child(Base):
        pass

    with timed(Child, "work") as watch:
        assert Child().work(0.02) == 0.02
    Child().work(0.0)
    assert len(watch.milliseconds) == 1
    assert watch.milliseconds[0] >= 20
    assert "work" not in vars(Child)


def test_functions_that_are_compared_are_called_in_turn():
    calls = []
    took = in_alternation(
        {"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), time.sleep(0.005))}, 3
    )
    assert calls == ["a", "b"] * 4
    assert took["b"] >= 5 > took["a"]


def test_resident_memory_is_that_of_the_process():
    before = resident_bytes()
    block = np.ones(400 * 2**20, np.uint8)  # more than anything that may be freed meanwhile
    assert 0.9 * block.nbytes < resident_bytes() - before < 2 * block.nbytes


def test_the_film_plays_forwards_and_then_backwards():
    assert [int(back_and_forth(FILM, i)[0, 0, 0]) for i in range(8)] == [0, 1, 2, 3, 2, 1, 0, 1]


def test_a_crowd_is_a_grid_of_cells_that_play_the_film_time_shifted():
    _, frame = islice(crowd(FILM, 3), 2)
    assert frame.image.shape == (12, 16, 3)
    assert frame.stamp == pytest.approx(1 / 30)
    assert [int(c[0, 0, 0]) for c in (frame.image[:6, :8], frame.image[:6, 8:])] == [1, 2]
    assert int(frame.image[6, 0, 0]) == 3
    assert not frame.image[6:, 8:].any()


def test_the_resized_film_has_that_size_and_a_camera_of_that_size():
    (frame,) = resized(FILM, 16, 12, 1)
    assert frame.image.shape == (12, 16, 3)
    assert (frame.camera.width, frame.camera.height) == (16, 12)


def test_the_footage_shows_one_person(real_video):
    images = one_person(real_video)
    assert {i.shape for i in images} == {(480, 640, 3)}
    pipeline = build_pipeline()
    frames = (frame_of(images[i], i) for i in range(0, 20))
    seen = [len(answer.humans) for answer in pipeline.follow(frames)]
    assert seen[-5:] == [1] * 5


def test_the_stages_add_up_to_the_time_of_a_frame():
    pipeline = build_pipeline()
    blank = [frame_of(np.zeros((120, 160, 3), np.uint8), i) for i in range(3)]
    figures = stream_figures(pipeline, blank)
    assert figures["people_per_frame"] == 0
    assert figures["detector_ms"] > 0  # it runs in every frame while nobody is found
    assert figures["decode_ms"] == 0  # there is nobody to decode
    shares = sum(v for k, v in figures.items() if k.endswith("_ms"))
    assert shares == pytest.approx(1e3 / figures["fps"])


@pytest.mark.parametrize("functions", [poseformer, default_network])
def test_streaming_gives_the_same_answer_as_recomputation(functions):
    with torch.inference_mode():
        stream, recompute = functions()
        assert largest_difference(stream, recompute) <= 1e-4
        answer = stream()
        assert all(value.abs().sum() > 0 for value in answer.values())


def test_the_largest_difference_is_over_common_outputs():
    assert largest_difference(
        lambda: {"x": torch.tensor([1.0, 2.0]), "only in one": torch.zeros(1)},
        lambda: {"x": torch.tensor([1.0, 2.5])},
    ) == pytest.approx(0.5)


def test_the_embedded_body_can_replace_smpls_mesh():
    mesh = embedded_mesh_sampling()
    assert [a.shape for a in mesh.adjacency] == [(n, n) for n in SAMPLING_LEVELS]
    assert [u.shape for u in mesh.upsampling] == [(6890, 1723), (1723, 431)]
    for upsampling in mesh.upsampling:
        np.testing.assert_allclose(upsampling.sum(axis=1), 1.0, atol=1e-5)
    neighbours = mesh.coarse_adjacency()
    assert bool((neighbours == neighbours.T).all())
    assert 5 < float(neighbours.float().sum(1).mean()) < 9  # six neighbours and itself


def test_scripted_people_come_and_go_and_return_under_new_identities():
    assert ABSENCE / 30 > MAX_LOST_SECONDS
    people = ScriptedPerception()
    seen = [
        len(people(frame_of(np.zeros((480, 640, 3), np.uint8), i)))
        for i in range(3 * (STAY + ABSENCE))
    ]
    assert max(seen) >= 2
    assert 9 <= len(people.identities) <= 12  # cycles are cut at the start and the end


@pytest.mark.slow
def test_memory_grows_neither_with_frames_nor_with_people():
    """The short form of `./run bench --only leak`."""
    figures = bench_leak(frames=1500, warm_up=500)
    assert figures["leak_people"] > 30
    assert figures["leak_resident_growth"] <= 0.02


def test_the_table_shows_goals_and_whether_they_are_met():
    lines = bench.table({"node_overhead_ms": 4.0, "default_fps_1_person": 29.0, "other": 1.0})
    assert lines[0].endswith("<= 5: met")
    assert lines[1].endswith(">= 30: MISSED")
    assert ":" not in lines[2]


def test_the_json_file_holds_the_figures_of_the_requested_parts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "sample_clip", lambda cache: cache)
    monkeypatch.setattr(bench, "one_person", lambda video: FILM)
    monkeypatch.setitem(bench.PARTS, "leak", lambda images: {"leak_resident_growth": 0.5})
    assert bench.main(["--only", "leak", "--json", str(tmp_path / "x.json")]) == 0
    assert (tmp_path / "x.json").read_text() == '{\n  "leak_resident_growth": 0.5\n}\n'
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "name"), [(bench.bench_ros_overhead, "overhead"), (bench.bench_overload, "overload")]
)
def test_the_parts_over_topics_start_a_program_and_read_its_figures(part, name, monkeypatch):
    commands = []

    def run(command, **_):
        commands.append(command)
        Path(command[-1]).write_text(json.dumps({"x": 1.0}))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(bench, "find_spec", lambda package: package == "rclpy")
    monkeypatch.setattr(bench.subprocess, "run", run)
    assert part(FILM) == {"x": 1.0}
    (command,) = commands
    assert find_spec(command[2]) is not None, "the program does not exist"
    assert command[3] == name


def test_with_batch_norm_statistics_feature_maps_of_random_weights_fit_into_float16():
    torch.manual_seed(0)
    backbone = create_model("stdformer_S", backbone="hrnet_w32").backbone.eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        before = max(float(m.abs().max()) for m in backbone.maps(images))
        set_batch_norm_statistics(backbone)
        after = max(float(m.abs().max()) for m in backbone.eval().maps(images))
    assert before > torch.finfo(torch.float16).max
    assert after < 0.01 * torch.finfo(torch.float16).max


def test_the_three_ways_on_a_device_give_the_same_meshes():
    """On the CPU with a small backbone; `./run bench --device cuda` is for a GPU."""
    options = {"backbone": "resnet50", "window": 2, "smpl_regressor": False}
    network = create_model("stdformer_S", mesh_sampling=embedded_mesh_sampling(), **options).eval()
    with torch.inference_mode():
        figures = compare(network, torch.device("cpu"), people=2, repeats=1)
    assert 0 < figures["device_difference_mm_2_people"] <= 1.0
    ours, recompute = (figures[f"device_{k}_ms_2_people"] for k in ("ours", "recompute"))
    assert figures["device_speedup_2_people"] == pytest.approx(recompute / ours)
    assert figures["device_ours_fps_2_people"] == pytest.approx(1e3 / ours)


def test_growth_is_drawn_as_curves_that_rise():
    figures = {f"ms_at_{n}_people": 20.0 + 8.0 * n for n in PEOPLE}
    figures |= {f"followed_at_{n}_people": float(n) for n in PEOPLE}
    figures |= {f"{k}ms_at_{n}": 20.0 for n in SIZES for k in ("", "network_")}
    figures |= {f"{k}_ms_at_window_{n}": 9.0 for n in WINDOWS for k in ("stream", "recompute")}
    picture = growth_charts(figures)
    assert picture.shape == (3 * 260, 700, 3)
    chart = picture[:260].astype(int)
    blue = np.argwhere(np.abs(chart - BLUE).sum(axis=2) < 30)
    low, high = blue[blue[:, 1].argmin()], blue[blue[:, 1].argmax()]
    assert low[0] > high[0] + 20, "the line does not rise"


def test_a_plot_without_the_part_growth_is_refused():
    with pytest.raises(SystemExit):
        bench.main(["--only", "leak", "--plot", "x.png"])


def test_a_device_that_does_not_exist_is_refused(capsys):
    assert bench.main(["--device", "cuda:77"]) == 2
    assert "device 'cuda:77' cannot be used" in capsys.readouterr().err


def test_a_video_that_is_not_the_sample_clip_is_refused(tmp_path, monkeypatch, capsys):
    def other(_):
        raise ValueError("x.mp4 is not the sample clip")

    monkeypatch.setattr(bench, "sample_clip", lambda cache: tmp_path)
    monkeypatch.setattr(bench, "one_person", other)
    assert bench.main([]) == 2
    assert "not the sample clip" in capsys.readouterr().err
