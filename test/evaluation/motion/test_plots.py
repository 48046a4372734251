"""The pictures of `cli evaluate --motion --plots DIR`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.handmade_motion import bvh_text, lively
from stdformer_ros import cli
from stdformer_ros.body.skeleton import BONES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.evaluation.line_chart import BLUE, ORANGE, Line, draw_chart
from stdformer_ros.evaluation.motion.worst_frames import APART, COUNT, BadFrame, WorstFrames

CAMERA = Camera(1280, 720, 900.0, 900.0, 640.0, 360.0)


def chart(*lines: Line, y_limits: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    return draw_chart(
        lines,
        title="",
        x_title="",
        y_title="",
        x_limits=(0.0, 10.0),
        y_limits=y_limits,
        size=(400, 200),
    )


def where(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) x, y of the pixels of about this colour, below the legend."""
    near = np.abs(picture.astype(int) - color).max(axis=2) < 40
    near[:28] = False
    return np.argwhere(near)[:, ::-1]


def test_a_line_is_where_its_numbers_are() -> None:
    x = np.linspace(0.0, 10.0, 50)
    low = where(chart(Line(x, np.full(50, 0.25), BLUE, "")), BLUE)
    high = where(chart(Line(x, np.full(50, 0.75), BLUE, "")), BLUE)
    assert np.ptp(low[:, 0]) > 300
    assert np.ptp(low[:, 1]) <= 3
    plot = 200 - 30 - 42  # what is left below the title and above the axis
    assert low[:, 1].mean() - high[:, 1].mean() == pytest.approx(0.5 * plot, abs=1.5)


def test_a_line_breaks_where_nothing_is_known_and_ends_at_the_border() -> None:
    x = np.linspace(0.0, 10.0, 51)
    y = np.where((x > 4) & (x < 6), np.nan, 0.5)
    columns = np.unique(where(chart(Line(x, y, BLUE, "")), BLUE)[:, 0])
    assert np.diff(columns).max() > 50
    outside = where(chart(Line(x, np.full(51, 7.0), ORANGE, "")), ORANGE)
    assert len(outside) == 0


@pytest.mark.parametrize("y_limits", [(0.0, 1e-3), (0.0, 137.0), (-5.0, 2e6)])
def test_any_scale_can_be_drawn(y_limits: tuple[float, float]) -> None:
    middle = np.full(5, sum(y_limits) / 2)
    picture = chart(Line(np.arange(5.0), middle, BLUE, "a"), y_limits=y_limits)
    assert picture.shape == (200, 400, 3)
    assert len(where(picture, BLUE)) > 50


def bad_frame(error: float) -> BadFrame:
    joints = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32) * 0.3
    joints += np.array([0.0, 0.0, 4.0], np.float32)
    landmarks = CAMERA.project(joints[:21])
    visible = np.ones(21, np.float32)
    return BadFrame(error, f"{error}", CAMERA, joints, None, joints, None, landmarks, visible)


def test_the_ten_worst_are_kept_and_neighbours_are_one() -> None:
    worst = WorstFrames(BONES, None)
    errors = np.zeros(400)
    errors[100:105] = [50, 60, 70, 60, 50]
    errors[300] = 65
    frames = worst.candidates(errors)
    assert frames[:2] == [102, 300]
    assert min(abs(a - b) for i, a in enumerate(frames) for b in frames[:i]) > APART
    for error in range(30):
        worst.add(bad_frame(float(error)))
    assert sorted(kept[0] for kept in worst._kept) == list(range(20, 30))
    assert worst.candidates(np.full(100, 20.0)) == []
    assert worst.candidates(np.array([0.0, 21.0, 0.0])) == [1]
    picture = worst.draw()
    rows = picture.shape[0] / (COUNT / 2)
    assert rows == int(rows)


def test_a_picture_of_few_frames_is_small() -> None:
    worst = WorstFrames(BONES, None)
    for error in range(3):
        worst.add(bad_frame(float(error)))
    whole = WorstFrames(BONES, None)
    for error in range(10):
        whole.add(bad_frame(float(error)))
    few, all_ten = worst.draw(), whole.draw()
    assert few.shape[1] == all_ten.shape[1]
    assert few.shape[0] / all_ten.shape[0] == pytest.approx(2 / 5)


def test_the_command_draws_a_chart_for_each_clip_worst_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        (tmp_path / f"clip_{seed}.bvh").write_text(bvh_text(lively(12, seed)))
    plots = tmp_path / "some" / "plots"
    arguments = ["evaluate", "--motion", str(tmp_path), "--mesh-level", "431"]
    assert cli.main([*arguments, "--plots", str(plots)]) == 0
    names = sorted(p.name for p in plots.iterdir())
    assert len(names) == 4
    assert names[2:] == ["reliability.png", "worst_frames.png"]
    assert [n[:2] for n in names[:2]] == ["1_", "2_"]
    printed = capsys.readouterr().out.splitlines()
    best_first = [line.split()[0] for line in printed[1:3]]
    assert [n[2:-4] for n in names[:2]] == best_first[::-1]
    picture = cv2.imread(str(plots / names[0]))
    assert picture.shape == (3 * 240, 900, 3)
    # 12 frames leave room for one bad frame in each of the six scenes: three rows of two
    worst = cv2.imread(str(plots / "worst_frames.png"))
    assert worst.shape[0] % 3 == 0
    assert worst.std() > 10
