"""What a new frame costs at run time, and whether encoding it once gives what was trained.

`python -m stdformer_ros.training.contest.bench --threads 2`
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from stdformer_ros.training.contest.answer import Asked, Candidate
from stdformer_ros.training.contest.candidates import CANDIDATES
from stdformer_ros.training.contest.views import see

FRAMES = 60


def people(count: int, frames: int = FRAMES) -> tuple[Tensor, Tensor, Tensor]:
    """Rays (B, F, 21, 2), visibility (B, F, 21) and seconds (B, F) of people who tremble."""
    stand = torch.linspace(-0.2, 0.2, 21)[:, None] * torch.tensor([0.3, 1.0])
    rays = stand + 0.01 * torch.randn(count, frames, 21, 2)
    visibility = (torch.rand(count, frames, 21) > 0.05).float()
    return rays, visibility, 0.02 + 0.03 * torch.rand(count, frames)


@torch.inference_mode()
def difference(model: Candidate) -> float:
    """The largest difference of rotation matrices between whole sequences and frame by frame."""
    rays, visibility, seconds = people(2, 30)
    at_once = model(see(rays, visibility, seconds), Asked(torch.arange(2), torch.tensor([29, 29])))
    memory = None
    for frame in range(30):
        memory, answers = model.step(
            memory, rays[:, frame], visibility[:, frame], seconds[:, frame]
        )
    return float((answers.parameters.rotations - at_once.parameters.rotations).abs().max())


@torch.inference_mode()
def milliseconds(model: Candidate, count: int) -> tuple[float, float]:
    """Processor and wall clock time of a frame of so many people, medians."""
    rays, visibility, seconds = people(count)
    memory = None
    wall, processor = [], []
    for frame in range(FRAMES):
        began = time.perf_counter(), time.process_time()
        memory, _ = model.step(memory, rays[:, frame], visibility[:, frame], seconds[:, frame])
        wall.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
    middle = [sorted(values[10:])[(FRAMES - 10) // 2] for values in (processor, wall)]
    return 1e3 * middle[0], 1e3 * middle[1]


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    for name, entry in CANDIDATES.items():
        model = entry.make().eval()
        costs = [
            f"{count}: {cpu:.1f} ms of processor, {wall:.1f} ms"
            for count in (1, 4)
            for cpu, wall in [milliseconds(model, count)]
        ]
        size = sum(p.numel() for p in model.parameters()) / 1e6
        print(
            f"{name}, {size:.1f} M: people {', '.join(costs)}; off {difference(model):.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
