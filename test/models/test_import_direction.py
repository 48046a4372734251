"""Which rooms of `models/` may import which, beyond `test/test_import_direction.py`.

From the lowest floor up: what every network shares, the runtime, the three rooms of networks that
never import each other, the registry that knows them all, and the table of `cli models`.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from helpers.paths import ROOT

PACKAGE = "stdformer_ros.models"
MODELS = ROOT / "stdformer_ros" / "models"
FLOORS: list[set[str]] = [
    {"estimator", "checkpoint", "placement", "keypoints", "rotations", "transformer",
     "disentangling"},
    {"runtime"},
    {"default", "published", "lifting"},
    {"registry"},
    {"table"},
]  # fmt: skip
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in MODELS.rglob("*.py") if path != MODELS / "__init__.py")


def room_of(path: Path) -> str:
    """published/stdformer.py -> published, registry.py -> registry."""
    return path.relative_to(MODELS).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms of `models/` that a file imports, in functions too."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = str(node.module)
            here = module == PACKAGE
            names = [f"{module}.{a.name}" for a in node.names] if here else [module]
        rooms |= {n.split(".")[2] for n in names if n.startswith(f"{PACKAGE}.")}
    return rooms


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in FILES} == FLOOR.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MODELS)))
def test_each_room_imports_only_from_lower_floors(path: Path) -> None:
    own = room_of(path)
    others = imported_rooms(path) - {own}
    assert others <= FLOOR.keys(), "import from the module that defines a name"
    lowest = FLOOR[own] == 0
    upward = {r for r in others if FLOOR[r] > FLOOR[own] or (FLOOR[r] == FLOOR[own] and not lowest)}
    assert not upward


def test_shared_modules_import_each_other_in_no_circle() -> None:
    graph = {p.stem: imported_rooms(p) & FLOORS[0] for p in FILES if room_of(p) in FLOORS[0]}
    while graph:
        leaves = {room for room, needs in graph.items() if not needs & graph.keys()}
        assert leaves, f"these import each other in a circle: {sorted(graph)}"
        graph = {room: needs for room, needs in graph.items() if room not in leaves}
