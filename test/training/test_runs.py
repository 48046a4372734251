"""From clips or data sets to a file of weights that can be loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from helpers.crops import write_sequence
from helpers.handmade_motion import bvh_text, lively
from helpers.tiny_networks import TinyBackbone, write_mesh_sampling
from stdformer_ros.body.body_model import h36m_joint_regressor
from stdformer_ros.cli import main
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models import registry
from stdformer_ros.models.checkpoint import load_checkpoint
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.published.acceleration import OpenVinoSTDFormer
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.training import train_mesh
from stdformer_ros.training.loop import Schedule
from stdformer_ros.training.people.motion_library import HELD_OUT
from stdformer_ros.training.people.synthetic import SyntheticPeople
from stdformer_ros.training.runs import export_weights, train_default


def silent(line: str) -> None:
    """Ignore the progress."""


def test_both_stages_of_the_default_network_give_weights_that_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("cmu_01_01", f"{HELD_OUT[0]}01"):
        (clips / f"{name}.bvh").write_text(bvh_text(lively(60)))
    tiny = Schedule(steps=2, sequences=3, learning_rate=1e-3, warmup=1, report_every=2)
    monkeypatch.setattr(
        SyntheticPeople, "sample_fixed", lambda self, count: SyntheticPeople.sample(self, 8)
    )
    path = train_default(clips, tmp_path / "run", report=silent, window_encoder=tiny, refiner=tiny)
    assert path.parent == tmp_path / "run"
    report = load_checkpoint(STDFormerKeypoints(mesh_level=108), path)
    assert not report.unexpected
    assert not report.missing
    for stage in ("window_encoder", "refiner"):
        assert (tmp_path / "run" / stage / "log.csv").exists()
    # The second stage does not change the weights of the first one.
    first = torch.load(tmp_path / "run" / "window_encoder" / "last.pt", weights_only=True)["ema"]
    shipped = load_file(path)
    for name, value in first.items():
        assert torch.equal(shipped[f"window_encoder.{name}"], value.half()), name


def test_weights_are_exported_in_half_precision(tmp_path: Path) -> None:
    model = nn.BatchNorm1d(3)
    model.running_mean.fill_(0.1)
    export_weights(model, tmp_path / "new" / "weights.safetensors")
    state = load_file(tmp_path / "new" / "weights.safetensors")
    assert state.keys() == model.state_dict().keys()
    assert state["running_mean"].dtype == torch.float16
    assert state["running_mean"].tolist() == pytest.approx([0.1] * 3, rel=1e-3)
    assert state["num_batches_tracked"].dtype == torch.int64


def test_an_image_network_trained_on_clips_becomes_an_estimator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.BACKBONES, "tiny", TinyBackbone)
    monkeypatch.setattr(train_mesh, "VALIDATION_SIZE", 1)
    clips, run = tmp_path / "clips", tmp_path / "run"
    clips.mkdir()
    for name in ("cmu_01_01", f"{HELD_OUT[0]}01"):
        (clips / f"{name}.bvh").write_text(bvh_text(lively(30)))
    options = ["--backbone", "tiny", "--steps", "1", "--batch", "1", "--report-every", "1"]
    command = ["train", "--model", "stdformer_S", "--motion", str(clips), "--out", str(run)]
    assert main([*command, *options]) == 0
    assert str(run / "stdformer_S.safetensors") in capsys.readouterr().out
    assert (run / "log.csv").read_text().startswith("step,")
    estimator = create_estimator(
        EstimatorSettings(
            "stdformer_S",
            checkpoint=str(run / "stdformer_S.safetensors"),
            mesh_sampling=str(run / "mesh_downsampling.npz"),
            joint_regressor=str(run / "joint_regressor.npy"),
            backbone="tiny",
        )
    )
    assert isinstance(estimator, ImageEstimator)
    saved = torch.load(run / "last.pt", weights_only=True)["ema"]
    assert isinstance(estimator.model, OpenVinoSTDFormer)
    for name, value in estimator.model.network.state_dict().items():
        assert torch.equal(value, saved[name].half().float()), name


def test_recorded_people_need_the_mesh_and_the_regressor_of_their_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.BACKBONES, "tiny", TinyBackbone)
    monkeypatch.setattr(train_mesh, "VALIDATION_SIZE", 1)
    for part in ("train", "val"):
        write_sequence(tmp_path / "crops" / part / "a", 8)
    np.save(tmp_path / "regressor.npy", h36m_joint_regressor())
    write_mesh_sampling(tmp_path / "mesh.npz")
    command = ["train", "--model", "stdformer_S", "--crops", str(tmp_path / "crops")]
    command += [
        "--out",
        str(tmp_path / "run"),
        "--backbone",
        "tiny",
        "--steps",
        "1",
        "--batch",
        "1",
    ]
    assert main(command) == 2
    assert "mesh_sampling" in capsys.readouterr().err
    files = ["--mesh-sampling", str(tmp_path / "mesh.npz")]
    files += ["--joint-regressor", str(tmp_path / "regressor.npy")]
    assert main([*command, *files]) == 0
    assert (tmp_path / "run" / "stdformer_S.safetensors").exists()
    assert not (tmp_path / "run" / "mesh_downsampling.npz").exists(), "that is the user's"
