"""The keypoint networks by name, and their weight files.

There are two kinds of file. They must not be mixed up, and the weights' shapes do not show which
kind a file is:

- **Published** checkpoints. They are trained for the pose in the centre of their window and have
  the published sizes. They hold no metadata.
- **Ours**, from `cli train`: safetensors whose metadata (text to text) has the entries

  - `system`: the network's name in `NETWORKS`, for example "poseformer_27" or "lstm_posenet_81";
  - `future_frames`: number of frames of the window after the one whose pose is estimated; "0" for
    the newest frame;
  - every other option of `create_model(system, ...)` whose value is not the published one, as a
    whole number, for example `joint_channels` of PoseFormer and `channels` of LSTM_PoseNet.

  Other entries (about the training and its errors) begin with "training." and are only shown.

The files that ship are `SHIPPED` among the assets. Make the metadata with `describe`; floats may be
half precision. Inputs are those of `h36m_keypoints`, outputs the joints of
`body.body_model.h36m_joint_regressor` in metres, relative to the pelvis, in camera axes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import safetensors

from stdformer_ros.models.checkpoint import CheckpointError, load_checkpoint
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.lifting.poseformer import PoseFormer
from stdformer_ros.models.lifting.posenets import (
    LSTMPoseNet,
    SimplePoseNet,
    SimpleTransformerPoseNet,
)

NETWORKS: dict[str, Callable[..., KeypointNetwork]] = {
    **{f"poseformer_{frames}": partial(PoseFormer, frames) for frames in (9, 27, 81)},
    "lstm_posenet_81": partial(LSTMPoseNet, 81),
    "simple_posenet_81": partial(SimplePoseNet, 81),
    "simple_transformer_posenet_81": partial(SimpleTransformerPoseNet, 81),
}
"""Every network from keypoints to joints, by name."""

SHIPPED = {
    "poseformer_27": "poseformer_27.safetensors",
    "lstm_posenet_81": "lstm_posenet.safetensors",
}
"""Networks whose weights ship with the package, and the assets that hold them."""

REMARK = "training."
"""Prefix of the keys of metadata about the training."""


def describe(system: str, **options: int) -> dict[str, str]:
    """The metadata for a weight file.

    Args:
        system: the network's name.
        options: the network's options: `future_frames`, and all that differ from the published.

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
    """A keypoint network with the weights and options of a file.

    Args:
        name: the network's name, one of `NETWORKS`.
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
        delay_frames = NETWORKS[name](**options).future_frames
    model = NETWORKS[name](delay_frames=delay_frames, **options)
    load_checkpoint(model, checkpoint)
    return model


def _read_metadata(path: Path) -> dict[str, str] | None:
    """The metadata of one of our files; None for published files, which have none."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None  # `load_checkpoint` says if that is an error
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path} is not an intact checkpoint (truncated, or of another kind): {error}"
        ) from error
    return metadata if "system" in metadata else None


def _options(metadata: Mapping[str, str], where: str) -> dict[str, int]:
    """The options for `create_model` that the metadata holds.

    Raises:
        CheckpointError: if they make no sense; it is a ValueError.
    """
    system = metadata["system"]
    if system not in NETWORKS:
        raise CheckpointError(
            f"{where} is for {system!r}; the keypoint networks are {', '.join(NETWORKS)}"
        )
    known = inspect.signature(NETWORKS[system]).parameters
    entries = {k: v for k, v in metadata.items() if k not in ("system", "format")}
    entries = {k: v for k, v in entries.items() if not k.startswith(REMARK)}
    wrong = [k for k, v in entries.items() if k not in known or not v.isdecimal()]
    if wrong or "delay_frames" in entries:
        what = ", ".join(f"{k}={entries[k]}" for k in wrong or ["delay_frames"])
        raise CheckpointError(f"{where}: {what} makes no sense for {system}")
    if "future_frames" not in entries:
        raise CheckpointError(
            f"{where} does not say for which frame of the window the pose is (future_frames)"
        )
    return {k: int(v) for k, v in entries.items()}
