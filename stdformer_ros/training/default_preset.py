"""From a folder of BVH clips to the weights that ship, in two stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stdformer_ros.models.registry import DEFAULT_WEIGHTS
from stdformer_ros.training.export import export_weights
from stdformer_ros.training.loop import Schedule
from stdformer_ros.training.train_refiner import train_refiner
from stdformer_ros.training.train_window_encoder import train_window_encoder

WINDOW_ENCODER = Schedule(
    steps=26000, sequences=320, learning_rate=1e-3, gradient_clip=3.0, report_every=500
)
REFINER = Schedule(steps=200, sequences=64, learning_rate=1e-3, warmup=50, report_every=50)


def train_default(
    motion_folder: Path,
    run_folder: Path,
    device: str = "cpu",
    report: Callable[[str], None] = print,
    window_encoder: Schedule = WINDOW_ENCODER,
    refiner: Schedule = REFINER,
) -> Path:
    """Train both stages, or go on where `run_folder` left off.

    Args:
        motion_folder: BVH clips with the skeleton of CMU's Daz conversions, 30 Hz.
        run_folder: takes checkpoints, logs and the result.
        device: as torch names it.
        report: takes a line of progress.
        window_encoder: schedule of the first stage.
        refiner: schedule of the second.

    Returns:
        The file of the weights.
    """
    encoder = train_window_encoder(
        motion_folder, run_folder / "window_encoder", window_encoder, device, report
    )
    model = train_refiner(
        motion_folder, run_folder / "refiner", encoder, refiner, device=device, report=report
    )
    path = run_folder / DEFAULT_WEIGHTS
    export_weights(model, path)
    return path
