"""The published protocol on Human3.6M for the networks from 2D keypoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from stdformer_ros.evaluation.motion.tally import Tally
from stdformer_ros.metrics import (
    acceleration_error,
    aligned_position_error,
    mean_position_error,
)
from stdformer_ros.models.lifting.keypoint_network import FRAMES, KeypointNetwork
from stdformer_ros.training.data.dataset_h36m import LEFT, RIGHT, read_recordings

WINDOWS_AT_ONCE = 256
_MIRROR = list(range(17))
for _a, _b in zip(LEFT, RIGHT, strict=True):
    _MIRROR[_a], _MIRROR[_b] = _b, _a


def evaluate_h36m(
    model: KeypointNetwork,
    folder: Path,
    keypoints: str = "cpn_ft_h36m_dbb",
    flip: bool = True,
) -> Tally:
    """Errors over S9 and S11, all four cameras, averaged over the actions' means.

    Every frame is answered for; windows that reach over an end repeat the first or last frame. The
    prediction's 17 joints are compared as they are with the truth relative to its pelvis (MPJPE,
    "protocol 1") and after similarity alignment (PA-MPJPE, "protocol 2"). The published numbers are
    with the model's `delay_frames` at its `future_frames`, and with `flip`.

    Args:
        model: with its weights, in evaluation mode.
        folder: see `dataset_h36m`.
        keypoints: which 2D keypoints, see `read_recordings`.
        flip: average with the mirrored prediction from mirrored keypoints.
    """
    device = next(model.parameters()).device
    tally = Tally("action", over_groups=True)
    for recording in tqdm(read_recordings(folder, keypoints), desc="Human3.6M", unit="recording"):
        given = torch.from_numpy(recording.keypoints).to(device)
        with torch.inference_mode():
            predicted = lift(model, given)
            if flip:
                predicted = 0.5 * (predicted + _mirrored(lift(model, _mirrored(given))))
        predicted, true = predicted.cpu(), torch.from_numpy(recording.joints)
        action = recording.action.split(" ")[0]
        tally.add(action, "MPJPE", mean_position_error(predicted, true))
        tally.add(action, "PA-MPJPE", aligned_position_error(predicted, true))
        if len(true) >= 3:
            error = acceleration_error(predicted, true)
            tally.add(action, "Accel", error.expand(len(true) - 2))
    return tally


def lift(model: KeypointNetwork, keypoints: Tensor) -> Tensor:
    """The pose in every frame of a recording, as the model would stream it.

    Args:
        model: sees frames up to `delay_frames` after the one that it answers for.
        keypoints: (F, 17, 2) normalised.

    Returns:
        (F, 17, 3) metres.
    """
    chunks = keypoints.split(WINDOWS_AT_ONCE)
    features = torch.cat([model.encode(chunk)[FRAMES] for chunk in chunks])
    count = len(keypoints)
    oldest = 1 - model.window + model.delay_frames
    offsets = torch.arange(oldest, model.delay_frames + 1, device=keypoints.device)
    answers = []
    for frames in torch.arange(count, device=keypoints.device).split(WINDOWS_AT_ONCE):
        rows = (frames[:, None] + offsets).clamp(0, count - 1)
        answers.append(model.decode({FRAMES: features[rows]})["pose"][:, 0])
    return torch.cat(answers)


def _mirrored(points: Tensor) -> Tensor:
    """Left and right exchanged: (F, 17, 2 or 3) -> the same shape."""
    sign = torch.ones(points.shape[-1], device=points.device)
    sign[0] = -1
    return points[:, _MIRROR] * sign
