"""From a model's name to its network, and from its name and files to a running estimator.

`create_model` builds a network of random weights; `MODELS` has every network by name.
`create_estimator` builds one, loads its weights, makes it fast on its device and puts it behind the
streaming interface; `ESTIMATORS` has every model that the pipeline can run.
"""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stdformer_ros.assets import asset
from stdformer_ros.body.mesh_levels import MeshSampling, load_mesh_sampling
from stdformer_ros.body.smpl import SmplBody, load_joint_regressor
from stdformer_ros.config import FILE_SETTINGS, EstimatorSettings
from stdformer_ros.models.checkpoint import load_checkpoint
from stdformer_ros.models.default.estimator import KeypointEstimator
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.models.lifting.estimator import LiftingEstimator
from stdformer_ros.models.lifting.weights import NETWORKS, SHIPPED, load_keypoint_network
from stdformer_ros.models.published.acceleration import accelerate
from stdformer_ros.models.published.hrnet import HRNetClassification
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.published.pointhmr import PointHMR
from stdformer_ros.models.published.resnet import ResNet50
from stdformer_ros.models.published.sgre import SGRE, SGREEstimator
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.models.runtime.cpu import use_fp16_linear
from stdformer_ros.models.runtime.oom_split import OutOfMemorySplit

_log = logging.getLogger(__name__)

DEFAULT_WEIGHTS = "stdformer_s_keypoints.safetensors"
GUIDE = "docs/official_weights.md says which file, from where, and under which licence"

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
            mesh networks; without it they can be built and get weights, but not run.

    Returns:
        The network in training mode, with random weights; see its class for its inputs.

    Raises:
        ValueError: if there is no such model, or an option has an impossible value.
        TypeError: if the model has no such option.
        FileNotFoundError: if a file that an option names is missing.
    """
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else "."
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
    **NETWORKS,
}
"""Every network, by name."""

_CHOOSE_BACKBONE = ("stdformer_S", "stdformer_M", "stdformer_L")


@dataclass(frozen=True)
class Files:
    """Paths of the files that a user can give; one that the model does not use is refused."""

    checkpoint: str | None = None
    mesh_sampling: str | None = None
    joint_regressor: str | None = None
    smpl: str | None = None

    def check(self, name: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
        """Check that all files that the model `name` needs are given, and no useless ones.

        Raises:
            ValueError: if a file is missing, or the model does not use it.
        """
        given = {f.name for f in fields(self) if getattr(self, f.name)}
        missing = [option for option in needed if option not in given]
        if missing:
            raise ValueError(
                f"{name} needs {' and '.join(missing)}: paths of files that cannot come with this "
                f"package; {GUIDE}"
            )
        useless = sorted(given - {*needed, *optional})
        if useless:
            raise ValueError(f"{name} has no use for {' and '.join(useless)}; leave it out")


def create_estimator(settings: EstimatorSettings, **options: Any) -> Estimator:
    """Build a network, load its weights and put it behind the streaming interface.

    Args:
        settings: the model's name, one of `ESTIMATORS`, its files, device and mesh level.
        options: options of the network, see `create_model`.

    Raises:
        ValueError: if there is no such model, mesh level or device, the device has too little
            memory, or a file is missing, broken or of no use to the model.
        TypeError: if the network has no such option.
        FileNotFoundError: if there is no file at a path; the message says how to get it.
    """
    name, device = settings.model, settings.device
    if name not in ESTIMATORS:
        raise ValueError(f"there is no model {name!r}; there is: {', '.join(ESTIMATORS)}")
    if settings.backbone:
        if not name.startswith(_CHOOSE_BACKBONE):
            raise ValueError(
                f"{name} has a backbone of its own, or none; leave out backbone={settings.backbone}"
            )
        options["backbone"] = settings.backbone
    if settings.delay_frames:
        if name not in NETWORKS:
            raise ValueError(
                f"{name} answers for the newest frame: delay_frames must be 0, "
                f"not {settings.delay_frames}"
            )
        options["delay_frames"] = settings.delay_frames
    files = Files(*(getattr(settings, name) or None for name in FILE_SETTINGS))
    where = usable_device(device)
    try:
        estimator = ESTIMATORS[name](settings.mesh_level, where, files, **options)
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"{name} does not fit into the memory of {device!r}: {_first_line(error)}. Free some "
            "of it, take a smaller model, or choose device 'cpu'"
        ) from error
    return estimator if where.type == "cpu" else OutOfMemorySplit(estimator)


def usable_device(name: str) -> torch.device:
    """The device with that name; putting a tensor there has been tried.

    Raises:
        ValueError: if torch cannot put a tensor there.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {name!r} cannot be used: {_first_line(error)}. Choose 'cpu', or install a "
            "torch build and a driver for it"
        ) from error
    return device


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _keypoints(mesh_level: int, device: torch.device, files: Files) -> Estimator:
    files.check(KeypointEstimator.name, needed=(), optional=("checkpoint",))
    model = STDFormerKeypoints(mesh_level=mesh_level)
    load_checkpoint(model, Path(files.checkpoint) if files.checkpoint else asset(DEFAULT_WEIGHTS))
    model.to(device).eval()
    if device.type == "cpu":
        _, in_float32 = use_fp16_linear(model)
        if files.checkpoint and in_float32:
            _log.warning(
                "%s: %d linear layers keep float32, exactly as in the file or since this CPU "
                "lacks kernels; weights that are saved in float16 take less time",
                files.checkpoint,
                in_float32,
            )
        elif files.checkpoint:
            _log.info("%s: weights are kept in float16, as in the file", files.checkpoint)
    return KeypointEstimator(model)


