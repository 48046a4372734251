"""The training loop: precision, schedule, and runs that resume where they stopped."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from stdformer_ros.training.loop import (
    RATE_FACTOR,
    Losses,
    RunState,
    Schedule,
    constant,
    exponential,
    optimizer_of,
    precision_of,
    train,
)

# --- precision


def test_the_cpu_computes_in_bfloat16_by_default() -> None:
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


# --- schedule


def silent(line: str) -> None:
    """Ignore the progress."""


def test_the_rate_warms_up_linearly_and_falls_to_a_hundredth_on_a_cosine() -> None:
    schedule = Schedule(steps=1100, sequences=1, learning_rate=1e-3, warmup=100)
    assert schedule.rate(0) == pytest.approx(1e-5)
    assert schedule.rate(49) == pytest.approx(5e-4)
    assert schedule.rate(99) == pytest.approx(1e-3)
    assert schedule.rate(100) == pytest.approx(1e-3)
    assert schedule.rate(600) == pytest.approx(0.505e-3)
    assert schedule.rate(1100) == pytest.approx(1e-5)
    assert schedule.rate(5000) == pytest.approx(1e-5)
    rates = [schedule.rate(step) for step in range(100, 1101)]
    assert rates == sorted(rates, reverse=True)


def test_other_schedules_are_constant_or_exponential() -> None:
    steady = Schedule(steps=100, sequences=1, learning_rate=1e-3, warmup=0, decay=constant)
    assert steady.rate(0) == steady.rate(100) == 1e-3
    falling = Schedule(
        steps=100, sequences=1, learning_rate=1e-3, warmup=0, decay=exponential(0.25)
    )
    assert [falling.rate(step) for step in (0, 50, 100)] == pytest.approx([1e-3, 5e-4, 2.5e-4])


# --- the loop and its state


def line_fit(folder: Path) -> RunState[nn.Linear]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    return RunState(folder, model, optimizer, ema_decay=0.9)


def new_batch_loss(model: nn.Linear) -> Losses:
    x = torch.randn(16, 3)
    return {"fit": (model(x) - x.sum(1, keepdim=True)).square().mean()}


def distance_to_solution(model: nn.Linear) -> dict[str, float]:
    return {"error": float((model.weight - 1).abs().max())}


def short(steps: int) -> Schedule:
    return Schedule(
        steps=steps, sequences=16, learning_rate=0.05, warmup=5, report_every=20, weight_decay=0.0
    )


def run(folder: Path, steps: int) -> nn.Linear:
    return train(line_fit(folder), short(steps), new_batch_loss, distance_to_solution, silent)


def test_training_finds_the_solution_and_returns_the_moving_average(tmp_path: Path) -> None:
    state = line_fit(tmp_path)
    result = train(state, short(200), new_batch_loss, distance_to_solution, silent)
    assert result is state.ema
    assert distance_to_solution(result)["error"] < 0.05
    assert not torch.equal(result.weight, state.model.weight)


def test_the_optimiser_follows_the_schedule(tmp_path: Path) -> None:
    state = line_fit(tmp_path)
    rates: list[float] = []

    def losses(model: nn.Linear) -> Losses:
        rates.append(state.optimizer.param_groups[0]["lr"])
        return new_batch_loss(model)

    train(state, short(30), losses, distance_to_solution, silent)
    assert rates == [short(30).rate(step) for step in range(30)]


def run_until(folder: Path, stop: int, steps: int) -> None:
    """A run of `steps` steps that is interrupted after `stop` of them."""

    class InterruptedRun(Exception):
        pass

    state = line_fit(folder)

    def losses(model: nn.Linear) -> Losses:
        if state.step == stop:
            raise InterruptedRun
        return new_batch_loss(model)

    with pytest.raises(InterruptedRun):
        train(state, short(steps), losses, distance_to_solution, silent)


@pytest.mark.parametrize("stop", [41, 59])
def test_an_interrupted_run_ends_bit_by_bit_like_an_uninterrupted_one(
    tmp_path: Path, stop: int
) -> None:
    uninterrupted = run(tmp_path / "uninterrupted", 100)
    run_until(tmp_path / "interrupted", stop, 100)
    state = line_fit(tmp_path / "interrupted")
    lines: list[str] = []
    result = train(state, short(100), new_batch_loss, distance_to_solution, lines.append)
    assert lines[0] == "resuming at step 40"
    assert state.step == 100
    assert torch.equal(result.weight, uninterrupted.weight)


def test_a_saved_state_is_loaded_bit_by_bit_with_the_optimisers_moments(tmp_path: Path) -> None:
    run(tmp_path, 40)
    saved, loaded = line_fit(tmp_path), line_fit(tmp_path)
    for state in (saved, loaded):
        assert state.resume()
        assert state.step == 40
    x = torch.randn(16, 3)
    for state in (saved, loaded):
        for group in state.optimizer.param_groups:
            group["lr"] = 0.01
        state.optimizer.zero_grad()
        (state.model(x) - 1).square().mean().backward()
        state.optimizer.step()
        state.after_step()
    assert torch.equal(saved.model.weight, loaded.model.weight)
    assert torch.equal(saved.ema.weight, loaded.ema.weight)
    moments = loaded.optimizer.state[loaded.model.weight]
    assert moments["step"] == 41
    assert moments["exp_avg_sq"].any()


def test_a_new_folder_has_nothing_to_resume(tmp_path: Path) -> None:
    assert not line_fit(tmp_path / "new").resume()


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path, 40).weight.clone()

    def never(model: nn.Linear) -> Losses:
        raise AssertionError("the run is finished")

    again = train(line_fit(tmp_path), short(40), never, distance_to_solution, silent)
    assert torch.equal(again.weight, first)


def test_every_report_is_a_row_of_the_log(tmp_path: Path) -> None:
    run(tmp_path, 50)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 40, 50]
    assert float(rows[-1]["error"]) < float(rows[0]["error"])
    assert float(rows[-1]["fit"]) < float(rows[0]["fit"])


def test_the_moving_average_starts_as_a_plain_mean_and_then_decays(tmp_path: Path) -> None:
    state = line_fit(tmp_path)
    with torch.no_grad():
        state.ema.weight.zero_()
        state.model.weight.fill_(1.0)
    state.after_step()
    assert state.ema.weight[0, 0].item() == pytest.approx(10 / 11)
    state.step = 10_000
    before = state.ema.weight[0, 0].item()
    state.after_step()
    assert 1 - state.ema.weight[0, 0].item() == pytest.approx(0.9 * (1 - before))


def test_parameter_groups_can_have_a_lower_rate(tmp_path: Path) -> None:
    state = line_fit(tmp_path)
    state.optimizer.param_groups[0][RATE_FACTOR] = 0.1
    rates: list[float] = []

    def losses(model: nn.Linear) -> Losses:
        rates.append(state.optimizer.param_groups[0]["lr"])
        return new_batch_loss(model)

    train(state, short(10), losses, distance_to_solution, silent)
    assert rates == [0.1 * short(10).rate(step) for step in range(10)]


def test_a_scaled_loss_gives_the_same_steps_and_its_scale_is_kept(tmp_path: Path) -> None:
    """A scale that is a power of two changes no digit; gradients are clipped after unscaling."""
    plain = run(tmp_path / "plain", 40)
    scaled = line_fit(tmp_path / "scaled")
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=15)
    result = train(scaled, short(40), new_batch_loss, distance_to_solution, silent)
    torch.testing.assert_close(result.weight, plain.weight)
    again = line_fit(tmp_path / "scaled")
    again.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    assert again.resume()
    assert again.scaler.get_scale() == 2.0**12


def test_a_checkpoint_of_another_network_is_not_resumed(tmp_path: Path) -> None:
    run(tmp_path, 20)
    other = nn.Linear(7, 1)
    state = RunState(tmp_path, other, torch.optim.AdamW(other.parameters()), 0.9)
    with pytest.raises(ValueError, match=r"last\.pt is a checkpoint of another network"):
        state.resume()


def test_frozen_parameters_are_not_optimised() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    optimizer = optimizer_of(model, short(1))
    assert [p for group in optimizer.param_groups for p in group["params"]] == list(
        model[1].parameters()
    )
