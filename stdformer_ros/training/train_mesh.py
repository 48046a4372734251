"""Training of STDFormer and FastMETRO from windows of crops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.training.data.mesh_windows import MeshSource
from stdformer_ros.training.loop import RATE_FACTOR, Losses, Schedule, train
from stdformer_ros.training.mesh_losses import MeshAnswer
from stdformer_ros.training.precision import Precision
from stdformer_ros.training.run_state import RunState

BACKBONE_FACTOR = 0.1
"""The backbone's learning rate in that of the rest: 1e-5 with 1e-4, as published."""
UNSEEN = 16
"""Windows of unseen people that errors are measured on."""


def train_mesh_network(
    model: STDFormer,
    answer: MeshAnswer,
    seen: MeshSource,
    unseen: MeshSource,
    run_folder: Path,
    schedule: Schedule,
    precision: Precision,
    report: Callable[[str], None] = print,
) -> STDFormer:
    """Train, or go on training, in `run_folder`; returns the moving average.

    Args:
        model: made with a mesh, on its device; trained in place.
        answer: how its answers are compared, on the same device.
        seen: what to learn from.
        unseen: what to measure on.
        run_folder: checkpoints and log.
        schedule: see there.
        precision: of the network's matrix products.
        report: takes a line of progress.
    """
    device = answer.regressor.device
    backbone = list(model.backbone.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    groups: list[dict[str, Any]] = [
        {"params": rest},
        {"params": backbone, RATE_FACTOR: BACKBONE_FACTOR},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
    )
    state = RunState(run_folder, model, optimizer, schedule.ema_decay, precision.scaler())

    def losses(network: STDFormer) -> Losses:
        batch = seen.sample(schedule.sequences).to(device)
        with precision.autocast():
            predicted = network(batch.images)
        return answer.losses(predicted, batch)

    return train(state, schedule, losses, lambda m: evaluate(m, answer, unseen), report)


@torch.no_grad()
def evaluate(model: STDFormer, answer: MeshAnswer, people: MeshSource) -> dict[str, float]:
    """Errors of the newest frame on unseen people: 14 regressed joints and the mesh, mm."""
    batch = people.sample_fixed(UNSEEN)
    newest = []
    for images in batch.images.split(4):
        ours = answer.aligned(model(images.to(answer.regressor.device)))
        newest.append([ours[name][:, -1].cpu() for name in ("regressed", "fine")])
    joints, vertices = (torch.cat(parts) for parts in zip(*newest, strict=True))
    true = batch.joints[:, -1]
    return {
        "mpjpe_mm": float(mean_position_error(joints, true).mean()),
        "pa_mpjpe_mm": float(aligned_position_error(joints, true).mean()),
        "mpvpe_mm": float(mean_position_error(vertices, batch.vertices[:, -1]).mean()),
    }
