"""`cli train`: from clips to weights, and what it says if it cannot train."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.handmade_motion import bvh_text, lively
from stdformer_ros.cli import main
from stdformer_ros.models.lifting.weights import load_keypoint_network
from stdformer_ros.training import train_keypoints
from stdformer_ros.training.people.motion_library import HELD_OUT
from stdformer_ros.training.recipes import PUBLISHED


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("cmu_01_01", f"{HELD_OUT[0]}01"):
        (folder / f"{name}.bvh").write_text(bvh_text(lively(30)))
    return folder


def train(*arguments: object) -> int:
    return main(["train", *map(str, arguments)])


def test_training_on_clips_gives_weights_that_describe_their_network(
    tmp_path: Path,
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train_keypoints, "VALIDATION_SIZE", 8)
    options = ["--model", "poseformer_9", "--motion", clips, "--out", tmp_path / "run"]
    options += ["--batch", 2, "--report-every", 1]
    assert train(*options, "--steps", 1) == 0
    assert train(*options, "--steps", 2) == 0, "the same folder is resumed"
    assert "resuming at step 1" in capsys.readouterr().out
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert rows[0] == "step,mpjpe,mpjpe_mm,pa_mpjpe_mm"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2"]
    model = load_keypoint_network("poseformer_9", tmp_path / "run" / "poseformer_9.safetensors")
    assert model.future_frames == 4, "the published network answers for the centre"


def test_a_run_of_another_network_is_not_resumed(
    tmp_path: Path,
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train_keypoints, "VALIDATION_SIZE", 8)
    options = ["--motion", clips, "--out", tmp_path / "run", "--steps", 1, "--batch", 2]
    assert train("--model", "poseformer_9", *options) == 0
    monkeypatch.setitem(PUBLISHED, "lstm_posenet_81", PUBLISHED["poseformer_9"])
    (clips / "cmu_01_01.bvh").write_text(bvh_text(lively(170)))
    (clips / f"{HELD_OUT[0]}01.bvh").write_text(bvh_text(lively(170)))
    assert train("--model", "lstm_posenet_81", *options) == 2
    assert "another network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "smplify", "--motion", "."], ["smplify", "poseformer_27"]),
        (["--model", "sgre_resnet50", "--motion", "."], ["sgre_resnet50", "stdformer_L"]),
        ([], ["stdformer_s_keypoints", "--motion"]),
        (["--model", "poseformer_27"], ["--motion FOLDER or --h36m FOLDER"]),
        (["--model", "poseformer_27", "--crops", "."], ["--motion FOLDER or --h36m FOLDER"]),
        (["--model", "stdformer_L", "--h36m", "."], ["--motion FOLDER or --crops FOLDER"]),
        (["--model", "poseformer_27", "--motion", ".", "--h36m", "."], ["give one of them"]),
        (["--motion", ".", "--steps", "5"], ["does not use --steps"]),
        (["--model", "poseformer_27", "--motion", ".", "--keypoints", "gt"], ["--keypoints"]),
        (["--model", "fastmetro_S_resnet50", "--motion", ".", "--backbone", "x"], ["--backbone"]),
        (["--model", "poseformer_27", "--motion", ".", "--steps", "0"], ["steps", "0"]),
        (["--model", "poseformer_27", "--motion", "nowhere"], ["nowhere"]),
        (["--model", "poseformer_27", "--h36m", "nowhere"], ["h36m_dataset.py", "nowhere"]),
        (["--model", "stdformer_S", "--motion", ".", "--backbone", "vgg"], ["vgg", "resnet50"]),
        (["--model", "simple_posenet_81", "--motion", ".", "--recipe", "shipped"], ["no shipped"]),
    ],
)
def test_what_cannot_be_trained_is_reported_in_one_line(
    tmp_path: Path,
    arguments: list[str],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(*arguments, "--out", tmp_path / "run") == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1
    assert all(word in output.err for word in said), output.err
