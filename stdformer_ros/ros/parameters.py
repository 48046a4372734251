"""The node's parameters, which are the fields of `NodeSettings`: declare, read, check changes.

A person who can set parameters is not always the person who started the node. Therefore
`file_folders` limits which files the parameters may name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, fields
from difflib import get_close_matches
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

RCLPY_OWN = ("use_sim_time", "start_type_description_service")
"""Parameters of every node; older versions of rclpy do not declare all of them."""


def declare_parameters(node: Node) -> None:
    """Declare all settings on the node; values come from launch files and overrides.

    Raises:
        ValueError: if a parameter does not allow its value; the message names all such parameters.
    """
    wrong = []
    for item in fields(NodeSettings):
        value = item.default
        if item.name in (overrides := _overrides(node)):
            value = _fitting(item, overrides[item.name].value)
        if reason := reason_to_refuse(item, value):
            wrong.append(reason)
        else:
            node.declare_parameter(item.name, value, _descriptor(item), ignore_override=True)
    if wrong:
        raise ValueError("; ".join(wrong))


def unknown_parameters(node: Node) -> str:
    """A warning that names the overrides for this node that nobody will declare, or nothing.

    rclpy itself ignores them without a word. The other overrides are those of settings, of rclpy's
    own parameters, and `qos_overrides`, which each topic declares when it is created.
    """
    names = [item.name for item in fields(NodeSettings)]
    unknown = []
    for name in sorted(_overrides(node)):
        if node.has_parameter(name) or name.startswith("qos_overrides.") or name in RCLPY_OWN:
            continue
        nearest = get_close_matches(name.lower(), names, n=1)
        unknown.append(f"{name} (did you mean {nearest[0]}?)" if nearest else name)
    if not unknown:
        return ""
    return (
        f"parameters that {node.get_name()} does not have are ignored: {', '.join(unknown)}; "
        "`ros2 param list` shows those that it has"
    )


def fitting(changes: list[Parameter[Any]]) -> list[Parameter[Any]]:
    """The changes with numbers of the declared type; for the pre-set-parameters callback."""
    ours = {item.name: item for item in fields(NodeSettings)}
    result = []
    for change in changes:
        if change.name in ours:
            value = _fitting(ours[change.name], change.value)
            if value is not change.value:  # rclpy would take a new empty list for bytes
                change = Parameter(change.name, value=value)
        result.append(change)
    return result


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


def _overrides(node: Node) -> dict[str, Parameter[Any]]:
    """The values from command line, launch and YAML files; rclpy has no public way to them."""
    return node._parameter_overrides


def _fitting(item: Field[Any], value: Any) -> Any:
    """The value; a whole number as float, if the setting is one: in YAML `15` is an integer."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and isinstance(item.default, float) else value


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
