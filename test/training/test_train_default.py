"""Training of the default network: both stages learn."""

from __future__ import annotations

import torch
from torch import nn

from helpers.synthetic_batch import synthetic_batch
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.models.default.network import WINDOW, STDFormerKeypoints
from stdformer_ros.models.default.window_encoder import WindowEncoder
from stdformer_ros.training.people.synthetic import SyntheticBatch
from stdformer_ros.training.train_default import refiner_losses, window_encoder_losses


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


def test_the_window_encoder_overfits_a_batch() -> None:
    torch.manual_seed(0)
    model = WindowEncoder(WINDOW, 21, width=64, blocks=1)
    values = losses_over(model, window_encoder_losses, synthetic_batch(), 1e-2, 100)
    assert values[-1] < 0.5 * values[0]


def test_the_refiner_overfits_a_batch_while_the_encoder_is_frozen() -> None:
    torch.manual_seed(0)
    model = STDFormerKeypoints(mesh_level=108)
    model.window_encoder.requires_grad_(False)
    frozen = model.window_encoder.input.weight.clone()
    few = SyntheticBatch(*(value[:4] for value in synthetic_batch()))
    values = losses_over(model, refiner_losses, few, 1e-3, 15)
    assert values[-1] < 0.8 * values[0]
    assert torch.equal(model.window_encoder.input.weight, frozen)
