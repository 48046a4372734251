"""Training the default estimator: losses fall, and both stages lead to weights that load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from helpers.handmade_motion import bvh_text, lively
from helpers.synthetic_batch import synthetic_batch
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.models.checkpoint import load_checkpoint
from stdformer_ros.models.default.network import WINDOW, STDFormerKeypoints
from stdformer_ros.models.default.window_encoder import WindowEncoder
from stdformer_ros.training import train_refiner, train_window_encoder
from stdformer_ros.training.default_preset import train_default
from stdformer_ros.training.export import export_weights
from stdformer_ros.training.loop import Schedule
from stdformer_ros.training.people import subjects as people
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople


def silent(line: str) -> None:
    """A report nobody reads."""


def losses_over(
    model: nn.Module, batch_losses: object, batch: SyntheticBatch, rate: float, steps: int
) -> list[float]:
    body = BodyModel(108)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    values = []
    for _ in range(steps):
        loss = torch.stack(list(batch_losses(model, body, batch).values())).sum()  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return values


def test_the_window_encoder_learns_a_batch_by_heart() -> None:
    torch.manual_seed(0)
    model = WindowEncoder(WINDOW, 21, width=64, blocks=1)
    values = losses_over(model, train_window_encoder.batch_losses, synthetic_batch(), 1e-2, 100)
    assert values[-1] < 0.5 * values[0]


def test_the_refiner_learns_a_batch_by_heart_while_the_encoder_stays() -> None:
    torch.manual_seed(0)
    model = STDFormerKeypoints(mesh_level=108)
    model.window_encoder.requires_grad_(False)
    frozen = model.window_encoder.input.weight.clone()
    few = SyntheticBatch(*(value[:4] for value in synthetic_batch()))
    values = losses_over(model, train_refiner.batch_losses, few, 1e-3, 15)
    assert values[-1] < 0.8 * values[0]
    assert torch.equal(model.window_encoder.input.weight, frozen)


def test_both_stages_run_from_clips_to_weights_that_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("cmu_01_01", f"{people.HELD_OUT[0]}01"):
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
    # the second stage leaves the first one's average as it was
    first = torch.load(tmp_path / "run" / "window_encoder" / "last.pt", weights_only=True)["ema"]
    shipped = load_file(path)
    for name, value in first.items():
        assert torch.equal(shipped[f"window_encoder.{name}"], value.half()), name


def test_weights_ship_in_half_precision_and_nothing_else_changes(tmp_path: Path) -> None:
    model = nn.BatchNorm1d(3)
    model.running_mean.fill_(0.1)
    export_weights(model, tmp_path / "new" / "weights.safetensors")
    state = load_file(tmp_path / "new" / "weights.safetensors")
    assert state.keys() == model.state_dict().keys()
    assert state["running_mean"].dtype == torch.float16
    assert state["running_mean"].tolist() == pytest.approx([0.1] * 3, rel=1e-3)
    assert state["num_batches_tracked"].dtype == torch.int64
