"""Human3.6M under its published protocol, for the networks that lift 2D keypoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from stdformer_ros.evaluation.summaries import ErrorTable
from stdformer_ros.metrics import (
    acceleration_error,
    aligned_position_error,
    mean_position_error,
)
from stdformer_ros.models.lifting.keypoint_network import FRAMES, KeypointNetwork
from stdformer_ros.training.data.h36m import mirrored, read_recordings

BATCH = 256
"""Windows that are answered at once."""


def evaluate_h36m(
    model: KeypointNetwork,
    folder: Path,
    keypoints: str = "cpn_ft_h36m_dbb",
    flip: bool = True,
) -> ErrorTable:
    """Errors over S9 and S11 and all four cameras, as the mean of the actions' means.

    There is an answer for every frame; a window that reaches over an end of the recording repeats
    the first or last frame. The 17 predicted joints are compared with the truth relative to its
    pelvis (MPJPE, "protocol 1") and after a similarity alignment (PA-MPJPE, "protocol 2"). The
    published numbers are for `delay_frames` equal to the model's `future_frames`, and with `flip`.

    Args:
        model: with its weights, in evaluation mode.
        folder: see `training.data.h36m`.
        keypoints: which 2D keypoints, see `read_recordings`.
        flip: whether to average with the mirrored prediction from mirrored keypoints.
    """
    device = next(model.parameters()).device
    table = ErrorTable("action", over_groups=True)
    for recording in tqdm(read_recordings(folder, keypoints), desc="Human3.6M", unit="recording"):
        given = torch.from_numpy(recording.keypoints).to(device)
        with torch.inference_mode():
            predicted = lift(model, given)
            if flip:
                predicted = 0.5 * (predicted + mirrored(lift(model, mirrored(given))))
        predicted, true = predicted.cpu(), torch.from_numpy(recording.joints)
        action = recording.action.split(" ")[0]
        table.add(action, "MPJPE", mean_position_error(predicted, true))
        table.add(action, "PA-MPJPE", aligned_position_error(predicted, true))
        if len(true) >= 3:
            error = acceleration_error(predicted, true)
            table.add(action, "Accel", error.expand(len(true) - 2))
    return table


def lift(model: KeypointNetwork, keypoints: Tensor) -> Tensor:
    """The pose in every frame of a recording, as the model gives it when it streams.

    Args:
        model: reads frames up to `delay_frames` after the one that it answers for.
        keypoints: (F, 17, 2) normalised, see `training.data.h36m.Recording`.

    Returns:
        (F, 17, 3) metres, camera axes, relative to the pelvis.
    """
    chunks = keypoints.split(BATCH)
    features = torch.cat([model.encode(chunk)[FRAMES] for chunk in chunks])
    count = len(keypoints)
    oldest = 1 - model.window + model.delay_frames
    offsets = torch.arange(oldest, model.delay_frames + 1, device=keypoints.device)
    answers = []
    for frames in torch.arange(count, device=keypoints.device).split(BATCH):
        rows = (frames[:, None] + offsets).clamp(0, count - 1)
        answers.append(model.decode({FRAMES: features[rows]})["pose"][:, 0])
    return torch.cat(answers)
