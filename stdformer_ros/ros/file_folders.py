"""Which files the node's parameters may name: whoever can set them is not always who started it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def split_folders(value: str) -> list[Path]:
    """The folders that are listed as in PATH, `~` being the home of who runs the node."""
    return [Path(folder).expanduser() for folder in value.split(os.pathsep) if folder]


def outside(path: str, folders: Sequence[Path]) -> str:
    """Why a file may not be named, or nothing if it lies in one of the folders.

    `..` and links are followed first, so neither leads out of a folder. The file need not exist.
    """
    try:
        real = Path(path).resolve()
        inside = any(real.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a null character
        return f"cannot be followed: {error}"
    if inside:
        return ""
    return f"is {real}, which lies in none of {', '.join(map(str, folders))}"
