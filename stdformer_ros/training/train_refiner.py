"""Second stage of the default estimator: SD, TD and the vertex transformer learn what is left.

The window encoder stays as the first stage left it; what is trained here starts as the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera import weak_perspective_to_metres
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.stdformer_keypoints import WINDOW, STDFormerKeypoints
from stdformer_ros.models.window_encoder import WindowEncoder
from stdformer_ros.training.loop import Losses, Schedule, optimizer_of, train
from stdformer_ros.training.people import ANSWERS, people_of
from stdformer_ros.training.run_state import RunState
from stdformer_ros.training.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.targets import project, target_in_view, velocity_loss
from stdformer_ros.training.train_window_encoder import errors


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
    """Train, or go on training, in `run_folder`; returns the moving average.

    Args:
        motion_folder: BVH clips.
        run_folder: checkpoints and log.
        window_encoder: of the first stage; copied and frozen.
        schedule: see there.
        spatial: whether there is SD, for the ablation.
        temporal: whether there is TD, for the ablation.
        device: as torch names it.
        report: takes a line of progress.
    """
    torch.manual_seed(schedule.seed)
    people, unseen = people_of(motion_folder, device)
    body = BodyModel(level=108).to(device)
    model = STDFormerKeypoints(spatial=spatial, temporal=temporal, mesh_level=108).to(device)
    model.window_encoder.load_state_dict(window_encoder.state_dict())
    model.window_encoder.requires_grad_(False)
    state = RunState(run_folder, model, optimizer_of(model, schedule), schedule.ema_decay)
    return train(
        state,
        schedule,
        lambda m: batch_losses(m, body, people.sample(schedule.sequences)),
        lambda m: evaluate(m, body, unseen),
        report,
    )


def batch_losses(model: STDFormerKeypoints, body: BodyModel, batch: SyntheticBatch) -> Losses:
    """Losses over the neighbouring windows of a batch, velocity included."""
    total: Losses = {}
    bodies: list[tuple[Tensor, Tensor]] = []
    features = _encode(model, batch)
    for answer in range(ANSWERS):
        window = slice(answer, answer + WINDOW)
        with torch.autocast(batch.rays.device.type, torch.bfloat16):
            result = model.decode({name: value[:, window] for name, value in features.items()})
        target = target_in_view(
            body, batch.rotations[:, answer], batch.betas, batch.pelvis[:, answer], result.view
        )
        half_size = result.view.half_size
        place = weak_perspective_to_metres(result.camera.float(), half_size)
        ours = torch.cat([result.joints, result.vertices], dim=1).float()
        true = torch.cat([target.joints, target.vertices], dim=1)
        projected = project(ours, place, half_size) - project(true, target.pelvis, half_size)
        for name, value in {
            "joints": 10.0 * (result.joints - target.joints).abs().mean(),
            "vertices": 10.0 * (result.vertices - target.vertices).abs().mean(),
            "projection": 2.0 * projected.clamp(-1, 1).abs().mean(),
            "distance": 0.3 * (place[:, 2].log() - target.pelvis[:, 2].log()).abs().mean(),
        }.items():
            total[name] = total.get(name, torch.zeros_like(value)) + value / ANSWERS
        bodies.append((ours @ result.view.turn, true @ result.view.turn))
    (first, true_first), (second, true_second) = bodies
    total["velocity"] = 6.0 * velocity_loss(first, second, true_first, true_second)
    return total


@torch.no_grad()
def evaluate(
    model: STDFormerKeypoints, body: BodyModel, people: SyntheticPeople
) -> dict[str, float]:
    """Errors on unseen subjects: of the answer, and of the first mesh alone (`first_*`)."""
    batch = people.sample_fixed(1000)
    window = slice(ANSWERS - 1, ANSWERS - 1 + WINDOW)
    result = model.decode({k: v[:, window] for k, v in _encode(model, batch).items()})
    target = target_in_view(
        body, batch.rotations[:, -1], batch.betas, batch.pelvis[:, -1], result.view
    )
    true = target.joints, target.vertices
    vertices, joints = body(result.parameters.rotations, result.parameters.betas)
    first = {f"first_{name}": value for name, value in errors(joints, vertices, *true).items()}
    return errors(result.joints, result.vertices, *true) | first


def _encode(model: STDFormerKeypoints, batch: SyntheticBatch) -> Features:
    """Every frame of the sequences once."""
    shape = batch.visibility.shape[:2]
    features = model.encode(batch.rays.flatten(0, 1), batch.visibility.flatten(0, 1))
    return {name: value.unflatten(0, shape) for name, value in features.items()}
