"""First stage of the default estimator: train the window encoder on synthetic people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.models.default.window_encoder import WindowEncoder
from stdformer_ros.models.default.window_view import view_window
from stdformer_ros.training.loop import Losses, Schedule, optimizer_of, train
from stdformer_ros.training.people.subjects import people_of
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.run_state import RunState
from stdformer_ros.training.targets import (
    errors,
    motion_losses,
    parameter_losses,
    targets_of,
    windows_of,
)


def train_window_encoder(
    motion_folder: Path,
    run_folder: Path,
    schedule: Schedule,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> WindowEncoder:
    """Train, or go on training, in `run_folder`; returns the moving average."""
    torch.manual_seed(schedule.seed)
    people, unseen = people_of(motion_folder, device)
    body = BodyModel(level=108).to(device)
    model = WindowEncoder(WINDOW, len(LANDMARK_NAMES)).to(device)
    state = RunState(run_folder, model, optimizer_of(model, schedule), schedule.ema_decay)
    return train(
        state,
        schedule,
        lambda m: batch_losses(m, body, people.sample(schedule.sequences)),
        lambda m: evaluate(m, body, unseen),
        report,
    )


def batch_losses(model: WindowEncoder, body: BodyModel, batch: SyntheticBatch) -> Losses:
    """Losses over windows of a batch; of a third of the sequences on their motion, too."""
    moving = max(len(batch.betas) // 3, 1)
    rays, visibility = windows_of(batch.rays, moving), windows_of(batch.visibility, moving)
    view = view_window(rays, visibility)
    target = targets_of(body, batch, view, moving)
    with torch.autocast(rays.device.type, torch.bfloat16):
        parameters = model(view.points, visibility, view.half_size)
    vertices, joints = body(parameters.rotations, parameters.betas)
    total = parameter_losses(parameters, vertices, joints, target, view)
    # row vectors: x @ turn is turn^T x, back to camera coordinates
    ours = torch.cat([joints, vertices], dim=1) @ view.turn
    true = torch.cat([target.joints, target.vertices], dim=1) @ view.turn
    return total | motion_losses(ours, true, moving)


@torch.no_grad()
def evaluate(model: WindowEncoder, body: BodyModel, people: SyntheticPeople) -> dict[str, float]:
    """Errors on unseen subjects, newest frames of windows, 24 joints and the coarsest mesh."""
    batch = people.sample_fixed(1000)
    moving = len(batch.betas)
    rays, visibility = windows_of(batch.rays, moving), windows_of(batch.visibility, moving)
    view = view_window(rays, visibility)
    target = targets_of(body, batch, view, moving)
    parameters = model(view.points, visibility, view.half_size)
    vertices, joints = body(parameters.rotations, parameters.betas)
    return errors(joints, vertices, target, view)
