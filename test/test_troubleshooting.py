"""docs/troubleshooting.md: each symptom has causes with check and remedy; it quotes the code."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache

import pytest

from helpers.paths import ROOT
from stdformer_ros.config import NodeSettings

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SECTIONS = dict(
    part.split("\n", 1) for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
)  # by title
QUOTES = re.findall(r"^> (.+)$", PAGE, re.MULTILINE)
GAP = "…"
"""Stands for a value, in a quote and in a text of the code."""


@cache
def texts() -> str:
    """All texts in the code, one a line, with a gap for each value that is filled in."""
    found = []
    for path in (ROOT / "stdformer_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else GAP for v in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_line_is_one_that_the_code_writes(quote: str) -> None:
    """A line may begin with the name of a topic, which another text puts before it."""
    assert quote.removeprefix(f"{GAP}: ") in texts()


@pytest.mark.parametrize("title", SECTIONS)
def test_every_symptom_has_causes_each_with_a_check_and_a_remedy(title: str) -> None:
    rows = re.findall(r"^\|(.+)\|$", SECTIONS[title], re.MULTILINE)
    assert [cell.strip() for cell in rows[0].split("|")] == ["cause", "check", "remedy"]
    assert len(rows) > 2
    for row in rows[2:]:
        assert len(row.split("|")) == 3, row
        assert all(cell.strip() for cell in row.split("|")), row


def test_the_usual_symptoms_are_there() -> None:
    titles = "\n".join(SECTIONS)
    for symptom in (
        "Nobody is found",
        "Distances are wrong",
        "The rate is low",
        "People are upside down",
        "Nothing in RViz",
        "No calibration",
        "Depth is not used",
        "Stamps",
        "Transforms",
        "does not configure",
    ):
        assert symptom in titles


def test_the_settings_that_it_names_exist() -> None:
    launch = (ROOT / "stdformer_ros/ros/launch_parts.py").read_text()
    launch += (ROOT / "launch/camera.launch.py").read_text()
    known = {item.name for item in fields(NodeSettings)} | set(re.findall(r'"(\w+)": \(', launch))
    named = re.findall(r"\b(\w+):=", PAGE)
    named += re.findall(r"param [gs]et /stdformer (\w+)", PAGE)
    named += [n for n in re.findall(r"`(\w+): [\w\[\]]+`", PAGE) if "_depth" not in n]
    assert len(named) > 20
    assert set(named) <= known
