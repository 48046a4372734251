"""Every setting, declared once: name, type, default, range, description, and whether it is live.

The node's parameters (`ros/parameters.py`), the options of the command line, `build_pipeline` and
`create_estimator` are made from these classes. Tests compare `config/default.yaml` and the table in
docs/ros_interface.md with them.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

TURNS = (0, 90, 180, 270)
"""Degrees by which an image can be turned."""

MARKER_NAMESPACES = ("mesh", "skeleton", "label")
"""What `~/markers` can show for each person."""

FILE_SETTINGS = ("checkpoint", "mesh_sampling", "joint_regressor", "smpl")
"""The settings that name files."""


def setting(
    default: Any,
    description: str,
    *,
    between: tuple[float, float] | None = None,
    one_of: Sequence[Any] = (),
    refuse: Callable[[Any], str] | None = None,
    read_only: bool = False,
    live: bool = False,
) -> Any:
    """Declare one setting of a dataclass.

    Args:
        default: also gives the type.
        description: for `ros2 param describe` and for `--help`.
        between: smallest and largest value of a number.
        one_of: the only values that are possible.
        refuse: returns why a value is not possible, or an empty string if it is.
        read_only: whether the node takes it at start only.
        live: whether it can change while the node is configured.
    """
    return field(
        default=default,
        metadata={
            "description": description,
            "between": between,
            "one_of": tuple(one_of),
            "refuse": refuse,
            "read_only": read_only,
            "live": live,
        },
    )


KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text (in quotes, if YAML takes it for something else)",
    tuple: "a list of names, as in [front, rear]; an empty list is ['']",
}
"""What a value of each type is called in messages."""


def _is_a(kind: type, value: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is tuple:
        return isinstance(value, tuple | list) and all(isinstance(v, str) for v in value)
    return isinstance(value, (int, float) if kind is float else kind)


def reason_to_refuse(item: Field[Any], value: Any) -> str:
    """Why a setting cannot have a value, or an empty string if it can."""
    kind = type(item.default)
    if not _is_a(kind, value):
        return f"{item.name} must be {KINDS[kind]}, not {value!r}"
    low_high, allowed = item.metadata["between"], item.metadata["one_of"]
    if allowed and value not in allowed:
        return f"{item.name} must be one of {', '.join(map(str, allowed))}, not {value}"
    if low_high and not low_high[0] <= value <= low_high[1]:
        return f"{item.name} must be between {low_high[0]} and {low_high[1]}, not {value}"
    refuse = item.metadata["refuse"]
    return refuse(value) if refuse else ""


def refuse_cameras(names: Sequence[str]) -> str:
    """Why these cannot be the cameras' names, or an empty string."""
    if list(names) == [""]:
        return ""
    if not names or len(set(names)) < len(names):
        return f"cameras must name each camera once, not {list(names)}"
    for name in names:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            return f"cameras: {name!r} cannot be a part of a topic (letters, digits, underscores)"
    return ""


def refuse_markers(names: Sequence[str]) -> str:
    """Why these cannot be the markers' namespaces, or an empty string."""
    unknown = [name for name in names if name and name not in MARKER_NAMESPACES]
    if unknown:
        return f"markers must be some of {', '.join(MARKER_NAMESPACES)}, not {', '.join(unknown)}"
    return ""


def split_folders(value: str) -> list[Path]:
    """Split a list of folders that is written as PATH is; `~` is the home of the node's user."""
    return [Path(folder).expanduser() for folder in value.split(os.pathsep) if folder]


def outside(path: str, folders: Sequence[Path]) -> str:
    """Why a file may not be named, or an empty string if it lies in one of the folders.

    `..` and links are followed first, so neither leads out of a folder. The file need not exist.
    """
    try:
        real = Path(path).resolve()
        inside = any(real.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError) as error:  # circular links, a null character
        return f"cannot be followed: {error}"
    if inside:
        return ""
    return f"is {real}, which lies in none of {', '.join(map(str, folders))}"


