"""From a model's name and a folder of data to a file of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

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
from stdformer_ros.models.registry import create_model
from stdformer_ros.training.data.h36m_windows import h36m_splits
from stdformer_ros.training.data.keypoint_windows import KeypointSource, SyntheticKeypoints
from stdformer_ros.training.data.mesh_windows import MeshSource
from stdformer_ros.training.data.recorded_crops import RecordedCrops
from stdformer_ros.training.data.synthetic_crops import SyntheticCrops
from stdformer_ros.training.export import export_weights
from stdformer_ros.training.mesh_losses import MeshAnswer
from stdformer_ros.training.people.motion_library import MotionLibrary, read_motion
from stdformer_ros.training.people.subjects import HELD_OUT
from stdformer_ros.training.precision import precision_of
from stdformer_ros.training.recipes import Recipe
from stdformer_ros.training.train_keypoints import (
    evaluate,
    sequence_length,
    train_keypoint_network,
)
from stdformer_ros.training.train_mesh import train_mesh_network

MESH_FILE, REGRESSOR_FILE = "mesh_downsampling.npz", "joint_regressor.npy"
"""What a run on the embedded body leaves beside the weights, since they are of use on it only."""


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
    """Train a keypoint network, or go on where `run_folder` was left.

    Args:
        name: of the network.
        recipe: how.
        run_folder: takes checkpoints, the log and the result.
        device: to train on.
        motion: folder of BVH clips for synthetic people, or
        h36m: folder of Human3.6M as VideoPose3D has it.
        keypoints: which of Human3.6M's.
        report: takes a line of progress.

    Returns:
        The file of the weights, half precision, which says what network it is for.
    """
    torch.manual_seed(recipe.schedule.seed)
    model = create_model(name, **recipe.options)
    if not isinstance(model, KeypointNetwork):
        raise ValueError(f"{name} does not answer from keypoints")
    frames, future = sequence_length(model, recipe.answers), model.future_frames
    if h36m is not None:
        seen: KeypointSource
        unseen: KeypointSource
        seen, unseen = h36m_splits(h36m, keypoints, frames, recipe.answers, future, device)
    else:
        assert motion is not None
        seen, unseen = (
            SyntheticKeypoints(MotionLibrary(clips, frames, device), recipe.answers, future, device)
            for clips in (
                read_motion(motion, exclude=HELD_OUT),
                read_motion(motion, only=HELD_OUT),
            )
        )
    trained = train_keypoint_network(
        model.to(device),
        seen,
        unseen,
        run_folder,
        recipe.schedule,
        precision_of(device, recipe.precision),
        report,
    )
    description = describe(name, **{**recipe.options, "future_frames": future})
    for error, value in evaluate(trained, unseen).items():
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
    """Train STDFormer or FastMETRO, or go on where `run_folder` was left.

    Args:
        name: of the network.
        recipe: how.
        run_folder: takes checkpoints, the log and the result.
        device: to train on.
        motion: folder of BVH clips for drawn people of the embedded body, or
        crops: folder of recorded people, see `recorded_crops`.
        mesh_sampling: mesh_downsampling.npz of the body in `crops`.
        joint_regressor: J_regressor_h36m_correct.npy of that body.
        backbone: of STDFormer, if not the published one.
        report: takes a line of progress.

    Returns:
        The file of the weights, half precision. After training on `motion` the files of the
        embedded body that they are to be used with lie beside it.
    """
    torch.manual_seed(recipe.schedule.seed)
    mesh: MeshSampling
    if crops is not None:
        if mesh_sampling is None or joint_regressor is None:
            raise ValueError("crops come with mesh_sampling and joint_regressor of their body")
        mesh, regressor = load_mesh_sampling(mesh_sampling), load_joint_regressor(joint_regressor)
    else:
        mesh, regressor = embedded_mesh_sampling(), torch.from_numpy(h36m_joint_regressor())
    chosen = {} if backbone is None else {"backbone": backbone}
    model = create_model(name, mesh_sampling=mesh, smpl_regressor=False, **chosen, **recipe.options)
    if not isinstance(model, STDFormer):
        raise ValueError(f"{name} is not trained on crops")
    seen: MeshSource
    unseen: MeshSource
    if crops is not None:
        seen, unseen = (RecordedCrops(crops / part, model.window) for part in ("train", "val"))
    else:
        assert motion is not None
        seen, unseen = (
            SyntheticCrops(MotionLibrary(clips, model.window))
            for clips in (
                read_motion(motion, exclude=HELD_OUT),
                read_motion(motion, only=HELD_OUT),
            )
        )
    trained = train_mesh_network(
        model.to(device),
        MeshAnswer(mesh, regressor).to(device),
        seen,
        unseen,
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
