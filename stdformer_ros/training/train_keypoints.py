"""Training of the networks that lift a window of 2D keypoints to one 3D pose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.lifting.keypoint_network import FRAMES, KeypointNetwork
from stdformer_ros.models.lifting.posenets import LSTMPoseNet
from stdformer_ros.training.data.keypoint_windows import KeypointBatch, KeypointSource
from stdformer_ros.training.loop import (
    Losses,
    Precision,
    RunState,
    Schedule,
    optimizer_of,
    train,
)

VALIDATION_SIZE = 2000
"""Sequences of the validation subjects that errors are measured on."""


def sequence_length(model: KeypointNetwork, answers: int) -> int:
    """Length of a sequence in which the network answers for `answers` consecutive frames."""
    return model.frames if isinstance(model, LSTMPoseNet) else model.frames + answers - 1


def train_keypoint_network(
    model: KeypointNetwork,
    train_data: KeypointSource,
    val_data: KeypointSource,
    run_folder: Path,
    schedule: Schedule,
    precision: Precision,
    report: Callable[[str], None] = print,
) -> KeypointNetwork:
    """Train, or resume the training in `run_folder`; returns the moving average.

    Args:
        model: on its device; it is trained in place.
        train_data: training data on the same device.
        val_data: validation data on the same device.
        run_folder: for checkpoints and the log.
        schedule: how long and with which learning rates.
        precision: of the network's matrix products.
        report: receives lines about the progress.
    """
    state = RunState(
        run_folder,
        model,
        optimizer_of(model, schedule),
        schedule.ema_decay,
        precision.scaler(),
    )

    def losses(network: KeypointNetwork) -> Losses:
        batch = train_data.sample(schedule.sequences)
        with precision.autocast():
            poses = answers(network, batch)
        return {"mpjpe": position_loss(poses.float(), batch.poses)}

    return train(state, schedule, losses, lambda m: evaluate(m, val_data), report)


def answers(model: KeypointNetwork, batch: KeypointBatch) -> Tensor:
    """The network's poses (B, K, 17, 3) for the frames whose true poses the batch has.

    Each frame is encoded once and shared by neighbouring windows, as in streaming. An LSTM runs
    through the sequence once and answers after every frame.
    """
    count = batch.poses.shape[1]
    frames = model.encode(batch.keypoints.flatten(0, 1))[FRAMES]
    frames = frames.unflatten(0, batch.keypoints.shape[:2])
    if isinstance(model, LSTMPoseNet):
        return model.every_pose(frames)[:, -count:]
    windows = frames.unfold(1, model.frames, 1).transpose(2, 3)  # (B, K, frames, C)
    return model.pose_of(windows.flatten(0, 1)).unflatten(0, (-1, count))


def position_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """MPJPE in metres of poses (..., 17, 3), the published loss of all these networks."""
    return torch.linalg.vector_norm(predicted - true, dim=-1).mean()


@torch.no_grad()
def evaluate(model: KeypointNetwork, people: KeypointSource) -> dict[str, float]:
    """Errors in mm of the last answer on validation data, 17 joints."""
    batch = people.sample_fixed(VALIDATION_SIZE)
    windows = batch.keypoints[:, -model.frames :]
    pose = torch.cat([model(part)["pose"][:, 0] for part in windows.split(256)])
    return {
        "mpjpe_mm": float(mean_position_error(pose, batch.poses[:, -1]).mean()),
        "pa_mpjpe_mm": float(aligned_position_error(pose, batch.poses[:, -1]).mean()),
    }
