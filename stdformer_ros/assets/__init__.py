"""The models and the body that ship with the package: found, and known to be intact.

`SHA256SUMS` (in the format of the `sha256sum` command) lists every asset; NOTICE says where each
one comes from and under which licence.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CHECKSUMS = "SHA256SUMS"

_HOW_TO_GET = (
    "It is part of the source repository and of every build of it: restore it there "
    "(`git checkout -- stdformer_ros/assets`) and build or install the package again. "
    "NOTICE names its source and the script in tools/ that makes it."
)


class AssetError(RuntimeError):
    """An asset is missing, damaged or unknown; the message says which file and what to do."""


def asset(name: str, folder: Path = FOLDER) -> Path:
    """The path of an asset whose content is the one that was released.

    Args:
        name: a file name in `folder`, such as "body.npz".
        folder: where the asset and `SHA256SUMS` lie.

    Raises:
        AssetError: if the file is absent, unreadable, not listed or not what is listed.
    """
    path = folder / name
    if not path.is_file():
        raise AssetError(f"asset {name} is missing: looked for {path}. {_HOW_TO_GET}")
    expected = _checksums(folder).get(name)
    if expected is None:
        raise AssetError(
            f"asset {name} is not listed in {folder / CHECKSUMS}. If it is a new asset, add the "
            f"line that `cd {folder} && sha256sum {name}` prints."
        )
    try:
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise AssetError(f"asset {name} cannot be read: {path}: {error.strerror}") from error
    if actual != expected:
        raise AssetError(
            f"asset {name} is damaged: {path} has {path.stat().st_size} bytes with SHA-256 "
            f"{actual}, but {CHECKSUMS} says {expected}. {_HOW_TO_GET}"
        )
    return path


@cache
def _checksums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 as `SHA256SUMS` of a folder lists them."""
    manifest = folder / CHECKSUMS
    try:
        lines = manifest.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AssetError(
            f"the list of assets cannot be read: {manifest}: {error}. {_HOW_TO_GET}"
        ) from error
    entries = [line.split(maxsplit=1) for line in lines if line.strip()]
    if any(len(entry) != 2 for entry in entries):
        raise AssetError(f"the list of assets is damaged: {manifest}. {_HOW_TO_GET}")
    return {name.lstrip("*"): digest for digest, name in entries}
