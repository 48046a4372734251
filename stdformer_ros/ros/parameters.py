"""The node's parameters: declared once, here, and read as one frozen dataclass."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from stdformer_ros.postprocess.one_euro import OneEuro
from stdformer_ros.ros.file_folders import outside, split_folders
from stdformer_ros.ros.outputs.markers import NAMESPACES


def _parameter(
    default: Any,
    description: str,
    *,
    between: tuple[float, float] | None = None,
    one_of: Sequence[Any] = (),
    refuse: Callable[[Any], str] | None = None,
    read_only: bool = False,
    live: bool = False,
) -> Any:
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


def _bad_cameras(names: Sequence[str]) -> str:
    """Why these cannot be the cameras' names, or nothing."""
    if list(names) == [""]:
        return ""
    if not names or len(set(names)) < len(names):
        return f"cameras must name each camera once, not {list(names)}"
    for name in names:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            return f"cameras: {name!r} cannot be a part of a topic (letters, digits, underscores)"
    return ""


def _bad_markers(names: Sequence[str]) -> str:
    """Why these cannot be the markers' namespaces, or nothing."""
    unknown = [name for name in names if name and name not in NAMESPACES]
    if unknown:
        return f"markers must be some of {', '.join(NAMESPACES)}, not {', '.join(unknown)}"
    return ""


@dataclass(frozen=True)
class Parameters:
    """Name, type, default, range and description of every parameter.

    They apply on configure; those that are `live` can also be changed while the node is configured.
    """

    autostart: bool = _parameter(
        False, "Configure and activate on start; if that fails, the process ends with code 1."
    )
    model: str = _parameter("stdformer_s_keypoints", "The estimator, as `cli models` lists them.")
    checkpoint: str = _parameter("", "File with the estimator's weights; empty: those shipped.")
    mesh_sampling: str = _parameter(
        "", "mesh_downsampling.npz, for the published mesh networks; see docs/official_weights.md."
    )
    joint_regressor: str = _parameter(
        "", "J_regressor_h36m_correct.npy: the published mesh networks' joints from their mesh."
    )
    smpl: str = _parameter("", "SMPL's file, for the networks that give SMPL's parameters.")
    device: str = _parameter("cpu", "Where the estimator runs: cpu, cuda, cuda:1 ...")
    backbone: str = _parameter(
        "", "STDFormer's backbone: hrnet_w64, hrnet_w32 or resnet50; empty: hrnet_w64."
    )
    delay_frames: int = _parameter(
        0,
        "Answer so many frames late, from frames on both sides: the keypoint networks, up to half "
        "their window. Stamps are those of the frames answered for.",
        between=(0, 1000),
    )
    landmarks: str = _parameter(
        "full",
        "The landmark model: lite is faster, full is better.",
        one_of=("lite", "full"),
        live=True,
    )
    detect_every: int = _parameter(
        10, "Look for new people in every so many frames.", between=(1, 300), live=True
    )
    max_people: int = _parameter(8, "Follow so many people at most.", between=(1, 64))
    mesh_level: int = _parameter(6890, "Vertices of the mesh.", one_of=(431, 1723, 6890), live=True)
    target_fps: float = _parameter(
        0.0,
        "Lower the quality while frames take longer than this rate allows: rarer searches for new "
        "people, lite landmarks, coarser meshes; 0: never.",
        between=(0.0, 240.0),
        live=True,
    )
    publish_vertices: bool = _parameter(False, "Put the vertices into ~/humans too.", live=True)
    min_score: float = _parameter(
        0.0, "Leave out people who are less sure than this.", between=(0.0, 1.0), live=True
    )
    velocity_smoothing: float = _parameter(
        0.1,
        "Time constant in seconds of the low-pass over joint velocities; they lag by as much.",
        between=(0.0, 2.0),
        live=True,
    )
    rectified: bool = _parameter(
        False, "The images are rectified: use CameraInfo's P, and no distortion."
    )
    image_transport: str = _parameter(
        "raw",
        "compressed: take sensor_msgs/CompressedImage (JPEG, PNG) from image/compressed.",
        one_of=("raw", "compressed"),
    )
    image_reliability: str = _parameter(
        "best_effort",
        "QoS of the inputs; reliable sends lost images again, which costs time.",
        one_of=("best_effort", "reliable"),
    )
    output_reliability: str = _parameter(
        "reliable",
        "QoS of the outputs; a best effort output suits lossy radio links.",
        one_of=("reliable", "best_effort"),
    )
    depth: bool = _parameter(
        False, "Take distances from depth (16UC1 in mm or 32FC1 in m, aligned to the image)."
    )
    depth_tolerance: float = _parameter(
        0.05,
        "Seconds that may lie between the stamps of image and depth.",
        between=(0.0, 1.0),
    )
    tf: str = _parameter(
        "none",
        "Publish frames human_ID on /tf: of the pelvis alone, or of all joints. Needs tf2_msgs.",
        one_of=("none", "pelvis", "joints"),
    )
    target_frame: str = _parameter(
        "", "Give positions in this frame instead of the camera's, by /tf. Needs tf2_msgs."
    )
    markers: tuple[str, ...] = _parameter(
        NAMESPACES,
        "Namespaces of ~/markers that are published; those left out cost nothing. ['']: none.",
        refuse=_bad_markers,
        live=True,
    )
    rep155: bool = _parameter(
        False, "Publish /humans/bodies as REP-155 names it, for ros4hri's nodes. Needs hri_msgs."
    )
    cameras: tuple[str, ...] = _parameter(
        ("",),
        "Names of several cameras: NAME/image in, ~/NAME/humans out. Default: one without a name.",
        refuse=_bad_cameras,
    )
    filter_min_cutoff: float = _parameter(
        0.0,
        "Hz, of a 1 euro filter over each person's answers: lower is calmer and later; 0: none.",
        between=(0.0, 30.0),
        live=True,
    )
    filter_beta: float = _parameter(
        0.0,
        "Hz by which its cutoff rises for each m/s: higher lags less.",
        between=(0.0, 100.0),
        live=True,
    )
    file_folders: str = _parameter(
        "",
        "Folders, separated by ':', in which the files that parameters name must lie. Empty: files "
        "may lie anywhere, but can only be named at start. Cannot be changed later.",
        read_only=True,
    )
    image_timeout: float = _parameter(
        2.0, "Warn after so many seconds without an image.", between=(0.1, 3600.0), live=True
    )
    latency_warn: float = _parameter(
        0.3,
        "Diagnostics warn if the median answer comes so many seconds after its image's stamp.",
        between=(0.0, 3600.0),
        live=True,
    )
    latency_error: float = _parameter(
        2.0, "The same, for an error.", between=(0.0, 3600.0), live=True
    )
    min_fps: float = _parameter(
        0.0,
        "Diagnostics warn if fewer images a second are answered; 0: never.",
        between=(0.0, 1000.0),
        live=True,
    )

    def one_euro(self) -> OneEuro | None:
        """The filter over the answers, None for none."""
        if not self.filter_min_cutoff:
            return None
        return OneEuro(self.filter_min_cutoff, self.filter_beta)


