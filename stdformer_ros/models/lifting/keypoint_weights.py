"""Weights of keypoint networks, and what a file says of the network that they are for.

Two kinds of file exist, and they must not be mixed up, since nothing in the weights' shapes tells
them apart:

- **Published** checkpoints. They answer for the centre of their window and have the published
  sizes. They say nothing of themselves: no metadata.
- **Ours**, of `cli train`: safetensors whose metadata (text to text) says

  - `system`: the network's name in `registry.MODELS`, as "poseformer_27" or "lstm_posenet_81";
  - `future_frames`: frames of the window after the one answered for; "0" for the newest;
  - every other option of `create_model(system, ...)` whose value is not the published one, a whole
    number, as `joint_channels` of PoseFormer and `channels` of LSTM_PoseNet.

  What else stands there (how it was trained, with which errors) begins with "training." and is for
  people.

Those that ship are `SHIPPED` among the assets. Make the metadata with `describe`; floats may be
half precision. Inputs are those of `h36m_keypoints`, outputs the joints of
`body.joint_regressors.h36m_joint_regressor` in metres, relative to the pelvis, in camera axes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import safetensors

from stdformer_ros.models.checkpoint import CheckpointError, load_checkpoint
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.registry import MODELS, create_model

SHIPPED = {
    "poseformer_27": "poseformer_27.safetensors",
    "lstm_posenet_81": "lstm_posenet.safetensors",
}
"""Systems that run out of the box, and the assets with their weights."""

REMARK = "training."
"""How the keys of metadata begin that are for people only."""


def describe(system: str, **options: int) -> dict[str, str]:
    """The metadata of a file of weights.

    Args:
        system: the network's name.
        options: of `create_model(system, ...)`, `future_frames` and what is not as published.

    Raises:
        ValueError: if there is no such network, it has no such options, or `future_frames` is not
            among them.
    """
    metadata = {"system": system, **{name: str(value) for name, value in options.items()}}
    _options(metadata, "the description")
    return metadata


def load_keypoint_network(
    name: str, checkpoint: str | Path, delay_frames: int | None = 0
) -> KeypointNetwork:
    """The network that a file of weights is for, filled.

    Args:
        name: of the network.
        checkpoint: see the top of the file.
        delay_frames: see `KeypointNetwork`; None for the longest, without repeated frames.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is broken, or is for another network.
        ValueError: if the delay does not fit the window.
    """
    metadata = _read_metadata(Path(checkpoint))
    options = {}
    if metadata is not None:
        options = _options(metadata, str(checkpoint))
        if metadata["system"] != name:
            raise CheckpointError(
                f"{checkpoint} holds weights of {metadata['system']}, not of {name}; "
                f"choose that model, or another checkpoint"
            )
    if delay_frames is None:
        longest = create_model(name, **options)
        assert isinstance(longest, KeypointNetwork)
        delay_frames = longest.future_frames
    model = create_model(name, delay_frames=delay_frames, **options)
    assert isinstance(model, KeypointNetwork)
    load_checkpoint(model, checkpoint)
    return model


def _read_metadata(path: Path) -> dict[str, str] | None:
    """What a file says of itself; None for those that say nothing."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None  # whether that is an error is for `load_checkpoint` to say
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path} is not an intact checkpoint (truncated, or of another kind): {error}"
        ) from error
    return metadata if "system" in metadata else None


def _options(metadata: Mapping[str, str], where: str) -> dict[str, int]:
    """The options for `create_model` that metadata names.

    Raises:
        CheckpointError: if they make no sense; it is a ValueError.
    """
    system = metadata["system"]
    if system not in MODELS:
        raise CheckpointError(f"{where} is for {system!r}, of which nothing is known here")
    known = inspect.signature(MODELS[system]).parameters
    entries = {k: v for k, v in metadata.items() if k not in ("system", "format")}
    entries = {k: v for k, v in entries.items() if not k.startswith(REMARK)}
    wrong = [k for k, v in entries.items() if k not in known or not v.isdecimal()]
    if wrong or "delay_frames" in entries:
        what = ", ".join(f"{k}={entries[k]}" for k in wrong or ["delay_frames"])
        raise CheckpointError(f"{where}: {what} makes no sense for {system}")
    if "future_frames" not in entries:
        raise CheckpointError(
            f"{where} does not say for which frame of the window {system} answers (future_frames)"
        )
    return {k: int(v) for k, v in entries.items()}
