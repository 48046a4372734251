"""The table of `cli models`: every model, its input, output and accuracy, and files to bring."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open

from stdformer_ros.assets import FOLDER
from stdformer_ros.models.default.estimator import KeypointEstimator
from stdformer_ros.models.lifting.estimator import LiftingEstimator
from stdformer_ros.models.lifting.weights import REMARK, SHIPPED
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.published.sgre import SGREEstimator
from stdformer_ros.models.registry import DEFAULT_WEIGHTS, MODELS, create_model


class _Family(NamedTuple):
    """Models that differ in size only.

    Attributes:
        prefix: prefix of their names; a model belongs to the first family that fits.
        reads: the input for each person.
        gives: the output for each person.
        needs: files that cannot come with the package, as options of `cli run` and of the node.
        weights: patterns of the weights' file names, as their authors publish them.
    """

    prefix: str
    reads: str
    gives: str
    needs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()


_OURS = "{name}.safetensors"
"""Pattern of the file that `cli train` writes."""
_MESH = ("checkpoint", "mesh_sampling")
_CROP = f"{len(ImageEstimator.joint_names)} joints, SMPL's mesh"
_KEYPOINTS = ("17 keypoints", f"{len(LiftingEstimator.joint_names)} joints", ("checkpoint",))
_FAMILIES = (
    _Family(
        "stdformer_s_keypoints",
        "21 landmarks",
        f"{len(KeypointEstimator.joint_names)} joints, mesh, pose",
    ),
    _Family("stdformer_", "224x224 crop", _CROP, _MESH, ("state_dict.bin", _OURS)),
    _Family("fastmetro_S_hrnet", "224x224 crop", _CROP, _MESH, ("FastMETRO-S-H64_*.bin", _OURS)),
    _Family("fastmetro_M_hrnet", "224x224 crop", _CROP, _MESH, ("FastMETRO-M-H64_*.bin", _OURS)),
    _Family("fastmetro_L_hrnet", "224x224 crop", _CROP, _MESH, ("FastMETRO-L-H64_*.bin", _OURS)),
    _Family("fastmetro_S_resnet50", "224x224 crop", _CROP, _MESH, ("FastMETRO-S-R50_*.bin", _OURS)),
    _Family("pointhmr_", "224x224 crop", _CROP, _MESH, ("PointHMR_*.bin",)),
    _Family(
        "sgre_",
        "256x256 crop, 2D joints",
        f"{len(SGREEstimator.joint_names)} joints, SMPL's mesh, pose",
        ("checkpoint", "smpl"),
        ("*.pth.tar",),
    ),
    _Family("poseformer_81", *_KEYPOINTS, ("detected81f.bin", "gt81f.bin", _OURS)),
    _Family("poseformer_", *_KEYPOINTS, (_OURS,)),
    _Family("lstm_posenet_", *_KEYPOINTS, (_OURS,)),
    _Family("simple_", *_KEYPOINTS, (_OURS,)),
)
_FILES = {
    "mesh_sampling": ("mesh_downsampling.npz",),
    "smpl": ("basicModel_neutral_*.pkl", "SMPL_NEUTRAL.pkl"),
}
"""Patterns of the names of files that are the same for all models."""

PUBLISHED = {
    "stdformer_L": "3DPW 72.7 / 44.1 / 81.9, Human3.6M 52.8 / 33.4",
    "fastmetro_L_hrnet_w64": "3DPW 73.5 / 44.6 / 84.1, Human3.6M 52.2 / 33.7",
    "pointhmr_hrnet_w32": "3DPW 73.9 / 44.9 / 85.5, Human3.6M 48.3 / 32.9",
    "poseformer_27": "Human3.6M 47.0, the centre of its window",
    "poseformer_81": "Human3.6M 44.3 (true keypoints: 31.3), the centre",
    "lstm_posenet_81": "Human3.6M 55",
    "simple_transformer_posenet_81": "Human3.6M 64",
}
"""As the papers and their code report it; the table's footer says what the numbers are."""

_HEADER = ("model", "window", "input of a frame", "output", "parameters", "published accuracy")
_FOOTER = """\
Parameters: of FastMETRO and STDFormer with the optional SMPL regressor (9.7 M).
Accuracy in mm: 3DPW MPJPE / PA-MPJPE / MPVPE on 14 joints; Human3.6M MPJPE / PA-MPJPE on 14,
for the keypoint networks MPJPE on 17; ours MPJPE / PA-MPJPE on 17 joints of held-out people,
synthetic, at the end of training (docs/training.md)."""


