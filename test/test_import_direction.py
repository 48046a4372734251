"""One direction, no way back: which part of the package may know which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "stdformer_ros"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

# part of the package: the other parts that it may import
MAY_IMPORT = {
    "assets": set(),
    "distortion": set(),
    "depth": set(),
    "camera": {"distortion"},
    "safe_pickle": set(),
    "threads": set(),
    "types": {"camera", "depth"},
    "body_distance": {"types"},
    "body": {"assets", "safe_pickle"},
    "perception": {"assets", "types"},
    "models": {"assets", "body", "camera", "safe_pickle", "threads", "types"},
    "quality": set(),
    "one_euro": {"types"},
    "steadying": {"types"},
    "smoothing": {"one_euro", "steadying", "types"},
    "reprojection": {"body", "camera", "threads", "types"},
    "pipeline": {
        "body_distance",
        "camera",
        "depth",
        "models",
        "one_euro",
        "perception",
        "quality",
        "reprojection",
        "smoothing",
        "types",
    },
    "rep155": {"camera", "types"},
    "video": {"camera", "types"},
    "sample_clip": set(),
    "overlay": {"camera", "types"},
    "pictures": {"overlay", "types"},
}
ROS_PACKAGES = {"rclpy", "launch", "launch_ros", "cv_bridge", "tf2_ros", "message_filters"}


def part_of(path: Path) -> str:
    """models/stdformer.py -> models, camera.py -> camera."""
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


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) in MAY_IMPORT], ids=named)
def test_each_part_knows_only_what_comes_before_it(path: Path) -> None:
    assert inner_imports(path) <= MAY_IMPORT[part_of(path)]


def test_the_rules_speak_of_parts_that_exist() -> None:
    existing = {part_of(path) for path in FILES}
    assert MAY_IMPORT.keys() <= existing
    assert set().union(*MAY_IMPORT.values()) <= existing


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) != "ros"], ids=named)
def test_only_the_ros_folder_knows_ros(path: Path) -> None:
    for name in imports(path):
        first = name.split(".")[0]
        assert first not in ROS_PACKAGES
        assert not first.endswith(("_msgs", "_interfaces"))
        assert not name.startswith(("stdformer_ros.ros", "stdformer_ros.msg"))


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) == "ros"], ids=named)
def test_the_node_neither_trains_nor_evaluates(path: Path) -> None:
    assert not inner_imports(path) & {"training", "evaluation", "cli", "offline"}


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
