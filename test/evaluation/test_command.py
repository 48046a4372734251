"""`cli evaluate`: from files to tables and JSON, and what it says if it cannot evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from helpers.calibrated_views import CAMERAS, one_person, write_toml
from helpers.handmade_motion import bvh_text, lively
from helpers.human36m import tiny_lifter, write_h36m
from stdformer_ros import cli
from stdformer_ros.evaluation.motion.hard_cases import HARD_CASES

# --- --motion


def folder_of_clips(path: Path, *clips: str, frames: int = 12) -> Path:
    path.mkdir()
    for seed, name in enumerate(clips):
        (path / f"{name}.bvh").write_text(bvh_text(lively(frames, seed)))
    return path


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def on_motion(folder: Path, output: Path, *more: str) -> int:
    return evaluate("--motion", folder, "--json", output, *more)


def test_motion_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of_clips(tmp_path / "motion", "walk_01", "walk_02", "dance_01")
    assert on_motion(folder, tmp_path / "a.json", "--seed", "4") == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["model"] == "stdformer_s_keypoints"
    assert (result["seed"], result["frames"], result["vertices"]) == (4, 3 * 3 * 12, 1723)
    assert [row["clip"] for row in result["clips"]] == ["dance_01", "walk_01", "walk_02"]
    for part in (result, result["baseline"], *result["clips"]):
        for key in ("mpjpe_mm", "pa_mpjpe_mm", "accel_mm_per_frame2"):
            assert 0 < part[key] < 1000
        assert part["pa_mpjpe_mm"] < part["mpjpe_mm"]
    mean = np.mean([row["mpjpe_mm"] for row in result["clips"]])
    assert result["mpjpe_mm"] == pytest.approx(mean, abs=0.01)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["frames", "MPJPE", "PA-MPJPE", "MPVPE", "Accel", "lag"]
    assert printed[-3].split()[:2] == ["overall", "108"]
    assert printed[-2].split()[0] == "unsmoothed"
    assert printed[-1].split()[0] == "baseline"

    assert on_motion(folder, tmp_path / "b.json", "--seed", "4", "--clips-matching", "walk_") == 0
    some = json.loads((tmp_path / "b.json").read_text())
    assert some["clips"] == result["clips"][1:]


def test_motion_reports_what_is_wrong_with_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of_clips(tmp_path / "motion", "walk_01")
    output = tmp_path / "out.json"
    assert on_motion(tmp_path, output) == 2
    assert "no .bvh file in" in capsys.readouterr().err
    assert on_motion(folder, output, "--clips-matching", "run_", "hop_") == 2
    assert "whose name contains run_ or hop_" in capsys.readouterr().err
    (folder / "broken.bvh").write_text("HIERARCHY")
    assert on_motion(folder, output) == 2
    assert "broken.bvh" in capsys.readouterr().err
    assert not output.exists()


def test_motion_and_dataset_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_motion(tmp_path, tmp_path / "out.json", "--dataset", "h36m") == 2
    assert "one of them is needed" in capsys.readouterr().err


def test_motion_has_rows_for_conditions_and_hard_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.bvh").write_text(bvh_text(lively(10)))
    arguments = ["evaluate", "--motion", str(tmp_path), "--mesh-level", "431", "--hard-cases"]
    plots = tmp_path / "plots"
    arguments += ["--json", str(tmp_path / "a.json"), "--plots", str(plots)]
    assert cli.main(arguments) == 0
    for folder in (plots, *(plots / case for case in HARD_CASES)):
        assert (folder / "worst_frames.png").exists(), folder
    result = json.loads((tmp_path / "a.json").read_text())
    views = [result["conditions"][k] for k in ("facing_camera", "side_view", "facing_away")]
    assert sum(row["frames"] for row in views) == result["frames"] == 30
    total = sum(row["frames"] * row["mpjpe_mm"] for row in views if row["frames"])
    assert total / 30 == pytest.approx(result["mpjpe_mm"], abs=0.01)
    assert result["hard_cases"].keys() == HARD_CASES.keys()
    assert result["hard_cases"]["children"]["frames"] == 30
    assert 0 <= result["calibration_error"] <= 1
    assert sum(b["count"] for b in result["reliability"]["all"]) == 30 * 14
    assert 1.0 < result["height_m"] < 2.5
    printed = capsys.readouterr().out
    assert "half_bodies" in printed
    assert "facing_away" in printed


# --- --views


def write_video(path, frames=30):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 60.0, (64, 96))
    for shade in range(frames):
        writer.write(np.full((96, 64, 3), shade, np.uint8))
    writer.release()


def test_views_prints_a_table_and_writes_json(tmp_path, monkeypatch, capsys):
    import stdformer_ros.pipeline

    views = tmp_path / "videos"
    views.mkdir()
    for number in range(2):
        write_video(views / f"cam{number}.mp4")
    calibration = write_toml(tmp_path / "Calib.toml", CAMERAS[:2])
    # Both views have the same pixels: they can be triangulated, with a large residual.
    monkeypatch.setattr(stdformer_ros.pipeline, "build_pipeline", lambda *_, **__: one_person())
    file = tmp_path / "views.json"
    assert evaluate("--views", views, "--calibration", calibration, "--json", file) == 0
    result = json.loads(file.read_text())
    assert [row["view"] for row in result["views"]] == ["cam0.mp4", "cam1.mp4"]
    assert result["frames_per_second"] == pytest.approx(60, rel=0.01)
    assert result["model"] == "stdformer_s_keypoints"
    shown = capsys.readouterr().out
    assert "all views" in shown
    assert "PA-MPJPE" in shown


def test_views_reports_what_is_missing(tmp_path, capsys):
    calibration = write_toml(tmp_path / "Calib.toml")
    assert evaluate("--views", tmp_path) == 2
    assert "--calibration" in capsys.readouterr().err
    assert evaluate("--views", tmp_path, "--calibration", calibration) == 2
    assert "no videos" in capsys.readouterr().err
    (tmp_path / "only.mp4").write_bytes(b"")
    assert evaluate("--views", tmp_path, "--calibration", calibration) == 2
    assert "1 videos" in capsys.readouterr().err
    assert evaluate("--views", tmp_path, "--motion", tmp_path) == 2
    assert "one of them is needed" in capsys.readouterr().err


# --- --dataset


def test_dataset_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_h36m(tmp_path / "data", actions=("Walking 1", "Eating 1"))
    torch.save({"model_pos": tiny_lifter(0).state_dict()}, tmp_path / "weights.bin")
    arguments = ["--dataset", "h36m", str(folder), "--model", "poseformer_9", "--keypoints", "gt"]
    output = ["--checkpoint", str(tmp_path / "weights.bin"), "--json", str(tmp_path / "out.json")]
    assert evaluate(*arguments, *output) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["delay_frames"], result["flip"]) == (4, True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["action", "frames", "MPJPE", "PA-MPJPE", "Accel"]
    assert printed[-1].split()[:2] == ["overall", "80"]
    assert float(printed[-1].split()[2]) == pytest.approx(result["overall"]["MPJPE"], abs=0.06)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--model", "poseformer_9"], "one of them is needed"),
        (["--dataset", "h36m", "nowhere"], "needs --model"),
        (["--dataset", "h36m", "--model", "poseformer_9", "--checkpoint", "w"], "PATH"),
        (["--dataset", "h36m", "nowhere", "--model", "poseformer_9"], "needs --checkpoint"),
        (["--dataset", "h36m", ".", "--model", "nobody", "--checkpoint", "w"], "no model 'nobody'"),
        (
            ["--dataset", "h36m", ".", "--model", "stdformer_s_keypoints", "--checkpoint", "w"],
            "poseformer_",
        ),
        (
            ["--dataset", "3dpw", ".", "--model", "pointhmr_hrnet_w32", "--checkpoint", "w"],
            "--joint-regressor and --true-smpl",
        ),
    ],
)
def test_dataset_reports_what_is_missing_before_anything_runs(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*arguments) == 2
    assert message in capsys.readouterr().err
