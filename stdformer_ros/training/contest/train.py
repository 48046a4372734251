"""Train one candidate of the contest for so many seconds of the processor, or go on with it.

`python -m stdformer_ros.training.contest.train --candidate recurrent --archives FOLDER --out RUN`
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
import time
from math import cos, pi
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from stdformer_ros.training.contest.answer import AnswerHead
from stdformer_ros.training.contest.candidates import CANDIDATES, load_weights
from stdformer_ros.training.contest.data import Batch, FilmedPeople, fixed_batch, read_people
from stdformer_ros.training.contest.protocol import Plan, Protocol
from stdformer_ros.training.contest.window import WindowCandidate, inherit, shipped

WARM_UP = 100
"""Steps in which the learning rate rises."""
DECAY = 0.999
"""Of the moving average of the weights, which is what is judged."""
SETS = {
    "held": ("held_out", 30.0, True),
    "held_clean": ("held_out", 30.0, False),
    "steer": ("steering", 30.0, True),
    "steer_clean": ("steering", 30.0, False),
    "steer_15": ("steering", 15.0, True),
    "steer_10": ("steering", 10.0, True),
}
"""What is judged: whose motion, at how many images a second, and whether with noise."""
JUDGED_SEQUENCES, JUDGED_FRAMES = 240, 40


class Run:
    """A candidate, its moving average and optimiser, and how long they were trained.

    Args:
        folder: takes `last.pt`, `log.csv`.
        name: of the candidate.
        rate: highest learning rate.
    """

    def __init__(self, folder: Path, name: str, rate: float) -> None:
        self.folder, self.name = folder, name
        self.model = CANDIDATES[name].make()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=rate, weight_decay=0.01, fused=True
        )
        self.steps, self.sequences, self.seconds = 0, 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, path: Path, *, only_weights: bool = False) -> None:
        """Go on from a `last.pt`."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if not only_weights:
            self.seconds = saved["seconds"]
        self.steps, self.sequences = saved["steps"], saved["sequences"]

    def start_from(self, path: Path) -> None:
        """Start with the weights of a `last.pt` or of a kept file; the time counts from zero."""
        if path.suffix == ".pt":
            self.load(path, only_weights=True)
            return
        weights = load_weights(path).state_dict()
        self.model.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def inherit(self) -> None:
        """Start with what the shipped window encoder knows."""
        if isinstance(self.model, WindowCandidate):
            self.model.load_state_dict(shipped().state_dict())
        else:
            assert isinstance(self.model.head, AnswerHead)
            inherit(self.model.head, shipped().encoder)
        self.average.load_state_dict(self.model.state_dict())

    def save(self) -> None:
        """Write `last.pt`; an interrupted write leaves the one before whole."""
        part = self.folder / "last.part"
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "steps": self.steps,
                "sequences": self.sequences,
                "seconds": self.seconds,
            },
            part,
        )
        os.replace(part, self.folder / "last.pt")

    def keep(self, folder: Path, errors: dict[str, Any]) -> None:
        """The moving average in half precision, and a JSON file that says what it is."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.folder.name}_{self.steps}.safetensors"
        weights = {k: v.half().contiguous() for k, v in self.average.state_dict().items()}
        save_file(weights, path, metadata={"candidate": self.name})
        about = {
            "candidate": self.name,
            "steps": self.steps,
            "sequences": self.sequences,
            "cpu_seconds": round(self.seconds),
            "errors": errors,
        }
        path.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def step(self, protocol: Protocol, batch: Batch, plan: Plan, rate: float) -> dict[str, float]:
        """One step of the optimiser."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = protocol.losses(self.model, batch, plan)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        self.sequences += len(batch.betas)
        self._follow()
        return {name: value.item() for name, value in losses.items()} | {"norm": norm.item()}

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(DECAY, self.steps / (self.steps + 10))
        ours: list[torch.Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(list(self.average.parameters()), ours, 1 - decay)


def learning_rate(highest: float, steps: int, done: float) -> float:
    """After so many steps, with a part 0..1 of the time gone."""
    return highest * min((steps + 1) / WARM_UP, 0.5 * (1 + cos(pi * min(done, 1.0))))


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidate", choices=sorted(CANDIDATES), required=True)
    parser.add_argument("--archives", type=Path, required=True, help="folder of .npz motion")
    parser.add_argument("--bvh", type=Path, help="folder of BVH clips that the archives lack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--cpu-seconds", type=float, default=840.0, help="to train in all")
    parser.add_argument("--start-from", type=Path, help="last.pt or kept file to start from")
    parser.add_argument(
        "--inherit", action="store_true", help="start with what the shipped window encoder knows"
    )
    parser.add_argument("--learning-rate", type=float, help="instead of the candidate's own")
    parser.add_argument("--sequences", type=int, help="of a batch, instead of the candidate's own")
    parser.add_argument("--report-every", type=float, default=120.0, help="seconds of training")
    parser.add_argument("--keep", type=Path, help="folder for weights in half precision")
    parser.add_argument("--keep-every", type=float, default=3600.0, help="seconds of training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    entry = CANDIDATES[options.candidate]
    rate = options.learning_rate or entry.learning_rate
    run = Run(options.out, options.candidate, rate)
    if (options.out / "last.pt").exists():
        run.load(options.out / "last.pt")
    elif options.start_from:
        run.start_from(options.start_from)
    elif options.inherit:
        run.inherit()
    torch.manual_seed(options.seed + run.steps)

    people = read_people(options.archives, options.bvh)
    filmed = FilmedPeople(people.training, entry.frames, options.sequences or entry.sequences)
    judged = {
        name: fixed_batch(getattr(people, who), JUDGED_SEQUENCES, JUDGED_FRAMES, hertz, noisy)
        for name, (who, hertz, noisy) in SETS.items()
    }
    protocol = Protocol()
    count = sum(p.numel() for p in run.model.parameters()) / 1e6
    print(
        f"{options.candidate}: {count:.1f} M parameters, "
        f"{people.training.minutes:.0f} minutes of motion",
        flush=True,
    )

    def report(losses: dict[str, float]) -> dict[str, Any]:
        errors = {
            f"{name}_{key}": round(value, 2)
            for name, batch in judged.items()
            for key, value in protocol.errors(run.average, batch).items()
        }
        row = {
            "seconds": round(run.seconds, 1),
            "steps": run.steps,
            "sequences": run.sequences,
            **errors,
            **{f"loss_{name}": round(value, 4) for name, value in losses.items()},
        }
        path = options.out / "log.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        run.save()
        print(json.dumps(row), flush=True)
        return errors

    reported, kept = run.seconds, run.seconds
    sums: dict[str, float] = {}
    since = 0
    while run.seconds < options.cpu_seconds:
        began = time.process_time()
        now = learning_rate(rate, run.steps, run.seconds / options.cpu_seconds)
        losses = run.step(protocol, filmed.sample(), entry.plan, now)
        run.seconds += time.process_time() - began
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
        since += 1
        over = run.seconds >= options.cpu_seconds
        if over or run.seconds - reported >= options.report_every:
            errors = report({name: value / since for name, value in sums.items()})
            reported, sums, since = run.seconds, {}, 0
            if options.keep and (over or run.seconds - kept >= options.keep_every):
                run.keep(options.keep, errors)
                kept = run.seconds


if __name__ == "__main__":
    main()
