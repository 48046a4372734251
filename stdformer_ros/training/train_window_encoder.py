"""First stage of the default estimator: train the window encoder on synthetic people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.landmarks import LANDMARK_NAMES
from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.stdformer_keypoints import WINDOW
from stdformer_ros.models.window_encoder import WindowEncoder
from stdformer_ros.models.window_view import view_window
from stdformer_ros.training.loop import Losses, Schedule, optimizer_of, train
from stdformer_ros.training.people import ANSWERS, people_of
from stdformer_ros.training.run_state import RunState
from stdformer_ros.training.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.targets import parameter_losses, target_in_view, velocity_loss


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
    """Losses over the neighbouring windows of a batch, velocity included."""
    total: Losses = {}
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
    total["velocity"] = 6.0 * velocity_loss(first, second, true_first, true_second)
    return total


@torch.no_grad()
def evaluate(model: WindowEncoder, body: BodyModel, people: SyntheticPeople) -> dict[str, float]:
    """Errors on unseen subjects, newest frame, 24 joints and the coarsest mesh."""
    batch = people.sample_fixed(1000)
    window = slice(ANSWERS - 1, ANSWERS - 1 + WINDOW)
    view = view_window(batch.rays[:, window], batch.visibility[:, window])
    target = target_in_view(body, batch.rotations[:, -1], batch.betas, batch.pelvis[:, -1], view)
    parameters = model(view.points, batch.visibility[:, window], view.half_size)
    vertices, joints = body(parameters.rotations, parameters.betas)
    return errors(joints, vertices, target.joints, target.vertices)


def errors(
    joints: Tensor, vertices: Tensor, true_joints: Tensor, true_vertices: Tensor
) -> dict[str, float]:
    """Mean errors in millimetres of pelvis-aligned bodies, (B, N, 3) metres each."""
    return {
        "mpjpe_mm": float(mean_position_error(joints, true_joints).mean()),
        "pa_mpjpe_mm": float(aligned_position_error(joints, true_joints).mean()),
        "mpvpe_mm": float(mean_position_error(vertices, true_vertices).mean()),
    }
