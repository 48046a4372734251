"""First stage of the default estimator: train the window encoder on synthetic people."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import torch
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.landmarks import LANDMARK_NAMES
from stdformer_ros.evaluation.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.window_encoder import WindowEncoder
from stdformer_ros.models.window_view import view_window
from stdformer_ros.training.motion_library import MotionLibrary, read_motion
from stdformer_ros.training.run_state import RunState
from stdformer_ros.training.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.targets import parameter_losses, target_in_view, velocity_loss

HELD_OUT = ("cmu_03_", "cmu_07_", "cmu_10_", "cmu_12_")
"""Subjects never trained on, to steer by."""

WINDOW = 8
ANSWERS = 2
"""Neighbouring windows per sequence, so that velocities can be compared."""


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Attributes:
        steps: optimiser steps in all.
        sequences: per step; each holds `ANSWERS` windows.
        learning_rate: the highest, after `warmup` steps; falls to a hundredth on a cosine.
    """

    steps: int
    sequences: int
    learning_rate: float
    warmup: int = 300
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        part = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + cos(pi * min(part, 1.0))))


def train_window_encoder(
    motion_folder: Path,
    run_folder: Path,
    schedule: Schedule,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> WindowEncoder:
    """Train, or go on training, in `run_folder`; returns the moving average."""
    torch.manual_seed(schedule.seed)
    frames = WINDOW + ANSWERS - 1
    people = SyntheticPeople(
        MotionLibrary(read_motion(motion_folder, exclude=HELD_OUT), frames, device),
        ANSWERS,
        device,
    )
    unseen = SyntheticPeople(
        MotionLibrary(_only(motion_folder, HELD_OUT), frames, device), ANSWERS, device
    )
    body = BodyModel(level=108).to(device)
    model = WindowEncoder(WINDOW, len(LANDMARK_NAMES)).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    state = RunState(run_folder, model, optimizer, schedule.ema_decay)
    if state.resume():
        report(f"going on at step {state.step}")
    torch.manual_seed(schedule.seed + state.step)
    began, last = time.monotonic(), state.step
    while state.step < schedule.steps:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(state.step)
        losses = batch_losses(model, body, people.sample(schedule.sequences))
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_clip)
        optimizer.step()
        state.after_step()
        if state.step % 250 == 0 or state.step == schedule.steps:
            row = {k: v.item() for k, v in losses.items()} | evaluate(state.ema, body, unseen)
            state.log(row)
            state.save()
            pace = (state.step - last) * schedule.sequences * ANSWERS / (time.monotonic() - began)
            began, last = time.monotonic(), state.step
            text = " ".join(f"{k} {v:.3f}" for k, v in row.items())
            report(f"step {state.step} {text} windows/s {pace:.0f}")
    return state.ema


def _only(folder: Path, subjects: tuple[str, ...]) -> list:
    from stdformer_ros.training.bvh import read_bvh
    from stdformer_ros.training.retarget import retarget

    paths = [p for p in sorted(folder.glob("*.bvh")) if any(s in p.name for s in subjects)]
    return [retarget(read_bvh(p)) for p in paths]


def batch_losses(model: WindowEncoder, body: BodyModel, batch: SyntheticBatch) -> dict[str, Tensor]:
    """Losses over the neighbouring windows of a batch, velocity included."""
    total: dict[str, Tensor] = {}
    bodies: list[tuple[Tensor, Tensor]] = []
    for answer in range(ANSWERS):
        window = slice(answer, answer + WINDOW)
        visibility = batch.visibility[:, window]
        view = view_window(batch.rays[:, window], visibility)
        target = target_in_view(
            body, batch.rotations[:, answer], batch.betas, batch.pelvis[:, answer], view
        )
        with torch.autocast(view.points.device.type, torch.bfloat16):
            parameters = model(view.points, visibility, view.half_size)
        vertices, joints = body(parameters.rotations, parameters.betas)
        for name, value in parameter_losses(parameters, vertices, joints, target, view).items():
            total[name] = total.get(name, torch.zeros_like(value)) + value / ANSWERS
        # row vectors: x @ turn is turn^T x, back to camera coordinates
        ours = torch.cat([joints, vertices], dim=1) @ view.turn
        true = torch.cat([target.joints, target.vertices], dim=1) @ view.turn
        bodies.append((ours, true))
    (first, true_first), (second, true_second) = bodies
    total["velocity"] = 3.0 * velocity_loss(first, second, true_first, true_second)
    return total


@torch.no_grad()
def evaluate(model: WindowEncoder, body: BodyModel, people: SyntheticPeople) -> dict[str, float]:
    """Errors on unseen subjects, newest frame, 24 joints and the coarsest mesh."""
    generator = torch.random.get_rng_state()
    torch.manual_seed(1234)
    batch = people.sample(1000)
    torch.random.set_rng_state(generator)
    window = slice(ANSWERS - 1, ANSWERS - 1 + WINDOW)
    view = view_window(batch.rays[:, window], batch.visibility[:, window])
    target = target_in_view(body, batch.rotations[:, -1], batch.betas, batch.pelvis[:, -1], view)
    parameters = model(view.points, batch.visibility[:, window], view.half_size)
    vertices, joints = body(parameters.rotations, parameters.betas)
    return {
        "mpjpe_mm": float(mean_position_error(joints, target.joints).mean()),
        "pa_mpjpe_mm": float(aligned_position_error(joints, target.joints).mean()),
        "mpvpe_mm": float(mean_position_error(vertices, target.vertices).mean()),
    }
