"""From a model's name to an estimator that is ready to stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stdformer_ros.assets import asset
from stdformer_ros.body.mesh_sampling import load_mesh_sampling
from stdformer_ros.body.smpl import SmplBody, load_joint_regressor
from stdformer_ros.config import FILE_SETTINGS, EstimatorSettings
from stdformer_ros.models.checkpoint import load_checkpoint
from stdformer_ros.models.default.estimator import KeypointEstimator
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.models.lifting.estimator import LiftingEstimator
from stdformer_ros.models.lifting.keypoint_weights import SHIPPED, load_keypoint_network
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.published.pointhmr import PointHMR
from stdformer_ros.models.published.sgre import SGRE
from stdformer_ros.models.published.sgre_estimator import SGREEstimator
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.models.registry import MODELS, create_model
from stdformer_ros.models.runtime.cuda_stdformer import AcceleratedSTDFormer
from stdformer_ros.models.runtime.folding import folded
from stdformer_ros.models.runtime.fp16_linear import half_weights_where_possible
from stdformer_ros.models.runtime.oom_split import InParts
from stdformer_ros.models.runtime.openvino_backbone import compiled

DEFAULT_WEIGHTS = "stdformer_s_keypoints.safetensors"
_WITH_BACKBONES = ("stdformer_S", "stdformer_M", "stdformer_L")
GUIDE = "docs/official_weights.md says which file, from where, and under which licence"


@dataclass(frozen=True)
class Files:
    """Paths of the files that a user can bring. What a model has no use for is refused."""

    checkpoint: str | None = None
    mesh_sampling: str | None = None
    joint_regressor: str | None = None
    smpl: str | None = None

    def check(self, name: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
        """See that everything that model `name` needs is there, and nothing else.

        Raises:
            ValueError: if something is missing or has no use.
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
        settings: the model's name, one of `ESTIMATORS`, and what it is made from.
        options: of the network, see `create_model`.

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
        if not name.startswith(_WITH_BACKBONES):
            raise ValueError(
                f"{name} has a backbone of its own, or none; leave out backbone={settings.backbone}"
            )
        options["backbone"] = settings.backbone
    if settings.delay_frames:
        if name not in LIFTING:
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
    return estimator if where.type == "cpu" else InParts(estimator)


def usable_device(name: str) -> torch.device:
    """The device of that name, tried out.

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
        half_weights_where_possible(model)
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
    network = _filled(model, files, device)
    on_gpu = device.type == "cuda"
    if isinstance(network, STDFormer):
        if on_gpu:
            folded(network.backbone)
            network = AcceleratedSTDFormer(network)
        else:
            network = compiled(network, name)
    return ImageEstimator(name, network, mesh, mesh_level, regressor, smpl, device_crops=on_gpu)


def _sgre(mesh_level: int, device: torch.device, files: Files) -> Estimator:
    files.check(SGREEstimator.name, needed=("checkpoint", "smpl"))
    smpl = SmplBody(str(files.smpl)).to(device)
    return SGREEstimator(_filled(SGRE(), files, device), smpl, mesh_level)


def _lifting(
    name: str, mesh_level: int, device: torch.device, files: Files, delay_frames: int = 0
) -> Estimator:
    """PoseFormer, LSTM_PoseNet and its companions; they have no mesh of any level."""
    ships = name in SHIPPED
    files.check(name, needed=() if ships else ("checkpoint",), optional=("checkpoint",))
    checkpoint = Path(files.checkpoint) if files.checkpoint else asset(SHIPPED[name])
    model = load_keypoint_network(name, checkpoint, delay_frames)
    return LiftingEstimator(name, model.to(device).eval())


def _filled(model: nn.Module, files: Files, device: torch.device) -> Any:
    load_checkpoint(model, str(files.checkpoint))
    return model.to(device).eval()


LIFTING = tuple(
    name for name in MODELS if name.startswith(("poseformer_", "lstm_posenet_", "simple_"))
)
"""The networks from keypoints to joints, which can answer late."""

ESTIMATORS: dict[str, Callable[..., Estimator]] = {
    KeypointEstimator.name: _keypoints,
    **{
        name: partial(_image, name)
        for name in MODELS
        if name.startswith(("fastmetro_", "pointhmr_"))
        or (name.startswith("stdformer_") and name != KeypointEstimator.name)
    },
    SGREEstimator.name: _sgre,
    **{name: partial(_lifting, name) for name in LIFTING},
}
"""Every model that the pipeline can run, called with mesh level, device, files, and options."""
