"""The training loop that all networks share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor, nn

from stdformer_ros.training.run_state import M, RunState

Losses = dict[str, Tensor]

RATE_FACTOR = "rate_factor"
"""Key of an optimiser's group of parameters: what its learning rate is multiplied by."""


def cosine(part: float) -> float:
    """Falls to a hundredth on a cosine."""
    return 0.01 + 0.99 * 0.5 * (1 + cos(pi * min(part, 1.0)))


def constant(part: float) -> float:
    """Stays."""
    return 1.0


def exponential(final: float) -> Callable[[float], float]:
    """Falls by the same factor in every epoch, to `final` at the end."""
    return lambda part: final ** min(part, 1.0)


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Attributes:
        steps: optimiser steps in all.
        sequences: per step.
        learning_rate: the highest, after `warmup` steps.
        fall: by what factor it falls, of the part of the steps after `warmup` that are done.
        gradient_clip: largest norm of the gradient of all parameters; infinite for none.
        ema_decay: of the moving average that is evaluated and shipped; 0 for the last step's.
        report_every: steps between evaluations, log rows and checkpoints.
    """

    steps: int
    sequences: int
    learning_rate: float
    warmup: int = 300
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    report_every: int = 250
    seed: int = 0
    fall: Callable[[float], float] = cosine

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        part = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.learning_rate * self.fall(part)


def train(
    state: RunState[M],
    schedule: Schedule,
    losses_of: Callable[[M], Losses],
    evaluate: Callable[[M], dict[str, float]],
    report: Callable[[str], None],
) -> M:
    """Train until the schedule ends, from where the run's folder left off.

    Args:
        state: model, optimiser and folder.
        schedule: see there.
        losses_of: the weighted losses of the model on a fresh batch.
        evaluate: errors of the moving average on unseen data.
        report: takes a line of progress.

    Returns:
        The moving average.
    """
    if state.resume():
        report(f"going on at step {state.step}")
    torch.manual_seed(schedule.seed + state.step)
    trained = [p for group in state.optimizer.param_groups for p in group["params"]]
    began, last = time.monotonic(), state.step
    while state.step < schedule.steps:
        for group in state.optimizer.param_groups:
            group["lr"] = schedule.rate(state.step) * group.get(RATE_FACTOR, 1.0)
        losses = losses_of(state.model)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(torch.stack(list(losses.values())).sum()).backward()
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(trained, schedule.gradient_clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.after_step()
        if state.step % schedule.report_every == 0 or state.step == schedule.steps:
            row = {k: v.item() for k, v in losses.items()} | evaluate(state.ema)
            state.log(row)
            state.save()
            # as after resuming from here, so that the random numbers are those of a whole run
            torch.manual_seed(schedule.seed + state.step)
            pace = (state.step - last) * schedule.sequences / (time.monotonic() - began)
            began, last = time.monotonic(), state.step
            text = " ".join(f"{k} {v:.3f}" for k, v in row.items())
            report(f"step {state.step} {text} sequences/s {pace:.0f}")
    return state.ema


def optimizer_of(model: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW over what of the model is not frozen."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
