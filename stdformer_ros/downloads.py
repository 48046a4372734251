"""What a file really is that a user brings: a download often is not what its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path

_LFS = b"version https://git-lfs"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
_ZIP = b"PK\x03\x04"


def is_zip(path: Path) -> bool:
    """Whether the file is a zip archive; npz files and checkpoints of torch are, too."""
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def reason_to_refuse(path: Path) -> str:
    """Why a file cannot be weights or arrays, whatever its name is, with what to do; or "".

    It knows empty files, folders, web pages, pointers of Git LFS, and packed archives.
    """
    if path.is_dir():
        return f"{path} is a folder; name the file in it"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return f"{path} is empty; the download has failed, repeat it"
    if start.startswith(_LFS):
        return f"{path} is a pointer of Git LFS, not the file itself; run `git lfs pull` there"
    if start.lstrip().lower().startswith(_PAGES):
        return (
            f"{path} is a web page, not the file itself; open the address in a browser: it may "
            "ask for a login or a confirmation"
        )
    kind = next((name for magic, name in _ARCHIVES.items() if start.startswith(magic)), "")
    if start.startswith(_ZIP) and (names := _names_in_zip(path)):
        inner = [name for name in names if not name.endswith("/")]
        if not any(n.endswith(("data.pkl", ".npy")) for n in inner):
            kind = f"zip (with {', '.join(inner[:3])}{' ...' if len(inner) > 3 else ''})"
    return (
        f"{path} is an archive of the kind {kind}; unpack it and name the file in it"
        if kind
        else ""
    )


def reason(error: BaseException) -> str:
    """The first line of a library's error, unless it advises to run code from the file."""
    line = (str(error).splitlines() or [""])[0]
    advice = ("weights_only", "allow_pickle", "Weights only load failed", "trust")
    if any(word in line for word in advice):
        return "it holds Python objects, not only arrays"
    return line or type(error).__name__


def _names_in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []
