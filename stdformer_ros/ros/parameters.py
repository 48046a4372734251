"""The node's parameters, which are the fields of `NodeSettings`: declare, read, check changes.

A person who can set parameters is not always the person who started the node. Therefore
`file_folders` limits which files the parameters may name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from stdformer_ros.config import (
    FILE_SETTINGS,
    NodeSettings,
    outside,
    reason_to_refuse,
    split_folders,
)


def declare_parameters(node: Node) -> None:
    """Declare all settings on the node; values come from launch files and overrides."""
    for item in fields(NodeSettings):
        node.declare_parameter(item.name, item.default, _descriptor(item))


def read_parameters(node: Node) -> NodeSettings:
    """The values that the node has now.

    Raises:
        ValueError: if a parameter does not allow its value, or a file is not in `file_folders`.
    """
    values: dict[str, Any] = {
        item.name: node.get_parameter(item.name).value for item in fields(NodeSettings)
    }
    folders = split_folders(values["file_folders"])
    for name in FILE_SETTINGS:
        if folders and values[name] and (reason := outside(values[name], folders)):
            raise ValueError(f"{name} {reason}")
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return NodeSettings(**values)


def check_change(
    changes: Sequence[Parameter], configured: bool, file_folders: str
) -> SetParametersResult:
    """Whether parameters may be set, with the reason if not; for the set-parameters callback."""
    ours = {item.name: item for item in fields(NodeSettings)}
    for change in changes:
        if change.name not in ours:
            continue
        if configured and not ours[change.name].metadata["live"]:
            return SetParametersResult(
                successful=False,
                reason=f"{change.name} applies on configure: deactivate and clean up first",
            )
        reason = reason_to_refuse(ours[change.name], change.value)
        if not reason and change.name in FILE_SETTINGS and change.value:
            reason = _file_refusal(change.name, change.value, file_folders)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def _file_refusal(name: str, path: str, file_folders: str) -> str:
    folders = split_folders(file_folders)
    if not folders:
        return f"{name} can only be set at start, unless file_folders lists folders for such files"
    reason = outside(path, folders)
    return f"{name} {reason}" if reason else ""


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
