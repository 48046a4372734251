"""What the documents name is in the tree: files, functions and classes, modules, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = [ROOT, ROOT / "stdformer_ros", ROOT / "launch"]
"""Where a path that a page names may begin."""

NOT_OURS = {
    "slow_near_people.py": "what the reader of docs/for_controllers.md writes",
    "common/h36m_dataset.py": "VideoPose3D's",
}


def occurrences(pattern: str) -> list[tuple[Path, str]]:
    """Every match of a pattern in the pages, once a page."""
    return [(p, m) for p in PAGES for m in sorted(set(re.findall(pattern, p.read_text())))]


def by_page_and_name(value: object) -> str:
    return value.name if isinstance(value, Path) else str(value)


def place_of(name: str) -> Path | None:
    return next((folder / name for folder in FOLDERS if (folder / name).is_file()), None)


@pytest.mark.parametrize(
    ("page", "name"), occurrences(r"(?<![\w./*-])[\w./-]*\w\.py\b"), ids=by_page_and_name
)
def test_python_files_that_a_page_names_are_there(page: Path, name: str) -> None:
    if name not in NOT_OURS and place_of(name) is None:
        pytest.fail(f"{page.name} names {name}, which is not in the tree", pytrace=False)


@pytest.mark.parametrize(
    ("page", "name"), occurrences(r"[\w./-]+\.py::[\w.]+\w"), ids=by_page_and_name
)
def test_what_a_page_names_in_a_file_is_defined_there(page: Path, name: str) -> None:
    file, _, inner = name.partition("::")
    place = place_of(file)
    body = ast.parse(place.read_text()).body if place else []
    if inner not in set(definitions(body)):
        pytest.fail(f"{page.name} names {name}, but {file} has no {inner}", pytrace=False)


def definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Names of functions, classes and constants; methods as Class.method."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id
        elif isinstance(node, ast.Assign):
            yield from (prefix + t.id for t in node.targets if isinstance(t, ast.Name))


@pytest.mark.parametrize(
    ("page", "module"), occurrences(r"python -m (stdformer_ros[\w.]*\w)"), ids=by_page_and_name
)
def test_modules_that_a_page_runs_are_there(page: Path, module: str) -> None:
    place = ROOT.joinpath(*module.split("."))
    there = place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
    assert there, f"{page.name} runs {module}"


@pytest.mark.parametrize(
    ("page", "target"), occurrences(r"\]\((?!https?:)([^)\s]+)\)"), ids=by_page_and_name
)
def test_links_lead_to_files_and_headings(page: Path, target: str) -> None:
    name, _, heading = target.partition("#")
    file = page.parent / name if name else page
    assert file.exists(), f"{page.name} links to {target}"
    if heading:
        titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert heading in anchors, f"{page.name} links to {target}"