FILES = ("checkpoint", "mesh_sampling", "joint_regressor", "smpl")
"""The parameters that name files."""


def declare_parameters(node: Node) -> None:
    """Declare all of `Parameters` on the node; values come from launch files and overrides."""
    for item in fields(Parameters):
        node.declare_parameter(item.name, item.default, _descriptor(item))


def read_parameters(node: Node) -> Parameters:
    """The values that the node has now.

    Raises:
        ValueError: if a value is none of those that its parameter allows.
    """
    values = {item.name: node.get_parameter(item.name).value for item in fields(Parameters)}
    for item in fields(Parameters):
        reason = _refusal(item, values[item.name])
        if reason:
            raise ValueError(reason)
    folders = split_folders(values["file_folders"])
    for name in FILES:
        if folders and values[name] and (reason := outside(values[name], folders)):
            raise ValueError(f"{name} {reason}")
    return Parameters(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    )


def check_change(
    changes: Sequence[Parameter], configured: bool, file_folders: str
) -> SetParametersResult:
    """Whether parameters may be set, for a node's set-parameters callback."""
    ours = {item.name: item for item in fields(Parameters)}
    for change in changes:
        if change.name not in ours:
            continue
        if configured and not ours[change.name].metadata["live"]:
            return SetParametersResult(
                successful=False,
                reason=f"{change.name} applies on configure: deactivate and clean up first",
            )
        reason = _refusal(ours[change.name], change.value)
        if not reason and change.name in FILES and change.value:
            reason = _file_refusal(change.name, change.value, file_folders)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def _file_refusal(name: str, path: str, file_folders: str) -> str:
    folders = split_folders(file_folders)
    if not folders:
        return f"{name} can only be set at start, unless file_folders names where it may lie"
    reason = outside(path, folders)
    return f"{name} {reason}" if reason else ""


def _refusal(item: Field[Any], value: Any) -> str:
    allowed = item.metadata["one_of"]
    if allowed and value not in allowed:
        return f"{item.name} must be one of {', '.join(map(str, allowed))}, not {value}"
    refuse = item.metadata["refuse"]
    return refuse(value) if refuse else ""


def _descriptor(item: Field[Any]) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=item.metadata["description"], read_only=item.metadata["read_only"]
    )
    if item.metadata["one_of"]:
        choices = ", ".join(map(str, item.metadata["one_of"]))
        descriptor.additional_constraints = f"one of {choices}"
    if item.metadata["between"]:
        low, high = item.metadata["between"]
        if isinstance(item.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor
