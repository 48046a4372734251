"""The training loop that all networks share.

In this order: `Precision` of matrix products; `Schedule` with steps and learning rates; `RunState`,
which saves a run so that it can be resumed; `train`, the loop.
"""

from __future__ import annotations

import copy
import csv
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

Losses = dict[str, Tensor]
"""Weighted losses by name; their sum is minimised."""

M = TypeVar("M", bound=nn.Module)


class Precision(NamedTuple):
    """The precision in which matrix products are computed; parameters stay in float32.

    Attributes:
        device: type of the device, "cpu" or "cuda".
        dtype: of the products.
    """

    device: str
    dtype: torch.dtype

    def autocast(self) -> torch.autocast:
        """The context for the forward pass of the network."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device, self.dtype if enabled else None, enabled=enabled)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss for float16, which loses small gradients; does nothing for others."""
        return torch.amp.GradScaler(self.device, enabled=self.dtype == torch.float16)


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def precision_of(device: torch.device, name: str = "auto") -> Precision:
    """The precision for a device, by its name.

    Args:
        device: to train on.
        name: "auto" or one of `PRECISIONS`. "auto" is bfloat16 where the device supports it, and
            float16 on older GPUs.

    Raises:
        ValueError: if there is no such precision, or the device cannot train in it.
    """
    if name == "auto":
        old = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(device.type, torch.float16 if old else torch.bfloat16)
    if name not in PRECISIONS:
        raise ValueError(f"there is no precision {name!r}; choose auto, {', '.join(PRECISIONS)}")
    if name == "float16" and device.type == "cpu":
        raise ValueError("a CPU cannot train in float16; choose bfloat16 or float32")
    return Precision(device.type, PRECISIONS[name])


RATE_FACTOR = "rate_factor"
"""Key in a parameter group of an optimiser: factor on its learning rate, 1 by default."""


def cosine(part: float) -> float:
    """Learning-rate factor that falls to 0.01 on a cosine; `part` is the fraction of steps done."""
    return 0.01 + 0.99 * 0.5 * (1 + cos(pi * min(part, 1.0)))


def constant(part: float) -> float:
    """Learning-rate factor that stays 1."""
    return 1.0


def exponential(final: float) -> Callable[[float], float]:
    """Learning-rate factor that falls exponentially to `final` at the end."""
    return lambda part: final ** min(part, 1.0)


@dataclass(frozen=True)
class Schedule:
    """How long to train, and with which learning rates.

    Attributes:
        steps: number of optimiser steps.
        sequences: batch size.
        learning_rate: the highest one, reached after `warmup` steps.
        warmup: steps in which the learning rate rises linearly.
        weight_decay: of AdamW.
        gradient_clip: largest norm of the gradient of all parameters; infinite for no clipping.
        ema_decay: of the moving average (EMA) of the parameters, which is evaluated and exported;
            0 to use the parameters of the last step.
        report_every: steps between evaluations, log rows and checkpoints.
        seed: of all random numbers.
        decay: factor on the learning rate, given the fraction of the steps after `warmup` that are
            done.
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
    decay: Callable[[float], float] = cosine

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        part = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.learning_rate * self.decay(part)


class RunState(Generic[M]):
    """Model, its moving average (EMA), optimiser and step, which are saved together.

    Args:
        folder: of the run; `last.pt` and `log.csv` are written to it.
        model: it is trained in place.
        optimizer: of the model's trainable parameters.
        ema_decay: of the moving average, which is evaluated and exported.
        scaler: of the loss, for training in float16; None for no scaling.
    """

    def __init__(
        self,
        folder: Path,
        model: M,
        optimizer: torch.optim.Optimizer,
        ema_decay: float,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.folder = folder
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler or torch.amp.GradScaler(enabled=False)
        self.step = 0
        self.ema: M = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = ema_decay
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def _file(self) -> Path:
        return self.folder / "last.pt"

    def resume(self) -> bool:
        """Load the last checkpoint of this folder; returns whether there is one.

        Raises:
            ValueError: if it is a checkpoint of another network.
        """
        if not self._file.exists():
            return False
        saved = torch.load(self._file, map_location="cpu", weights_only=True)
        try:
            self.model.load_state_dict(saved["model"])
            self.ema.load_state_dict(saved["ema"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self._file} is a checkpoint of another network; resume that one, or choose "
                f"another folder ({str(error).splitlines()[-1].strip()})"
            ) from error
        self.scaler.load_state_dict(saved.get("scaler", {}))
        self.step = saved["step"]
        return True

    def save(self) -> None:
        """Write a checkpoint; if writing is interrupted, the previous one stays intact."""
        part = self._file.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "ema": self.ema.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "step": self.step,
            },
            part,
        )
        os.replace(part, self._file)

    @torch.no_grad()
    def after_step(self) -> None:
        """Advance the step and the moving average.

        The decay starts small, so that the average of the first steps is a plain mean.
        """
        self.step += 1
        decay = min(self._decay, self.step / (self.step + 10))
        for average, value in zip(
            self.ema.state_dict().values(), self.model.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to `log.csv`."""
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=["step", *row])
            if new:
                writer.writeheader()
            writer.writerow({"step": self.step, **row})


def train(
    state: RunState[M],
    schedule: Schedule,
    losses_of: Callable[[M], Losses],
    evaluate: Callable[[M], dict[str, float]],
    report: Callable[[str], None],
) -> M:
    """Train until the schedule ends; resume if the run's folder holds a checkpoint.

    Args:
        state: model, optimiser and folder.
        schedule: how long and with which learning rates.
        losses_of: returns the weighted losses of the model on a new batch.
        evaluate: returns errors of the moving average on validation data.
        report: receives lines about the progress.

    Returns:
        The moving average.
    """
    if state.resume():
        report(f"resuming at step {state.step}")
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
            # Resuming here sets the same seed, so an interrupted run gives the same numbers.
            torch.manual_seed(schedule.seed + state.step)
            pace = (state.step - last) * schedule.sequences / (time.monotonic() - began)
            began, last = time.monotonic(), state.step
            text = " ".join(f"{k} {v:.3f}" for k, v in row.items())
            report(f"step {state.step} {text} sequences/s {pace:.0f}")
    return state.ema


def optimizer_of(model: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW over all parameters of the model that are not frozen."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
