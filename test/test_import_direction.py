"""One direction, no way back: which part of the package may know which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.paths import ROOT

PACKAGE = ROOT / "stdformer_ros"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

# From the lowest floor up. A part may import what is on lower floors, and nothing else.
FLOORS: list[set[str]] = [
    {"assets", "camera", "config", "metrics", "quality"},
    {"types"},
    {"body"},
    {"models", "perception"},
    {"postprocess"},
    {"pipeline"},
    {"io", "multi_camera"},
    {"ros", "training"},
    {"demo", "evaluation"},
    {"bench"},
    {"cli"},
]
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
KNOW_ROS = {"ros", "demo", "bench"}
ROS_PACKAGES = {"rclpy", "launch", "launch_ros", "cv_bridge", "tf2_ros", "message_filters"}


def part_of(path: Path) -> str:
    """models/published/stdformer.py -> models, camera.py -> camera."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, in functions too."""
    package = ["stdformer_ros", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def inner_imports(path: Path) -> set[str]:
    """The other parts of the package that a file imports."""
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("stdformer_ros.")}
    existing = {part_of(p) for p in FILES} | {"msg"}
    return (parts & existing) - {part_of(path)}


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_each_part_imports_only_from_lower_floors(path: Path) -> None:
    own = part_of(path)
    if own == "__init__":
        assert not inner_imports(path)
        return
    upward = {part for part in inner_imports(path) - {"msg"} if FLOOR[part] >= FLOOR[own]}
    assert not upward


def test_every_part_has_a_floor() -> None:
    assert {part_of(path) for path in FILES} - {"__init__"} == FLOOR.keys()


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) not in KNOW_ROS], ids=named)
def test_only_ros_demo_and_bench_know_ros(path: Path) -> None:
    for name in imports(path):
        first = name.split(".")[0]
        assert first not in ROS_PACKAGES
        assert not first.endswith(("_msgs", "_interfaces"))
        assert not name.startswith(("stdformer_ros.ros", "stdformer_ros.msg"))


def test_there_is_no_circle() -> None:
    """Between parts, counting imports in functions."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        graph.setdefault(part_of(path), set()).update(inner_imports(path))
    graph.pop("__init__", None)
    while graph:
        leaves = {part for part, needs in graph.items() if not needs & graph.keys()}
        assert leaves, f"these import each other in a circle: {sorted(graph)}"
        graph = {part: needs for part, needs in graph.items() if part not in leaves}


def test_smplx_is_only_imported_where_a_user_has_asked_for_smpl() -> None:
    """Its licence is not ours, so that nothing may need it."""
    for path in FILES:
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {a.name for node in top for a in node.names} | {
            node.module for node in top if isinstance(node, ast.ImportFrom)
        }
        assert not any(name and name.split(".")[0] in ("smplx", "chumpy") for name in names), path
