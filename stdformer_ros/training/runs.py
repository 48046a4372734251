"""Train a network, given its name and a folder of data, and write its weights to a file.

`train_default` trains the default network, `train_on_keypoints` the keypoint networks and
`train_on_crops` the networks that read images. `export_weights` writes the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from stdformer_ros.body.body_model import h36m_joint_regressor
from stdformer_ros.body.mesh_levels import (
    MeshSampling,
    embedded_mesh_sampling,
    load_mesh_sampling,
    write_mesh_sampling,
)
from stdformer_ros.body.smpl import load_joint_regressor
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.lifting.weights import REMARK, describe
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.models.registry import DEFAULT_WEIGHTS, create_model
from stdformer_ros.training.data.crop_windows import MeshSource, RecordedCrops, SyntheticCrops
from stdformer_ros.training.data.h36m import h36m_splits
from stdformer_ros.training.data.keypoint_windows import KeypointSource, SyntheticKeypoints
from stdformer_ros.training.loop import Schedule, precision_of
from stdformer_ros.training.people.motion_library import MotionLibrary, read_split
from stdformer_ros.training.recipes import REFINER, WINDOW_ENCODER, Recipe
from stdformer_ros.training.train_default import train_refiner, train_window_encoder
from stdformer_ros.training.train_keypoints import (
    evaluate,
    sequence_length,
    train_keypoint_network,
)
from stdformer_ros.training.train_mesh import MeshLosses, train_mesh_network

MESH_FILE, REGRESSOR_FILE = "mesh_downsampling.npz", "joint_regressor.npy"
"""Files of the embedded body; a run on it writes them beside the weights, which need them."""


def train_default(
    motion_folder: Path,
    run_folder: Path,
    device: str = "cpu",
    report: Callable[[str], None] = print,
    window_encoder: Schedule = WINDOW_ENCODER,
    refiner: Schedule = REFINER,
) -> Path:
    """Train both stages of the default network, or resume the training in `run_folder`.

    Args:
        motion_folder: BVH clips with the skeleton of CMU's Daz conversions, 30 Hz.
        run_folder: for checkpoints, logs and the result.
        device: as torch names it.
        report: receives lines about the progress.
        window_encoder: schedule of the first stage.
        refiner: schedule of the second.

    Returns:
        The file of the weights, in half precision.
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


def train_on_keypoints(
    name: str,
    recipe: Recipe,
    run_folder: Path,
    device: torch.device,
    *,
    motion: Path | None = None,
    h36m: Path | None = None,
    keypoints: str = "cpn_ft_h36m_dbb",
    report: Callable[[str], None] = print,
) -> Path:
    """Train a keypoint network, or resume the training in `run_folder`.

    Either `motion` or `h36m` must be given.

    Args:
        name: of the network.
        recipe: how to train it.
        run_folder: for checkpoints, the log and the result.
        device: to train on.
        motion: folder of BVH clips for synthetic people.
        h36m: folder of Human3.6M in VideoPose3D's layout.
        keypoints: which 2D keypoints of Human3.6M, see `read_recordings`.
        report: receives lines about the progress.

    Returns:
        The file of the weights, in half precision; its metadata describe the network.
    """
    torch.manual_seed(recipe.schedule.seed)
    model = create_model(name, **recipe.options)
    if not isinstance(model, KeypointNetwork):
        raise ValueError(f"{name} does not read 2D keypoints")
    frames, future = sequence_length(model, recipe.answers), model.future_frames
    if h36m is not None:
        train_data: KeypointSource
        val_data: KeypointSource
        train_data, val_data = h36m_splits(h36m, keypoints, frames, recipe.answers, future, device)
    else:
        assert motion is not None
        train_data, val_data = (
            SyntheticKeypoints(MotionLibrary(clips, frames, device), recipe.answers, future, device)
            for clips in read_split(motion)
        )
    trained = train_keypoint_network(
        model.to(device),
        train_data,
        val_data,
        run_folder,
        recipe.schedule,
        precision_of(device, recipe.precision),
        report,
    )
    description = describe(name, **{**recipe.options, "future_frames": future})
    for error, value in evaluate(trained, val_data).items():
        description[f"{REMARK}{error}"] = f"{value:.1f}"
    path = run_folder / f"{name}.safetensors"
    export_weights(trained, path, description)
    return path


def train_on_crops(
    name: str,
    recipe: Recipe,
    run_folder: Path,
    device: torch.device,
    *,
    motion: Path | None = None,
    crops: Path | None = None,
    mesh_sampling: Path | None = None,
    joint_regressor: Path | None = None,
    backbone: str | None = None,
    report: Callable[[str], None] = print,
) -> Path:
    """Train STDFormer or FastMETRO, or resume the training in `run_folder`.

    Either `motion` or `crops` must be given.

    Args:
        name: of the network.
        recipe: how to train it.
        run_folder: for checkpoints, the log and the result.
        device: to train on.
        motion: folder of BVH clips for rendered people with the embedded body.
        crops: folder of recorded people, see `RecordedCrops`.
        mesh_sampling: mesh_downsampling.npz of the body in `crops`.
        joint_regressor: J_regressor_h36m_correct.npy of that body.
        backbone: of STDFormer, if it is not the published one.
        report: receives lines about the progress.

    Returns:
        The file of the weights, in half precision. After training on `motion`, the files of the
        embedded body that the weights need are written beside it.
    """
    torch.manual_seed(recipe.schedule.seed)
    mesh: MeshSampling
    if crops is not None:
        if mesh_sampling is None or joint_regressor is None:
            raise ValueError("crops need mesh_sampling and joint_regressor of their body")
        mesh, regressor = load_mesh_sampling(mesh_sampling), load_joint_regressor(joint_regressor)
    else:
        mesh, regressor = embedded_mesh_sampling(), torch.from_numpy(h36m_joint_regressor())
    chosen = {} if backbone is None else {"backbone": backbone}
    model = create_model(name, mesh_sampling=mesh, smpl_regressor=False, **chosen, **recipe.options)
    if not isinstance(model, STDFormer):
        raise ValueError(f"{name} is not trained on crops")
    train_data: MeshSource
    val_data: MeshSource
    if crops is not None:
        train_data, val_data = (
            RecordedCrops(crops / part, model.window) for part in ("train", "val")
        )
    else:
        assert motion is not None
        train_data, val_data = (
            SyntheticCrops(MotionLibrary(clips, model.window)) for clips in read_split(motion)
        )
    trained = train_mesh_network(
        model.to(device),
        MeshLosses(mesh, regressor).to(device),
        train_data,
        val_data,
        run_folder,
        recipe.schedule,
        precision_of(device, recipe.precision),
        report,
    )
    path = run_folder / f"{name}.safetensors"
    export_weights(trained, path)
    if crops is None:
        write_mesh_sampling(run_folder / MESH_FILE, mesh)
        np.save(run_folder / REGRESSOR_FILE, regressor.numpy())
    return path


def export_weights(model: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Save a model's state as safetensors, floats in half precision.

    Args:
        model: whose state is saved.
        path: of the file; its folder is created.
        metadata: texts that the file carries.
    """
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.clone() for name, value in state.items()}
    save_file(tensors, path, None if metadata is None else dict(metadata))
