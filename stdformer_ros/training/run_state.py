"""What a training run needs to go on after an interruption, in one file."""

from __future__ import annotations

import copy
import csv
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class RunState(Generic[M]):
    """Model, its moving average, optimiser and step, saved together.

    Args:
        folder: of the run; holds `last.pt` and `log.csv`.
        model: trained in place.
        optimizer: of the model's trained parameters.
        ema_decay: of the moving average that evaluation and shipping use.
        scaler: of the loss, for training in half precision; None for one that does nothing.
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
        """Load the last save of this folder, if there is one.

        Raises:
            ValueError: if it is of another network.
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
                f"{self._file} is of a run with another network; go on with that one, or choose "
                f"another folder ({str(error).splitlines()[-1].strip()})"
            ) from error
        self.scaler.load_state_dict(saved.get("scaler", {}))
        self.step = saved["step"]
        return True

    def save(self) -> None:
        """Write all of it; an interrupted write leaves the previous file whole."""
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
        """Advance the step and the moving average, which starts as a plain mean."""
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
