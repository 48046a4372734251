"""From a system's name to its network, without weights."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from stdformer_ros.body.mesh_sampling import MeshSampling, load_mesh_sampling
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.lifting.lift_posenets import (
    LSTMPoseNet,
    SimplePoseNet,
    SimpleTransformerPoseNet,
)
from stdformer_ros.models.lifting.poseformer import PoseFormer
from stdformer_ros.models.published.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.published.hrnet import HRNetClassification
from stdformer_ros.models.published.pointhmr import PointHMR
from stdformer_ros.models.published.resnet import ResNet50
from stdformer_ros.models.published.sgre import SGRE
from stdformer_ros.models.published.stdformer import STDFormer

LAYERS = {"S": 1, "M": 2, "L": 3}
"""Encoder and decoder layers in each transformer of the published sizes."""

BACKBONES: dict[str, Callable[[], HRNetClassification | ResNet50]] = {
    "hrnet_w64": partial(HRNetClassification, 64),
    "hrnet_w32": partial(HRNetClassification, 32),
    "resnet50": ResNet50,
}


def create_model(name: str, **options: Any) -> nn.Module:
    """Build a network.

    Args:
        name: one of `MODELS`.
        options: of that model, for example `mesh_sampling` (path of mesh_downsampling.npz) for the
            mesh networks; without it they can be built and filled, but not run.

    Returns:
        The network in training mode, with random weights; see its class for what it is called on.

    Raises:
        ValueError: if there is no such model, or an option has an impossible value.
        TypeError: if the model has no such option.
        FileNotFoundError: if a file that an option names is missing.
    """
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"there is no model {name!r}{hint} There is: {', '.join(MODELS)}")
    build = MODELS[name]
    known = inspect.signature(build).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        has = ", ".join(known) or "none"
        raise TypeError(f"{name} has no option {', '.join(unknown)}; its options: {has}")
    return build(**options)


def _fastmetro(
    layers: int,
    backbone: str,
    *,
    mesh_sampling: str | Path | MeshSampling | None = None,
    smpl_regressor: bool = True,
) -> STDFormer:
    """FastMETRO, as published."""
    mesh = _mesh(mesh_sampling)
    return STDFormer(BACKBONES[backbone](), layers, mesh, smpl_regressor=smpl_regressor)


def _stdformer(
    layers: int,
    *,
    mesh_sampling: str | Path | MeshSampling | None = None,
    smpl_regressor: bool = True,
    backbone: str = "hrnet_w64",
    window: int = 8,
    spatial: bool = True,
    temporal: bool = True,
) -> STDFormer:
    """STDFormer; `spatial` and `temporal` say whether there are SD and TD."""
    if backbone not in BACKBONES:
        raise ValueError(f"there is no backbone {backbone!r}; there is: {', '.join(BACKBONES)}")
    network = BACKBONES[backbone]()
    disentangling = (
        SpatioTemporalDisentangling(
            network.map_channels, frames=window, spatial=spatial, temporal=temporal
        )
        if spatial or temporal
        else None
    )
    return STDFormer(network, layers, _mesh(mesh_sampling), disentangling, smpl_regressor)


def _pointhmr(*, mesh_sampling: str | Path | MeshSampling | None = None) -> PointHMR:
    """PointHMR on HRNet-W32, as published."""
    return PointHMR(_mesh(mesh_sampling))


def _mesh(mesh_sampling: str | Path | MeshSampling | None) -> MeshSampling | None:
    if mesh_sampling is None or isinstance(mesh_sampling, MeshSampling):
        return mesh_sampling
    return load_mesh_sampling(mesh_sampling)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "stdformer_s_keypoints": STDFormerKeypoints,
    **{f"stdformer_{size}": partial(_stdformer, n) for size, n in LAYERS.items()},
    **{
        f"fastmetro_{size}_hrnet_w64": partial(_fastmetro, n, "hrnet_w64")
        for size, n in LAYERS.items()
    },
    "fastmetro_S_resnet50": partial(_fastmetro, LAYERS["S"], "resnet50"),
    "pointhmr_hrnet_w32": _pointhmr,
    "sgre_resnet50": SGRE,
    **{f"poseformer_{frames}": partial(PoseFormer, frames) for frames in (9, 27, 81)},
    "lstm_posenet_81": partial(LSTMPoseNet, 81),
    "simple_posenet_81": partial(SimplePoseNet, 81),
    "simple_transformer_posenet_81": partial(SimpleTransformerPoseNet, 81),
}
"""Every network, by name."""
