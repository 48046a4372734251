"""One direction, no way back: which part of the package may import which.

A part is a folder or a module at the top of the package; the parts lie on floors. A room is a
folder inside a part. Rules are on folders, so that files may be merged and moved within one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from helpers.paths import ROOT

PACKAGE = ROOT / "stdformer_ros"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

MODULES = {
    ".".join(("stdformer_ros", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in FILES
}

# From the lowest floor up. A part may import what is on lower floors, and nothing else.
FLOORS: list[set[str]] = [
    {"assets", "camera", "config", "downloads", "hints", "metrics", "quality", "stopping"},
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
ROOMS: dict[str, set[str]] = {
    "evaluation/motion": {"evaluation"},
    "evaluation/published": {"evaluation"},
    "evaluation/views": {"evaluation"},
    "models/default": {"models", "models/runtime"},
    "models/lifting": {"models"},
    "models/published": {"models", "models/runtime"},
    "models/runtime": {"models"},
    "ros/inputs": {"ros"},
    "ros/outputs": {"ros/inputs"},
    "training/contest": {"training/people"},
    "training/data": {"training/people"},
    "training/people": set(),
}
"""What a room imports of its part: other rooms, or modules at the part's top by the part's name."""
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
KNOW_ROS = {"ros", "demo", "bench"}
ROS_PACKAGES = {"rclpy", "launch", "launch_ros", "cv_bridge", "tf2_ros", "message_filters"}


def part_of(path: Path) -> str:
    """models/published/stdformer.py -> models, camera.py -> camera."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def names_in(path: Path) -> list[tuple[str, str]]:
    """What a file imports, in functions too: (module, name in it or empty), absolute."""
    package = ["stdformer_ros", *path.relative_to(PACKAGE).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            found += [(module, alias.name) for alias in node.names]
    return found


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, and of what it takes from them."""
    for module, name in names_in(path):
        yield module
        yield f"{module}.{name}"


def inner_imports(path: Path) -> set[str]:
    """The other parts of the package that a file imports."""
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("stdformer_ros.")}
    existing = {part_of(p) for p in FILES} | {"msg"}
    return (parts & existing) - {part_of(path)}


@cache
def imported_files(path: Path) -> frozenset[Path]:
    """The files of the package that a file imports."""
    files = {MODULES.get(f"{m}.{name}") or MODULES.get(m) for m, name in names_in(path)}
    return frozenset(file for file in files if file not in (None, path))


def leads_to(path: Path) -> set[Path]:
    """The files of the package that are imported with a file."""
    found: set[Path] = set()
    new = {path}
    while new:
        new = {file for source in new for file in imported_files(source)} - found
        found |= new
    return found


def rooms_below(path: Path, part: str) -> set[str]:
    """The rooms of a part that are imported with a file."""
    return {room for file in leads_to(path) if (room := room_of(file)).startswith(f"{part}/")}


def room_of(path: Path) -> str:
    """models/published/stdformer.py -> models/published, models/registry.py -> models."""
    return path.relative_to(PACKAGE).parent.as_posix()


def imports_in_part(room: str) -> Iterator[tuple[Path, Path]]:
    """Pairs of a room's file and a file elsewhere in the same part that it imports."""
    part = room.split("/")[0]
    for path in FILES:
        if room_of(path) == room:
            others = sorted(imported_files(path))
            yield from ((path, o) for o in others if room_of(o) != room and part_of(o) == part)


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


def require_no_circle(graph: dict[str, set[str]]) -> None:
    """From a name to the names that it needs."""
    while graph:
        leaves = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert leaves, f"these import each other in a circle: {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in leaves}


def test_there_is_no_circle_of_parts() -> None:
    """Counting imports in functions."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        graph.setdefault(part_of(path), set()).update(inner_imports(path))
    graph.pop("__init__", None)
    require_no_circle(graph)


def test_there_is_no_circle_of_files() -> None:
    """Counting imports in functions and those for annotations."""
    require_no_circle({named(path): {named(f) for f in imported_files(path)} for path in FILES})


def test_every_room_has_a_rule() -> None:
    assert {room for path in FILES if "/" in (room := room_of(path))} == ROOMS.keys()


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_imports_what_its_rule_says_and_needs_all_of_it(room: str) -> None:
    found: dict[str, list[str]] = {}
    for path, other in imports_in_part(room):
        found.setdefault(room_of(other), []).append(f"{named(path)} imports {named(other)}")
    assert not {other: files for other, files in found.items() if other not in ROOMS[room]}
    assert ROOMS[room] == found.keys(), "the rule allows more than is needed: shorten it"


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_what_is_built_from_rooms(room: str) -> None:
    """A registry, a node or a command is made of rooms; they do not know of it."""
    part = room.split("/")[0]
    assert not [
        f"{named(path)} imports {named(other)}"
        for path, other in imports_in_part(room)
        if room_of(other) == part and rooms_below(other, part)
    ]


def test_smplx_is_only_imported_where_a_user_has_asked_for_smpl() -> None:
    """Its licence is not ours, so that nothing may need it."""
    for path in FILES:
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {a.name for node in top for a in node.names} | {
            node.module for node in top if isinstance(node, ast.ImportFrom)
        }
        assert not any(name and name.split(".")[0] in ("smplx", "chumpy") for name in names), path
