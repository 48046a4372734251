"""Training of the default network in two stages, on synthetic people.

1. `train_window_encoder` trains the window encoder, which gives the parameters of a body.
2. `train_refiner` freezes it and trains the rest: spatial and temporal disentangling (SD and TD)
   and the vertex transformer learn to correct the remaining errors. Before training, this second
   stage is the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.models.default.network import WINDOW, STDFormerKeypoints
from stdformer_ros.models.default.window_encoder import WindowEncoder
from stdformer_ros.models.default.window_view import view_window
from stdformer_ros.models.estimator import Features
from stdformer_ros.training.loop import Losses, M, RunState, Schedule, optimizer_of, train
from stdformer_ros.training.people.motion_library import MotionLibrary, read_split
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.targets import (
    ANSWERS,
    errors,
    motion_losses,
    parameter_losses,
    point_losses,
    targets_of,
    windows_of,
)

BatchLosses = Callable[[M, BodyModel, SyntheticBatch], Losses]
"""The weighted losses of a model on a batch."""
Evaluate = Callable[[M, BodyModel, SyntheticPeople], dict[str, float]]
"""The errors of a model on validation subjects."""


def train_window_encoder(
    motion_folder: Path,
    run_folder: Path,
    schedule: Schedule,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> WindowEncoder:
    """First stage: train, or resume the training in `run_folder`; returns the moving average.

    Args:
        motion_folder: BVH clips.
        run_folder: for checkpoints and the log.
        schedule: how long and with which learning rates.
        device: as torch names it.
        report: receives lines about the progress.
    """
    torch.manual_seed(schedule.seed)
    people = _people(motion_folder, device)
    model = WindowEncoder(WINDOW, len(LANDMARK_NAMES)).to(device)
    return _train_stage(
        model, window_encoder_losses, evaluate_window_encoder, people, run_folder, schedule, report
    )


def train_refiner(
    motion_folder: Path,
    run_folder: Path,
    window_encoder: WindowEncoder,
    schedule: Schedule,
    *,
    spatial: bool = True,
    temporal: bool = True,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> STDFormerKeypoints:
    """Second stage: train, or resume the training in `run_folder`; returns the moving average.

    Args:
        motion_folder: BVH clips.
        run_folder: for checkpoints and the log.
        window_encoder: of the first stage; it is copied and frozen.
        schedule: how long and with which learning rates.
        spatial: whether the network has SD, for the ablation.
        temporal: whether the network has TD, for the ablation.
        device: as torch names it.
        report: receives lines about the progress.
    """
    torch.manual_seed(schedule.seed)
    people = _people(motion_folder, device)
    model = STDFormerKeypoints(spatial=spatial, temporal=temporal, mesh_level=108).to(device)
    model.window_encoder.load_state_dict(window_encoder.state_dict())
    model.window_encoder.requires_grad_(False)
    return _train_stage(
        model, refiner_losses, evaluate_refiner, people, run_folder, schedule, report
    )


def _people(motion_folder: Path, device: str) -> tuple[SyntheticPeople, SyntheticPeople]:
    """Synthetic people with the motion of the training subjects, and of the validation subjects."""
    frames = WINDOW + ANSWERS - 1
    train_data, val_data = (
        SyntheticPeople(MotionLibrary(clips, frames, device), ANSWERS, device)
        for clips in read_split(motion_folder)
    )
    return train_data, val_data


def _train_stage(
    model: M,
    batch_losses: BatchLosses[M],
    evaluate: Evaluate[M],
    people: tuple[SyntheticPeople, SyntheticPeople],
    run_folder: Path,
    schedule: Schedule,
    report: Callable[[str], None],
) -> M:
    """What both stages share: the body, the run's state, and the loop."""
    train_data, val_data = people
    device = next(model.parameters()).device
    body = BodyModel(level=108).to(device)
    state = RunState(run_folder, model, optimizer_of(model, schedule), schedule.ema_decay)
    return train(
        state,
        schedule,
        lambda m: batch_losses(m, body, train_data.sample(schedule.sequences)),
        lambda m: evaluate(m, body, val_data),
        report,
    )


