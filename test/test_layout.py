"""Where things lie: tests mirror the package, and no name of a module has two meanings."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from helpers.paths import ROOT, TEST

PACKAGE = ROOT / "stdformer_ros"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FOLDERS = sorted({path.parent for path in MODULES} - {PACKAGE})

SAME_MEANING = {
    "__main__": "what `python -m FOLDER` runs",
    "command": "a command of the command line: its options, and what it does with them",
    "estimator": "networks behind the streaming interface; models/estimator.py is that interface",
    "evaluate": "the loop of an evaluation",
    "pipeline": "pipeline.py, and the benchmark of it",
}
"""Names of modules that may occur in several folders, since they mean the same in each."""

NOT_MIRRORS = {"data", "helpers"}
"""Folders of test/ that hold no tests."""


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_every_folder_of_the_package_has_tests_in_the_folder_of_its_name(folder: Path) -> None:
    tests = TEST / folder.relative_to(PACKAGE)
    assert list(tests.rglob("test_*.py")), f"no tests in {tests.relative_to(ROOT)}"


def test_every_folder_of_tests_is_one_of_the_package() -> None:
    folders = {path.parent.relative_to(TEST) for path in TEST.rglob("test_*.py")}
    assert not {f for f in folders if not (PACKAGE / f).is_dir()}
    others = {p.name for p in TEST.iterdir() if p.is_dir() and not list(p.rglob("test_*.py"))}
    assert others - {"__pycache__"} <= NOT_MIRRORS


def test_no_name_of_a_module_has_two_meanings() -> None:
    places = defaultdict(list)
    for path in MODULES:
        places[path.stem].append(relative(path))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert not {name: paths for name, paths in twice.items() if name not in SAME_MEANING}
    unused = SAME_MEANING.keys() - twice.keys()
    assert not unused, "these occur once only: take them out of the list"


def test_no_module_of_the_package_is_longer_than_a_chapter() -> None:
    lengths = {relative(path): len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: length for name, length in lengths.items() if length > 450}