@dataclass(frozen=True)
class EstimatorSettings:
    """What an estimator is made from. An empty string means: the default of the model.

    Raises:
        ValueError: if a value is not possible; the message names the setting and what is possible.
    """

    model: str = setting("stdformer_s_keypoints", "The estimator, as `cli models` lists them.")
    checkpoint: str = setting("", "File with the estimator's weights; empty: those shipped.")
    mesh_sampling: str = setting(
        "", "mesh_downsampling.npz, for the published mesh networks; see docs/official_weights.md."
    )
    joint_regressor: str = setting(
        "", "J_regressor_h36m_correct.npy: the published mesh networks' joints from their mesh."
    )
    smpl: str = setting("", "SMPL's file, for the networks that give SMPL's parameters.")
    device: str = setting("cpu", "Where the estimator runs: cpu, cuda, cuda:1 ...")
    backbone: str = setting(
        "", "STDFormer's backbone: hrnet_w64, hrnet_w32 or resnet50; empty: hrnet_w64."
    )
    delay_frames: int = setting(
        0,
        "Delay each answer by this number of frames, so that it also uses later frames; only "
        "keypoint networks, up to half their window. Stamps are those of the answered frames.",
        between=(0, 1000),
    )
    mesh_level: int = setting(6890, "Vertices of the mesh.", one_of=(431, 1723, 6890), live=True)

    def __post_init__(self) -> None:
        for item in fields(self):
            reason = reason_to_refuse(item, getattr(self, item.name))
            if reason:
                raise ValueError(reason)


@dataclass(frozen=True)
class PipelineSettings(EstimatorSettings):
    """What a pipeline is made from: its estimator, its perception and its filters."""

    landmarks: str = setting(
        "full",
        "The BlazePose landmark model: lite is faster, full is better.",
        one_of=("lite", "full"),
        live=True,
    )
    detect_every: int = setting(
        10,
        "Number of frames from one search of the whole image for new people to the next.",
        between=(1, 300),
        live=True,
    )
    rotate: int = setting(
        0,
        "Degrees to turn the images clockwise so that people are upright: 90, 180 or 270 for a "
        "camera that is mounted on its side or upside down.",
        one_of=TURNS,
    )
    max_people: int = setting(8, "Largest number of people to follow.", between=(1, 64))
    velocity_smoothing: float = setting(
        0.1,
        "Time constant in seconds of the low-pass over joint velocities; they lag by as much.",
        between=(0.0, 2.0),
        live=True,
    )
    filter_min_cutoff: float = setting(
        0.0,
        "Cutoff in Hz of a 1 euro filter over each person: lower is smoother, lags more; 0: none.",
        between=(0.0, 30.0),
        live=True,
    )
    filter_beta: float = setting(
        0.0,
        "Hz by which that filter's cutoff rises for each m/s: higher lags less.",
        between=(0.0, 100.0),
        live=True,
    )