def window_encoder_losses(model: WindowEncoder, body: BodyModel, batch: SyntheticBatch) -> Losses:
    """Losses over the windows of a batch; a third of the sequences have motion losses too."""
    moving = max(len(batch.betas) // 3, 1)
    rays, visibility = windows_of(batch.rays, moving), windows_of(batch.visibility, moving)
    view = view_window(rays, visibility)
    target = targets_of(body, batch, view, moving)
    with torch.autocast(rays.device.type, torch.bfloat16):
        parameters = model(view.points, visibility, view.half_size)
    vertices, joints = body(parameters.rotations, parameters.betas)
    total = parameter_losses(parameters, vertices, joints, target, view)
    # For row vectors, x @ turn is turn^T x: it rotates from the view to the camera.
    ours = torch.cat([joints, vertices], dim=1) @ view.turn
    true = torch.cat([target.joints, target.vertices], dim=1) @ view.turn
    return total | motion_losses(ours, true, moving)


@torch.no_grad()
def evaluate_window_encoder(
    model: WindowEncoder, body: BodyModel, people: SyntheticPeople
) -> dict[str, float]:
    """Errors in mm of the windows' newest frames: 24 joints and the coarsest mesh."""
    batch = people.sample_fixed(1000)
    moving = len(batch.betas)
    rays, visibility = windows_of(batch.rays, moving), windows_of(batch.visibility, moving)
    view = view_window(rays, visibility)
    target = targets_of(body, batch, view, moving)
    parameters = model(view.points, visibility, view.half_size)
    vertices, joints = body(parameters.rotations, parameters.betas)
    return errors(joints, vertices, target, view)


def refiner_losses(model: STDFormerKeypoints, body: BodyModel, batch: SyntheticBatch) -> Losses:
    """Losses over the windows of a batch; a third of the sequences have motion losses too."""
    features = _encode(model, batch)
    moving = max(len(batch.betas) // 3, 1)
    with torch.autocast(batch.rays.device.type, torch.bfloat16):
        result = model.decode({name: windows_of(value, moving) for name, value in features.items()})
    view = result.view
    target = targets_of(body, batch, view, moving)
    place = weak_perspective_to_metres(result.camera.float(), view.half_size)
    ours = torch.cat([result.joints, result.vertices], dim=1).float()
    true = torch.cat([target.joints, target.vertices], dim=1)
    losses = point_losses(result.joints.float(), result.vertices.float(), place, target, view)
    return losses | motion_losses(ours @ view.turn, true @ view.turn, moving)


@torch.no_grad()
def evaluate_refiner(
    model: STDFormerKeypoints, body: BodyModel, people: SyntheticPeople
) -> dict[str, float]:
    """Errors in mm of the answer, and of the window encoder's body alone (`first_*`)."""
    batch = people.sample_fixed(500)
    features = _encode(model, batch)
    moving = len(batch.betas)
    result = model.decode({name: windows_of(value, moving) for name, value in features.items()})
    target = targets_of(body, batch, result.view, moving)
    vertices, joints = body(result.parameters.rotations, result.parameters.betas)
    first = errors(joints, vertices, target, result.view)
    return errors(result.joints, result.vertices, target, result.view) | {
        f"first_{name}": value for name, value in first.items()
    }


def _encode(model: STDFormerKeypoints, batch: SyntheticBatch) -> Features:
    """The features (B, F, ...) of all frames of the sequences; each frame is encoded once."""
    shape = batch.visibility.shape[:2]
    features = model.encode(batch.rays.flatten(0, 1), batch.visibility.flatten(0, 1))
    return {name: value.unflatten(0, shape) for name, value in features.items()}