def _image(
    name: str, mesh_level: int, device: torch.device, files: Files, **options: Any
) -> Estimator:
    """FastMETRO, STDFormer and PointHMR."""
    regresses_smpl = not name.startswith("pointhmr")
    extra = ("joint_regressor", "smpl") if regresses_smpl else ("joint_regressor",)
    files.check(name, needed=("checkpoint", "mesh_sampling"), optional=extra)
    mesh = load_mesh_sampling(str(files.mesh_sampling))
    smpl = SmplBody(files.smpl).to(device) if files.smpl else None
    regressor = load_joint_regressor(files.joint_regressor) if files.joint_regressor else None
    if regresses_smpl:  # published weights come with and without the regressor
        options = {"smpl_regressor": smpl is not None, **options}
    model = create_model(name, mesh_sampling=mesh, **options)
    assert isinstance(model, STDFormer | PointHMR)
    network = _with_weights(model, files, device)
    if isinstance(network, STDFormer):
        network = accelerate(network, name)
    on_gpu = device.type == "cuda"
    return ImageEstimator(name, network, mesh, mesh_level, regressor, smpl, device_crops=on_gpu)


def _sgre(mesh_level: int, device: torch.device, files: Files) -> Estimator:
    files.check(SGREEstimator.name, needed=("checkpoint", "smpl"))
    smpl = SmplBody(str(files.smpl)).to(device)
    return SGREEstimator(_with_weights(SGRE(), files, device), smpl, mesh_level)


def _lifting(
    name: str, mesh_level: int, device: torch.device, files: Files, delay_frames: int = 0
) -> Estimator:
    """The keypoint networks; they have no mesh."""
    ships = name in SHIPPED
    files.check(name, needed=() if ships else ("checkpoint",), optional=("checkpoint",))
    checkpoint = Path(files.checkpoint) if files.checkpoint else asset(SHIPPED[name])
    model = load_keypoint_network(name, checkpoint, delay_frames)
    return LiftingEstimator(name, model.to(device).eval())


def _with_weights(model: nn.Module, files: Files, device: torch.device) -> Any:
    load_checkpoint(model, str(files.checkpoint))
    return model.to(device).eval()


ESTIMATORS: dict[str, Callable[..., Estimator]] = {
    KeypointEstimator.name: _keypoints,
    **{
        name: partial(_image, name)
        for name in MODELS
        if name.startswith(("fastmetro_", "pointhmr_"))
        or (name.startswith("stdformer_") and name != KeypointEstimator.name)
    },
    SGREEstimator.name: _sgre,
    **{name: partial(_lifting, name) for name in NETWORKS},
}
"""Every model that the pipeline can run, called with mesh level, device, files, and options."""
