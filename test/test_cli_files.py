"""Files of all kinds on the command line: strange names, damaged videos, full disks, addresses."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.cli_runs import folder_of_images, load
from helpers.disk import largest_file
from helpers.edited_video import damaged, with_durations, write_video
from stdformer_ros.cli import main
from stdformer_ros.io.video import read_video


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "name", [b"12:30.avi", b"bad\xff.avi", b"%d.avi", b"-a.avi", b"new\nline.avi"]
)
def test_a_video_may_have_any_name_and_so_may_the_results(
    tmp_path: Path,
    name: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "video.avi", 3, "MJPG").rename(os.fsdecode(name))
    out = os.fsdecode(b"out-" + name)
    assert main(["run", "--out", out, "--overlay", "--", os.fsdecode(name)]) == 0
    assert load(tmp_path / out)["fps"] == pytest.approx(30.0)
    assert len(list(read_video(tmp_path / out / "overlay.mp4"))) == 3
    capfd.readouterr().out.encode()


@pytest.mark.parametrize("name", [b"\xff.avi", b"\xfe.png"])
def test_a_name_that_is_not_utf8_does_not_end_the_process(tmp_path: Path, name: bytes) -> None:
    """OpenCV crashes on such names, and a strict output cannot take them."""
    if name.endswith(b"png"):
        folder_of_images(tmp_path / "images", [0])
        (tmp_path / "images/000.png").rename(tmp_path / os.fsdecode(name))
    else:
        write_video(tmp_path / "a.avi", 2, "MJPG").rename(tmp_path / os.fsdecode(name))
    command = [sys.executable, "-m", "stdformer_ros.cli", "run"]
    result = subprocess.run(
        [*command, os.fsdecode(name), "--out", os.fsdecode(b"out\xff"), "--overlay"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "out\\xff/humans.npz" in result.stdout


@pytest.mark.usefixtures("built")
def test_a_damaged_video_is_read_on_and_what_is_missing_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = damaged(write_video(tmp_path / "a.mp4"), 0.25, 0.5)
    assert main(["run", str(video), "--out", str(tmp_path)]) == 0
    output = capfd.readouterr()
    answered = int(output.out.split(" frames")[0].split()[-1])
    assert 30 < answered < 60
    assert f"{60 - answered} of 60 frames could not be decoded" in output.err


@pytest.mark.usefixtures("built")
def test_with_a_variable_frame_rate_the_overlay_lasts_as_long_as_the_video(tmp_path: Path) -> None:
    durations = [20] * 20 + [500] + [40] * 19
    video = with_durations(write_video(tmp_path / "a.mp4", frames=40), durations)
    assert main(["run", str(video), "--out", str(tmp_path), "--overlay"]) == 0
    seconds = sum(durations[:-1]) / 1000
    overlay = list(read_video(tmp_path / "overlay.mp4"))
    assert overlay[-1].stamp == pytest.approx(seconds, abs=0.03)
    assert load(tmp_path)["fps"] == pytest.approx(39 / seconds, rel=0.01)


@pytest.mark.usefixtures("built")
def test_on_a_full_disk_the_older_results_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [1] * 50)
    command = ["run", str(images), "--out", str(tmp_path)]
    assert main(command) == 0
    before = (tmp_path / "humans.npz").read_bytes()
    with largest_file(2_000):
        assert main(command) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: cannot write {tmp_path}/humans.npz: ")
    assert (tmp_path / "humans.npz").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.usefixtures("built")
def test_without_room_for_the_meshes_everything_else_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [1] * 50)
    with largest_file(9_000):
        assert main(["run", str(images), "--out", str(tmp_path), "--vertices"]) == 2
    assert "with vertices; it holds everything else" in capfd.readouterr().err
    humans = load(tmp_path)
    assert len(humans["joints"]) == len(humans["frame"]) == 50
    assert "vertices" not in humans


class FullDisk(io.BytesIO):
    """A temporary file on a disk with room for so many meshes."""

    def __init__(self, meshes: int) -> None:
        super().__init__()
        self._left = meshes

    def write(self, data: Any) -> int:
        self._left -= 1
        if self._left < 0:
            raise OSError(28, "No space left on device")
        return super().write(data)

    def flush(self) -> None:
        """What could not be written is still to be written."""
        if self._left < 0:
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.flush()


@pytest.mark.usefixtures("built")
def test_a_disk_that_fills_up_ends_the_run_with_whole_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [3] * 50)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: FullDisk(meshes=31))
    assert main(["run", str(images), "--out", str(tmp_path), "--vertices"]) == 2
    output = capfd.readouterr()
    assert f"error: cannot write meshes into {tmp_path}: No space left on device" in output.err
    assert "with vertices; it holds everything else" in output.err
    assert "3 people in 10 frames" in output.out
    humans = load(tmp_path)
    assert "vertices" not in humans
    assert humans["frame"].tolist() == np.repeat(np.arange(10), 3).tolist()


@pytest.mark.usefixtures("built")
def test_the_room_of_the_meshes_is_free_before_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = folder_of_images(tmp_path / "images", [1] * 5)
    save, meshes = np.savez, []

    def full(file: IO[bytes], **arrays: NDArray[Any]) -> None:
        if "vertices" in arrays:
            meshes.append(weakref.ref(arrays["vertices"]))
            raise OSError(28, "No space left on device")
        assert meshes[0]() is None, "the temporary file is still in use"
        save(file, **arrays)

    monkeypatch.setattr(np, "savez", full)
    assert main(["run", str(images), "--out", str(tmp_path), "--vertices"]) == 2
    assert len(load(tmp_path)["frame"]) == 5


@pytest.mark.usefixtures("built")
def test_an_overlay_that_does_not_fit_costs_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "a.avi", 40, "MJPG")
    with largest_file(50_000):
        assert main(["run", str(video), "--out", str(tmp_path), "--overlay"]) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "overlay.mp4 could not be written completely; is the disk full?" in error
    assert load(tmp_path)["fps"] == pytest.approx(30.0)


@pytest.mark.parametrize("source", ["rtsp://10.0.0.5/a", "0", "/dev/null"])
def test_what_is_no_file_is_refused_with_what_to_do(
    tmp_path: Path, source: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", source, "--out", str(tmp_path)]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "camera" in line
