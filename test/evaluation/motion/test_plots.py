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
from stdformer_ros.evaluation.motion.plots import APART, COUNT, BadFrame, WorstFrames

CAMERA = Camera(1280, 720, 900.0, 900.0, 640.0, 360.0)


def bad_frame(error: float) -> BadFrame:
    joints = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32) * 0.3
    joints += np.array([0.0, 0.0, 4.0], np.float32)
    landmarks = CAMERA.project(joints[:21])
    visible = np.ones(21, np.float32)
    return BadFrame(error, f"{error}", CAMERA, joints, None, joints, None, landmarks, visible)


def test_the_ten_worst_frames_are_kept_but_no_neighbours() -> None:
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


def test_a_picture_of_few_frames_has_few_rows() -> None:
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
    # 12 frames allow one bad frame in each of the six scenes: three rows of two.
    worst = cv2.imread(str(plots / "worst_frames.png"))
    assert worst.shape[0] % 3 == 0
    assert worst.std() > 10
