"""`cli evaluate --views`, from its files to its table."""

from __future__ import annotations

import argparse
import json

import cv2
import numpy as np
import pytest

from helpers.calibrated_views import CAMERAS, one_person, write_toml
from stdformer_ros.evaluation.command import add_parser


def command(arguments) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *map(str, arguments)])
    return options.work(options)


def write_video(path, frames=30):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 60.0, (64, 96))
    for shade in range(frames):
        writer.write(np.full((96, 64, 3), shade, np.uint8))
    writer.release()


def test_the_command_writes_what_the_table_shows(tmp_path, monkeypatch, capsys):
    import stdformer_ros.pipeline

    views = tmp_path / "videos"
    views.mkdir()
    for number in range(2):
        write_video(views / f"cam{number}.mp4")
    calibration = write_toml(tmp_path / "Calib.toml", CAMERAS[:2])
    # the same pixels in both views: some consensus there is, if a bad one
    monkeypatch.setattr(stdformer_ros.pipeline, "build_pipeline", lambda *_, **__: one_person())
    file = tmp_path / "views.json"
    assert command(["--views", views, "--calibration", calibration, "--json", file]) == 0
    result = json.loads(file.read_text())
    assert [row["view"] for row in result["views"]] == ["cam0.mp4", "cam1.mp4"]
    assert result["frames_per_second"] == pytest.approx(60, rel=0.01)
    assert result["model"] == "stdformer_s_keypoints"
    shown = capsys.readouterr().out
    assert "all views" in shown
    assert "PA-MPJPE" in shown


def test_what_is_missing_is_said(tmp_path, capsys):
    calibration = write_toml(tmp_path / "Calib.toml")
    assert command(["--views", tmp_path]) == 2
    assert "--calibration" in capsys.readouterr().err
    assert command(["--views", tmp_path, "--calibration", calibration]) == 2
    assert "no videos" in capsys.readouterr().err
    (tmp_path / "only.mp4").write_bytes(b"")
    assert command(["--views", tmp_path, "--calibration", calibration]) == 2
    assert "1 videos" in capsys.readouterr().err
    assert command(["--views", tmp_path, "--motion", tmp_path]) == 2
    assert "one of them is needed" in capsys.readouterr().err