class NeededFile(NamedTuple):
    """A file that a model needs.

    Attributes:
        option: the option of `cli run` and of the node that names the file.
        names: patterns of file names that were searched for.
        found: where it is, or None.
    """

    option: str
    names: tuple[str, ...]
    found: Path | None


def needs(name: str) -> tuple[str, ...]:
    """Names of the files that a model needs from the user."""
    return () if name in SHIPPED else _family(name).needs


def needed_files(name: str, folder: Path) -> list[NeededFile]:
    """The files that a model needs, and whether they are there.

    Args:
        name: of the model.
        folder: where to look for the user's files; shipped ones lie among the assets.
    """
    shipped = shipped_weights(name)
    if shipped is not None:
        found = FOLDER / shipped
        return [NeededFile("checkpoint", (shipped,), found if found.is_file() else None)]
    files = []
    for option in needs(name):
        patterns = _FILES.get(option, _family(name).weights)
        names = tuple(pattern.format(name=name) for pattern in patterns)
        matches = [path for pattern in names for path in sorted(folder.glob(pattern))]
        files.append(NeededFile(option, names, matches[0] if matches else None))
    return files


def shipped_weights(name: str) -> str | None:
    """The asset with a model's weights, if there is one."""
    return DEFAULT_WEIGHTS if name == KeypointEstimator.name else SHIPPED.get(name)


def model_table(folder: Path) -> str:
    """All models, one per line, and below them the files that they need.

    Args:
        folder: where to look for the user's files.
    """
    rows = [_HEADER, *(_row(name) for name in MODELS)]
    return "\n".join([*_lines(rows), "", _FOOTER, "", *_file_lines(folder)])


def _row(name: str) -> tuple[str, ...]:
    family = _family(name)
    window, count = _size(name)
    accuracy = PUBLISHED.get(name, "-")
    shipped = shipped_weights(name)
    if shipped is not None and (FOLDER / shipped).is_file():
        parameters, remarks = _weights_and_metadata(FOLDER / shipped)
        if name in SHIPPED:  # smaller than the published one
            count = parameters
        accuracy = "; ".join(filter(None, [_ours(remarks), PUBLISHED.get(name)]))
    return name, str(window), family.reads, family.gives, f"{count / 1e6:.1f} M", accuracy


@cache
def _size(name: str) -> tuple[int, int]:
    """Frames of the window, and the number of parameters."""
    with torch.device("meta"):  # to count parameters without allocating them
        model = create_model(name)
    window = getattr(model, "frames", getattr(model, "window", 1))
    return window, sum(parameter.numel() for parameter in model.parameters())


def _ours(remarks: dict[str, str]) -> str:
    """Our own accuracy, from the metadata about the training."""
    errors = [remarks.get(f"{REMARK}{key}") for key in ("mpjpe_mm", "pa_mpjpe_mm")]
    known = " / ".join(error for error in errors if error)
    return f"ours {known}" if known else "ours: docs/accuracy.md"


def _weights_and_metadata(path: Path) -> tuple[int, dict[str, str]]:
    """How many numbers a file of weights holds, and its metadata."""
    with safe_open(path, framework="pt") as file:
        shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
        return sum(torch.Size(shape).numel() for shape in shapes), file.metadata() or {}


def _file_lines(folder: Path) -> list[str]:
    rows: list[tuple[str, ...]] = [("model", "needs", "is it there?")]
    for name in MODELS:
        for file in needed_files(name, folder):
            ships = shipped_weights(name) is not None
            place = FOLDER if ships else folder
            state = f"yes: {file.found}"
            if file.found is None:
                state = f"no: {place / file.names[0]}"
                if len(file.names) > 1:
                    state += f" (or {', '.join(file.names[1:])})"
            rows.append((name, file.option, state))
    note = f"Files to bring were looked for in {folder.resolve()} (--files FOLDER looks elsewhere);"
    return [*_lines(rows), "", note, "docs/official_weights.md says where from."]


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns under each other, the header underlined."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _family(name: str) -> _Family:
    return next(family for family in _FAMILIES if name.startswith(family.prefix))
