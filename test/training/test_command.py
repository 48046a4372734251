"""`cli train`: recipes, precision, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.handmade_motion import bvh_text, lively
from stdformer_ros.cli import main
from stdformer_ros.models.lifting.weights import SHIPPED as SHIPPED_WEIGHTS
from stdformer_ros.models.lifting.weights import load_keypoint_network
from stdformer_ros.models.registry import MODELS
from stdformer_ros.training import train_keypoints
from stdformer_ros.training.people.subjects import HELD_OUT
from stdformer_ros.training.precision import precision_of
from stdformer_ros.training.recipes import PUBLISHED, SHIPPED, recipe_of

# --- recipes


def test_every_recipe_is_for_a_model_there_is() -> None:
    assert set(PUBLISHED) | set(SHIPPED) <= set(MODELS)
    assert set(SHIPPED) == set(SHIPPED_WEIGHTS)


def test_poseformer_falls_by_a_hundredth_in_every_epoch() -> None:
    schedule = PUBLISHED["poseformer_81"].schedule
    epoch = schedule.steps / 200
    assert schedule.rate(0) == pytest.approx(1e-4)
    assert schedule.rate(round(epoch)) == pytest.approx(0.99e-4)
    assert schedule.rate(round(100 * epoch)) == pytest.approx(1e-4 * 0.99**100, rel=1e-4)
    assert schedule.sequences == 512
    assert schedule.weight_decay == 0.1


def test_the_posenets_are_trained_for_fifteen_epochs() -> None:
    for name in ("lstm_posenet_81", "simple_posenet_81", "simple_transformer_posenet_81"):
        schedule = PUBLISHED[name].schedule
        assert schedule.steps == 15 * 6093
        assert schedule.rate(0) == pytest.approx(1e-3)
        assert schedule.rate(schedule.steps) == pytest.approx(1e-3 * 0.99**15)


def test_stdformer_keeps_its_rate_and_clips_gradients() -> None:
    schedule = PUBLISHED["stdformer_L"].schedule
    assert schedule.rate(0) == schedule.rate(schedule.steps) == 1e-4
    assert schedule.weight_decay == 1e-4
    assert schedule.gradient_clip == 0.3


def test_what_ships_answers_for_the_newest_frame() -> None:
    assert all(recipe.options["future_frames"] == 0 for recipe in SHIPPED.values())


def test_a_model_without_the_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="no shipped recipe for 'simple_posenet_81'"):
        recipe_of("simple_posenet_81", "shipped")


# --- precision


def test_the_cpu_computes_in_bfloat16_unless_told_otherwise() -> None:
    cpu = torch.device("cpu")
    with precision_of(cpu).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with precision_of(cpu, "float32").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not precision_of(cpu).scaler().is_enabled()


def test_impossible_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        precision_of(torch.device("cpu"), "float16")
    with pytest.raises(ValueError, match="'int8'"):
        precision_of(torch.device("cpu"), "int8")


# --- the command


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("cmu_01_01", f"{HELD_OUT[0]}01"):
        (folder / f"{name}.bvh").write_text(bvh_text(lively(30)))
    return folder


def train(*arguments: object) -> int:
    return main(["train", *map(str, arguments)])


def test_from_clips_to_weights_that_say_what_they_are_for(
    tmp_path: Path,
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train_keypoints, "UNSEEN", 8)
    options = ["--model", "poseformer_9", "--motion", clips, "--out", tmp_path / "run"]
    options += ["--batch", 2, "--report-every", 1]
    assert train(*options, "--steps", 1) == 0
    assert train(*options, "--steps", 2) == 0, "the same folder goes on"
    assert "going on at step 1" in capsys.readouterr().out
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert rows[0] == "step,mpjpe,mpjpe_mm,pa_mpjpe_mm"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2"]
    model = load_keypoint_network("poseformer_9", tmp_path / "run" / "poseformer_9.safetensors")
    assert model.future_frames == 4, "the published network answers for the centre"


def test_a_run_of_another_network_is_not_gone_on_with(
    tmp_path: Path,
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train_keypoints, "UNSEEN", 8)
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
        (["--motion", ".", "--steps", "5"], ["no use for --steps"]),
        (["--model", "poseformer_27", "--motion", ".", "--keypoints", "gt"], ["--keypoints"]),
        (["--model", "fastmetro_S_resnet50", "--motion", ".", "--backbone", "x"], ["--backbone"]),
        (["--model", "poseformer_27", "--motion", ".", "--steps", "0"], ["steps", "0"]),
        (["--model", "poseformer_27", "--motion", "nowhere"], ["nowhere"]),
        (["--model", "poseformer_27", "--h36m", "nowhere"], ["h36m_dataset.py", "nowhere"]),
        (["--model", "stdformer_S", "--motion", ".", "--backbone", "vgg"], ["vgg", "resnet50"]),
        (["--model", "simple_posenet_81", "--motion", ".", "--recipe", "shipped"], ["no shipped"]),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_line(
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
