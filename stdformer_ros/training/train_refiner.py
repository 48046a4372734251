"""Second stage of the default estimator: SD, TD and the vertex transformer learn what is left.

The window encoder stays as the first stage left it; what is trained here starts as the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.default.window_encoder import WindowEncoder
from stdformer_ros.models.estimator import Features
from stdformer_ros.training.loop import Losses, Schedule, optimizer_of, train
from stdformer_ros.training.people.subjects import people_of
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.training.run_state import RunState
from stdformer_ros.training.targets import (
    errors,
    motion_losses,
    point_losses,
    targets_of,
    windows_of,
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
    """Losses over windows of a batch; of a third of the sequences on their motion, too."""
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
def evaluate(
    model: STDFormerKeypoints, body: BodyModel, people: SyntheticPeople
) -> dict[str, float]:
    """Errors on unseen subjects: of the answer, and of the first mesh alone (`first_*`)."""
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
    """Every frame of the sequences once."""
    shape = batch.visibility.shape[:2]
    features = model.encode(batch.rays.flatten(0, 1), batch.visibility.flatten(0, 1))
    return {name: value.unflatten(0, shape) for name, value in features.items()}
