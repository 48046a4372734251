"""From a model's name to an estimator that is ready to stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from stdformer_ros.assets import asset
from stdformer_ros.models.checkpoint import load_checkpoint
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.models.keypoint_estimator import KeypointEstimator
from stdformer_ros.models.stdformer_keypoints import STDFormerKeypoints

DEFAULT_WEIGHTS = "stdformer_s_keypoints.safetensors"


def create_estimator(
    name: str, *, mesh_level: int = 6890, device: str = "cpu", checkpoint: str | None = None
) -> Estimator:
    """Build a network, load its weights and put it behind the streaming interface.

    Args:
        name: one of `ESTIMATORS`.
        mesh_level: vertices of the mesh: 6890, 1723 or 431.
        device: as torch names it.
        checkpoint: file of weights; None for those that ship.

    Raises:
        ValueError: if there is no such model, mesh level or device.
        FileNotFoundError: if the weights are missing.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"there is no model {name!r}; there is: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name](mesh_level, usable_device(device), checkpoint)


def usable_device(name: str) -> torch.device:
    """The device of that name, tried out.

    Raises:
        ValueError: if torch cannot put a tensor there.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {name!r} cannot be used: {reason}. Choose 'cpu', or install a torch build "
            f"and a driver for it"
        ) from error
    return device


def _keypoints(mesh_level: int, device: torch.device, checkpoint: str | None) -> Estimator:
    model = STDFormerKeypoints(mesh_level=mesh_level)
    load_checkpoint(model, Path(checkpoint) if checkpoint else asset(DEFAULT_WEIGHTS))
    return KeypointEstimator(model.to(device).eval())


ESTIMATORS: dict[str, Callable[[int, torch.device, str | None], Estimator]] = {
    KeypointEstimator.name: _keypoints,
}
"""Every model that the pipeline can run."""