@dataclass(frozen=True)
class NodeSettings(PipelineSettings):
    """What the node is made from.

    The settings apply when the node is configured. Those that are `live` can also change later.
    """

    autostart: bool = setting(
        False, "Configure and activate on start; if that fails, the process ends with code 1."
    )
    cameras: tuple[str, ...] = setting(
        ("",),
        "Names of several cameras: NAME/image in, ~/NAME/humans out. Default: one without a name.",
        refuse=refuse_cameras,
    )
    min_score: float = setting(
        0.0, "Leave out people whose score is lower than this.", between=(0.0, 1.0), live=True
    )
    target_fps: float = setting(
        0.0,
        "Lower the quality while frames take longer than this rate allows: rarer searches for new "
        "people, lite landmarks, coarser meshes; 0: never.",
        between=(0.0, 240.0),
        live=True,
    )
    publish_vertices: bool = setting(False, "Put the vertices into ~/humans too.", live=True)
    rectified: bool = setting(
        False, "The images are rectified: use CameraInfo's P, and no distortion."
    )
    image_transport: str = setting(
        "raw",
        "compressed: take sensor_msgs/CompressedImage (JPEG, PNG) from image/compressed.",
        one_of=("raw", "compressed"),
    )
    image_reliability: str = setting(
        "best_effort",
        "QoS of the inputs; reliable sends lost images again, which costs time.",
        one_of=("best_effort", "reliable"),
    )
    output_reliability: str = setting(
        "reliable",
        "QoS of the outputs; a best effort output suits lossy radio links.",
        one_of=("reliable", "best_effort"),
    )
    depth: bool = setting(
        False, "Take distances from depth (16UC1 in mm or 32FC1 in m, aligned to the image)."
    )
    depth_tolerance: float = setting(
        0.05,
        "Largest difference in seconds between the stamps of image and depth.",
        between=(0.0, 1.0),
    )
    depth_wait: float = setting(
        0.05,
        "Longest time in seconds that an image waits for its depth, from its arrival; 0: never.",
        between=(0.0, 1.0),
        live=True,
    )
    tf: str = setting(
        "none",
        "Publish frames human_ID on /tf: of the pelvis alone, or of all joints. Needs tf2_msgs.",
        one_of=("none", "pelvis", "joints"),
    )
    target_frame: str = setting(
        "", "Give positions in this frame instead of the camera's, using /tf. Needs tf2_msgs."
    )
    markers: tuple[str, ...] = setting(
        MARKER_NAMESPACES,
        "Namespaces of ~/markers that are published; those left out cost nothing. ['']: none.",
        refuse=refuse_markers,
        live=True,
    )
    rep155: bool = setting(
        False, "Publish /humans/bodies as REP-155 defines it, for ros4hri's nodes. Needs hri_msgs."
    )
    file_folders: str = setting(
        "",
        "Folders, separated by ':', in which the files that parameters name must lie. Empty: files "
        "may lie anywhere, but can only be named at start. Cannot be changed later.",
        read_only=True,
    )
    image_timeout: float = setting(
        2.0, "Warn after this time in seconds without an image.", between=(0.1, 3600.0), live=True
    )
    latency_warn: float = setting(
        0.3,
        "Diagnostics warn if the median seconds from image stamp to answer are more than this.",
        between=(0.0, 3600.0),
        live=True,
    )
    latency_error: float = setting(
        2.0, "As latency_warn, but for an error.", between=(0.0, 3600.0), live=True
    )
    min_fps: float = setting(
        0.0,
        "Diagnostics warn if fewer images a second are answered; 0: never.",
        between=(0.0, 1000.0),
        live=True,
    )


S = TypeVar("S", bound=EstimatorSettings)


def add_arguments(parser: argparse._ActionsContainer, *names: str, **defaults: Any) -> None:
    """Add an option to a command for each setting of `PipelineSettings`, or for those named.

    `mesh_level` becomes `--mesh-level`, with the setting's type and description.

    Args:
        parser: the command's parser, or a group of it.
        names: the settings' names; all settings if left out.
        defaults: the command's own defaults, for settings whose default it changes.
    """
    for item in fields(PipelineSettings):
        if names and item.name not in names:
            continue
        default = defaults.get(item.name, item.default)
        shown = f" (default: {default})" if default not in ("", None) else ""
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=type(item.default),
            default=default,
            metavar=_placeholder(item),
            help=item.metadata["description"].replace("%", "%%") + shown,
        )


def from_arguments(kind: type[S], options: argparse.Namespace, **changes: Any) -> S:
    """Settings from a command's options; settings without an option keep their defaults.

    Args:
        kind: the class of settings.
        options: as parsed; None means that the option was not given.
        changes: settings that the command chooses itself.

    Raises:
        ValueError: if a value is not possible.
    """
    given = {item.name: getattr(options, item.name, None) for item in fields(kind)}
    return kind(**{name: value for name, value in given.items() if value is not None} | changes)


def _placeholder(item: Field[Any]) -> str:
    if item.metadata["one_of"]:  # the settings refuse other values, in one line
        return "{" + ",".join(map(str, item.metadata["one_of"])) + "}"
    if item.name in FILE_SETTINGS:
        return "FILE"
    return {str: "NAME", int: "N", float: "X"}[type(item.default)]
