"""A whole recording through an estimator at once, with the answers that a live stream gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.types import Body, Frame, Person

BATCH = 64
"""Frames that are encoded or decoded together; more is not faster on a CPU."""


def causal_answers(
    estimator: Estimator, camera: Camera, person: Sequence[Person], batch: int = BATCH
) -> list[Body]:
    """What `Pipeline` would answer in each of N frames of one person.

    Rows of `encode` and `decode` do not know of each other, so that frames can stand side by side
    as if they were people; the windows are the same, padded by the first frame.

    Args:
        estimator: one that reads landmarks, not images.
        camera: of all frames.
        person: N >= 1, the person in each frame.
        batch: frames taken at once.

    Returns:
        N bodies; body n is for frame n - `estimator.delay_frames`.
    """
    frame = Frame(np.zeros((camera.height, camera.width, 3), np.uint8), 0.0, camera)
    with torch.inference_mode():
        parts = [
            estimator.encode(frame, person[start : start + batch])
            for start in range(0, len(person), batch)
        ]
        features = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        numbers = torch.arange(len(person))[:, None] + torch.arange(1 - estimator.window, 1)
        windows = numbers.clamp(min=0)
        bodies: list[Body] = []
        for rows in windows.split(batch):
            bodies += estimator.decode({k: v[rows.to(v.device)] for k, v in features.items()})
    return bodies
