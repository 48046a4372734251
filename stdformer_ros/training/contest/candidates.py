"""The candidates by name, and how each is trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from stdformer_ros.training.contest.answer import Candidate
from stdformer_ros.training.contest.disentangled import DisentangledCandidate
from stdformer_ros.training.contest.landmark_transformer import TransformerCandidate
from stdformer_ros.training.contest.protocol import EVERY_FRAME, NEWEST_FRAME, Plan
from stdformer_ros.training.contest.recurrent import RecurrentCandidate
from stdformer_ros.training.contest.window import FadingCandidate, WindowCandidate


class Entry(NamedTuple):
    """How a candidate is trained.

    Attributes:
        make: the network.
        plan: which frames are taught.
        frames: of a sequence.
        sequences: of a batch.
        learning_rate: the highest.
    """

    make: Callable[[], Candidate]
    plan: Plan
    frames: int
    sequences: int
    learning_rate: float


CANDIDATES: dict[str, Entry] = {
    "window": Entry(WindowCandidate, NEWEST_FRAME, 26, 320, 1e-3),
    "fading": Entry(FadingCandidate, Plan(1 / 2, 1), 32, 320, 1e-3),
    "recurrent": Entry(RecurrentCandidate, EVERY_FRAME, 32, 64, 1e-3),
    "recurrent_light": Entry(
        partial(RecurrentCandidate, 256, 1024, 3, 1), Plan(1 / 2, 1), 32, 256, 6e-4
    ),
    "recurrent_wide": Entry(
        partial(RecurrentCandidate, 512, 1024, 3, 2), Plan(1 / 2, 2), 28, 144, 6e-4
    ),
    "transformer": Entry(TransformerCandidate, EVERY_FRAME, 32, 64, 1e-3),
    "disentangled": Entry(DisentangledCandidate, EVERY_FRAME, 32, 64, 1e-3),
    "undisentangled": Entry(
        partial(DisentangledCandidate, disentangle=False), EVERY_FRAME, 32, 64, 1e-3
    ),
}


def load_weights(path: Path) -> Candidate:
    """A candidate from a file of `Run.keep`."""
    with safe_open(path, "pt") as file:
        model = CANDIDATES[file.metadata()["candidate"]].make()
        names = list(file.keys())
        model.load_state_dict({name: file.get_tensor(name).float() for name in names})
    return model.eval()
