"""Training: losses fall, runs go on where they stopped, the schedule has its shape."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from handmade_motion import bvh_text, lively
from poses import random_betas, random_pose
from safetensors.torch import load_file
from torch import Tensor, nn

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera import weak_perspective_to_metres
from stdformer_ros.models.checkpoint import load_checkpoint
from stdformer_ros.models.stdformer_keypoints import WINDOW, STDFormerKeypoints
from stdformer_ros.models.window_encoder import BodyParameters, WindowEncoder
from stdformer_ros.models.window_view import WindowView, view_window
from stdformer_ros.training import people, train_refiner, train_window_encoder
from stdformer_ros.training.default_preset import train_default
from stdformer_ros.training.export import export_weights
from stdformer_ros.training.loop import (
    RATE_FACTOR,
    Losses,
    Schedule,
    constant,
    exponential,
    optimizer_of,
    train,
)
from stdformer_ros.training.motion_library import MotionLibrary
from stdformer_ros.training.retarget import retarget
from stdformer_ros.training.run_state import RunState
from stdformer_ros.training.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.targets import (
    Target,
    errors,
    motion_losses,
    parameter_losses,
    project,
    target_in_view,
    targets_of,
    windows_of,
)


def silent(line: str) -> None:
    """A report nobody reads."""


# --- the schedule


def test_the_rate_warms_up_in_a_line_and_falls_to_a_hundredth_on_a_cosine() -> None:
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


def test_other_schedules_stay_or_fall_by_the_same_factor_in_equal_times() -> None:
    steady = Schedule(steps=100, sequences=1, learning_rate=1e-3, warmup=0, fall=constant)
    assert steady.rate(0) == steady.rate(100) == 1e-3
    falling = Schedule(steps=100, sequences=1, learning_rate=1e-3, warmup=0, fall=exponential(0.25))
    assert [falling.rate(step) for step in (0, 50, 100)] == pytest.approx([1e-3, 5e-4, 2.5e-4])


# --- the loop and its state


def line_fit(folder: Path) -> RunState[nn.Linear]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    return RunState(folder, model, optimizer, ema_decay=0.9)


def fresh_batch_loss(model: nn.Linear) -> Losses:
    x = torch.randn(16, 3)
    return {"fit": (model(x) - x.sum(1, keepdim=True)).square().mean()}


def distance_to_solution(model: nn.Linear) -> dict[str, float]:
    return {"error": float((model.weight - 1).abs().max())}


def short(steps: int) -> Schedule:
    return Schedule(
        steps=steps, sequences=16, learning_rate=0.05, warmup=5, report_every=20, weight_decay=0.0
    )


def run(folder: Path, steps: int) -> nn.Linear:
    return train(line_fit(folder), short(steps), fresh_batch_loss, distance_to_solution, silent)


def test_training_finds_the_solution_and_returns_the_moving_average(tmp_path: Path) -> None:
    state = line_fit(tmp_path)
    result = train(state, short(200), fresh_batch_loss, distance_to_solution, silent)
    assert result is state.ema
    assert distance_to_solution(result)["error"] < 0.05
    assert not torch.equal(result.weight, state.model.weight)


def test_the_optimiser_follows_the_schedule(tmp_path: Path) -> None:
    state = line_fit(tmp_path)
    rates: list[float] = []

    def losses(model: nn.Linear) -> Losses:
        rates.append(state.optimizer.param_groups[0]["lr"])
        return fresh_batch_loss(model)

    train(state, short(30), losses, distance_to_solution, silent)
    assert rates == [short(30).rate(step) for step in range(30)]


def run_until(folder: Path, stop: int, steps: int) -> None:
    """A run of `steps` steps, ended from outside after `stop` of them."""

    class EndedError(Exception):
        pass

    state = line_fit(folder)

    def losses(model: nn.Linear) -> Losses:
        if state.step == stop:
            raise EndedError
        return fresh_batch_loss(model)

    with pytest.raises(EndedError):
        train(state, short(steps), losses, distance_to_solution, silent)


@pytest.mark.parametrize("stop", [41, 59])
def test_a_run_that_was_interrupted_ends_bit_by_bit_like_one_that_was_not(
    tmp_path: Path, stop: int
) -> None:
    undisturbed = run(tmp_path / "undisturbed", 100)
    run_until(tmp_path / "interrupted", stop, 100)
    state = line_fit(tmp_path / "interrupted")
    lines: list[str] = []
    result = train(state, short(100), fresh_batch_loss, distance_to_solution, lines.append)
    assert lines[0] == "going on at step 40"
    assert state.step == 100
    assert torch.equal(result.weight, undisturbed.weight)


def test_a_saved_state_is_loaded_bit_by_bit_with_the_optimisers_memory(tmp_path: Path) -> None:
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


def test_a_new_folder_has_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert not line_fit(tmp_path / "new").resume()


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path, 40).weight.clone()

    def never(model: nn.Linear) -> Losses:
        raise AssertionError("there is nothing left to train")

    again = train(line_fit(tmp_path), short(40), never, distance_to_solution, silent)
    assert torch.equal(again.weight, first)


def test_every_report_is_a_row_of_the_log(tmp_path: Path) -> None:
    run(tmp_path, 50)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 40, 50]
    assert float(rows[-1]["error"]) < float(rows[0]["error"])
    assert float(rows[-1]["fit"]) < float(rows[0]["fit"])


def test_the_moving_average_starts_as_a_plain_mean_and_then_forgets(tmp_path: Path) -> None:
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


def test_groups_of_parameters_can_learn_more_slowly(tmp_path: Path) -> None:
    state = line_fit(tmp_path)
    state.optimizer.param_groups[0][RATE_FACTOR] = 0.1
    rates: list[float] = []

    def losses(model: nn.Linear) -> Losses:
        rates.append(state.optimizer.param_groups[0]["lr"])
        return fresh_batch_loss(model)

    train(state, short(10), losses, distance_to_solution, silent)
    assert rates == [0.1 * short(10).rate(step) for step in range(10)]


def test_a_scaled_loss_gives_the_same_steps_and_its_scale_is_kept(tmp_path: Path) -> None:
    """Scaling by a power of two changes no digit, and gradients are clipped after it is undone."""
    plain = run(tmp_path / "plain", 40)
    scaled = line_fit(tmp_path / "scaled")
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=15)
    result = train(scaled, short(40), fresh_batch_loss, distance_to_solution, silent)
    torch.testing.assert_close(result.weight, plain.weight)
    again = line_fit(tmp_path / "scaled")
    again.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    assert again.resume()
    assert again.scaler.get_scale() == 2.0**12


def test_a_folder_of_another_network_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, 20)
    other = nn.Linear(7, 1)
    state = RunState(tmp_path, other, torch.optim.AdamW(other.parameters()), 0.9)
    with pytest.raises(ValueError, match=r"last\.pt is of a run with another network"):
        state.resume()


def test_frozen_parameters_are_not_optimised() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    optimizer = optimizer_of(model, short(1))
    assert [p for group in optimizer.param_groups for p in group["params"]] == list(
        model[1].parameters()
    )


# --- targets and losses


def view_of(count: int, seed: int = 0) -> WindowView:
    generator = torch.Generator().manual_seed(seed)
    rays = 0.3 + 0.2 * torch.rand(count, 8, 21, 2, generator=generator)
    return view_window(rays, torch.ones(count, 8, 21))


def test_the_target_is_the_true_body_turned_into_the_view() -> None:
    body, view = BodyModel(108), view_of(2)
    rotations, betas = random_pose(0, 2), random_betas(0, 2)
    pelvis = torch.tensor([[1.0, 0.5, 4.0], [0.2, 0.1, 2.0]])
    target = target_in_view(body, rotations, betas, pelvis, view)
    vertices, joints = body(rotations, betas)
    # rows @ turn goes back from the view to the camera
    torch.testing.assert_close(target.vertices @ view.turn, vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(target.joints @ view.turn, joints, atol=1e-5, rtol=0)
    torch.testing.assert_close((target.pelvis[:, None] @ view.turn)[:, 0], pelvis)


def test_projection_into_the_view_agrees_with_the_views_own_points() -> None:
    """Points put on the rays at any depth show where the view shows the rays."""
    generator = torch.Generator().manual_seed(0)
    rays = 0.3 + 0.2 * torch.rand(2, 8, 21, 2, generator=generator)
    view = view_window(rays, torch.ones(2, 8, 21))
    depth = 2 + torch.rand(2, 21, 1, generator=generator)
    points = torch.cat([rays[:, 0] * depth, depth], dim=-1) @ view.turn.transpose(1, 2)
    place = torch.tensor([[0.1, 0.2, 3.0], [0.0, -0.3, 2.0]])
    shown = project(points - place[:, None], place, view.half_size)
    torch.testing.assert_close(shown, view.points[:, 0], atol=1e-5, rtol=0)


BODIES = 2


def truth(body: BodyModel, view: WindowView) -> Target:
    pelvis = torch.tensor([[0.3, 0.1, 4.0], [0.2, 0.4, 3.0]]) @ view.turn[0]
    return target_in_view(body, random_pose(1, BODIES), random_betas(1, BODIES), pelvis, view)


def exact_answer(target: Target, view: WindowView) -> BodyParameters:
    scale = 1 / (target.pelvis[:, 2:] * view.half_size[:, None])
    parameters = BodyParameters(
        target.rotations,
        random_betas(1, BODIES),
        torch.cat([scale, target.pelvis[:, :2]], dim=1),
        torch.full((BODIES, 24), 20.0),
        torch.zeros(BODIES, 4),
    )
    torch.testing.assert_close(
        weak_perspective_to_metres(parameters.camera, view.half_size), target.pelvis
    )
    return parameters


def test_the_exact_answer_costs_nothing() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    losses = parameter_losses(
        exact_answer(target, view), target.vertices, target.joints, target, view
    )
    assert len(losses) == 6
    for name, value in losses.items():
        assert value.item() == pytest.approx(0.0, abs=1e-5), name


def test_a_body_five_centimetres_off_costs_its_weighted_distance() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    off = torch.tensor([0.03, 0.0, 0.04])
    losses = parameter_losses(
        exact_answer(target, view), target.vertices + off, target.joints + 2 * off, target, view
    )
    assert losses["vertices"].item() == pytest.approx(6 * 0.05, rel=1e-3)
    assert losses["joints"].item() == pytest.approx(6 * 0.10, rel=1e-3)
    assert losses["projection"] > 0
    for name in ("rotations", "distance"):
        assert losses[name].item() == pytest.approx(0.0, abs=1e-5)


def test_a_pelvis_turned_too_far_costs_its_part_and_a_fifth_more() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    turned = target.rotations.clone()
    turned[:, 0] = random_pose(3, BODIES)[:, 0]
    off = float((turned[:, 0] - target.rotations[:, 0]).abs().mean())
    parameters = exact_answer(target, view)._replace(rotations=turned)
    losses = parameter_losses(parameters, target.vertices, target.joints, target, view)
    assert losses["rotations"].item() == pytest.approx(off * (1 / 24 + 0.2), rel=1e-4)


def test_a_tenth_too_far_away_costs_the_logarithm_of_the_distance() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    parameters = exact_answer(target, view)
    camera = parameters.camera / torch.tensor([1.1, 1.0, 1.0])
    losses = parameter_losses(
        parameters._replace(camera=camera), target.vertices, target.joints, target, view
    )
    assert losses["distance"].item() == pytest.approx(0.3 * 0.09531, rel=1e-3)
    assert losses["vertices"].item() == pytest.approx(0.0, abs=1e-5)


def test_confidences_learn_which_joints_lie_within_ten_centimetres() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    parameters = exact_answer(target, view)._replace(confidence=torch.full((BODIES, 24), 3.0))
    joints = target.joints.clone()
    joints[:, :6, 0] += 0.11
    joints[:, 6:, 0] += 0.09
    losses = parameter_losses(parameters, target.vertices, joints, target, view)
    # softplus(3) for the six of 24 that are far, softplus(-3) for the others
    expected = 0.05 * (0.25 * 3.04859 + 0.75 * 0.04859)
    assert losses["confidence"].item() == pytest.approx(expected, rel=1e-3)


MOVING = 4


def three_frames() -> Tensor:
    """(3 * 4 + 2, 5, 3): four people in three frames, and two more in one."""
    return torch.randn(3 * MOVING + 2, 5, 3, generator=torch.Generator().manual_seed(0))


def test_motion_losses_see_steps_and_not_places() -> None:
    true = three_frames()
    for value in motion_losses(true + 1, true, MOVING).values():
        assert value.item() == pytest.approx(0.0, abs=1e-5)


def test_a_wrong_speed_costs_velocity_and_no_acceleration() -> None:
    true, drift = three_frames(), torch.tensor([0.03, 0.0, 0.04])
    ours = true.clone()
    ours[:-2] += torch.arange(3).repeat_interleave(MOVING)[:, None, None] * drift
    losses = motion_losses(ours, true, MOVING)
    assert losses["velocity"].item() == pytest.approx(6 * 0.05, rel=1e-4)
    assert losses["acceleration"].item() == pytest.approx(0.0, abs=1e-5)


def test_a_frame_that_jumps_costs_its_step_twice_and_double_its_step_in_acceleration() -> None:
    true = three_frames()
    ours = true.clone()
    ours[MOVING : 2 * MOVING] += torch.tensor([0.03, 0.0, 0.04])
    losses = motion_losses(ours, true, MOVING)
    assert losses["velocity"].item() == pytest.approx(6 * 0.05, rel=1e-4)
    assert losses["acceleration"].item() == pytest.approx(6 * 0.10, rel=1e-4)


def test_of_people_in_a_single_frame_no_motion_is_judged() -> None:
    true = three_frames()
    ours = true.clone()
    ours[-2:] += 1.0
    for value in motion_losses(ours, true, MOVING).values():
        assert value.item() == 0.0


# --- neighbouring windows


@pytest.mark.parametrize("moving", [0, 2, 5])
def test_some_sequences_give_three_windows_and_the_others_their_newest(moving: int) -> None:
    frames = WINDOW + people.ANSWERS - 1
    windows = windows_of(torch.arange(5 * frames).view(5, frames), moving)
    assert people.ANSWERS == 3
    assert windows.shape == (3 * moving + 5 - moving, WINDOW)
    asked = [(answer, person) for answer in range(3) for person in range(moving)]
    asked += [(2, person) for person in range(moving, 5)]
    for window, (answer, person) in zip(windows, asked, strict=True):
        first = person * frames + answer
        assert window.tolist() == list(range(first, first + WINDOW))


@pytest.mark.parametrize("moving", [0, 5, 16])
def test_each_window_is_asked_for_its_newest_frame(batch: SyntheticBatch, moving: int) -> None:
    body, count = BodyModel(108), len(batch.betas)
    rays, visibility = windows_of(batch.rays, moving), windows_of(batch.visibility, moving)
    view = view_window(rays, visibility)
    target = targets_of(body, batch, view, moving)
    asked = [(answer, person) for answer in range(3) for person in range(moving)]
    asked += [(2, person) for person in range(moving, count)]
    assert len(asked) == len(rays)
    for row, (answer, person) in enumerate(asked):
        frame = WINDOW - 1 + answer
        assert torch.equal(rays[row, -1], batch.rays[person, frame])
        pelvis = view.turn[row] @ batch.pelvis[person, answer]
        torch.testing.assert_close(target.pelvis[row], pelvis)
        _, joints = body(batch.rotations[person, answer][None], batch.betas[person][None])
        torch.testing.assert_close(
            target.joints[row] @ view.turn[row], joints[0], atol=1e-5, rtol=0
        )


def test_errors_are_millimetres_in_the_camera() -> None:
    """Three windows of two people, each in a view of its own."""
    body, view = BodyModel(108), view_of(6)
    pelvis = torch.tensor([0.0, 0.0, 4.0]).expand(6, 3)
    target = target_in_view(body, random_pose(1, 6), random_betas(1, 6), pelvis, view)
    exact = errors(target.joints, target.vertices, target, view)
    assert exact == pytest.approx(dict.fromkeys(exact, 0.0), abs=0.01)
    assert set(exact) == {"mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "accel_mm"}
    jump = torch.zeros(6, 1, 3)
    jump[2:4, :, 0] = 0.01  # both people, in the middle frame, along the camera's x
    in_view = jump @ view.turn.transpose(1, 2)
    moved = target.joints + in_view
    jumping = errors(moved, target.vertices + 2 * in_view, target, view)
    assert jumping["accel_mm"] == pytest.approx(20.0, rel=1e-3)
    assert jumping["mpvpe_mm"] == pytest.approx(20.0 / 3, rel=1e-3)
    assert jumping["mpjpe_mm"] == pytest.approx(10.0 / 3, rel=1e-3)
    assert jumping["pa_mpjpe_mm"] == pytest.approx(0.0, abs=0.01)
    # the same error in every frame, in the camera: no jerk, though the views differ
    steady = torch.tensor([0.01, 0.0, 0.0]) @ view.turn.transpose(1, 2)
    resting = errors(target.joints + steady[:, None], target.vertices, target, view)
    assert resting["accel_mm"] == pytest.approx(0.0, abs=0.01)


# --- learning


@pytest.fixture(scope="module")
def batch() -> SyntheticBatch:
    library = MotionLibrary([retarget(lively(80))], frames=WINDOW + people.ANSWERS - 1)
    return SyntheticPeople(library, people.ANSWERS).sample_fixed(16)


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


def test_the_window_encoder_learns_a_batch_by_heart(batch: SyntheticBatch) -> None:
    torch.manual_seed(0)
    model = WindowEncoder(WINDOW, 21, width=64, blocks=1)
    values = losses_over(model, train_window_encoder.batch_losses, batch, 1e-2, 100)
    assert values[-1] < 0.5 * values[0]


def test_the_refiner_learns_a_batch_by_heart_while_the_encoder_stays(
    batch: SyntheticBatch,
) -> None:
    torch.manual_seed(0)
    model = STDFormerKeypoints(mesh_level=108)
    model.window_encoder.requires_grad_(False)
    frozen = model.window_encoder.input.weight.clone()
    few = SyntheticBatch(*(value[:4] for value in batch))
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
