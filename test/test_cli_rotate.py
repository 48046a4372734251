"""`cli run` on real pictures of a camera that is not upright, with and without `--rotate`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.cli_runs import folder_of_images, load
from helpers.real_people import upright_pictures
from stdformer_ros.camera.turning import turned_image
from stdformer_ros.cli import main
from stdformer_ros.config import TURNS
from stdformer_ros.io.video import read_video
from stdformer_ros.types import ImageArray


def folder_of(pictures: list[ImageArray], folder: Path, taken_at: int) -> Path:
    """What a camera writes whose images have to be turned clockwise by `taken_at` degrees."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        image = cv2.cvtColor(turned_image(picture, -taken_at), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{number:03}.png"), image)
    return folder


@pytest.mark.slow
def test_people_in_turned_pictures_are_found_as_in_upright_ones(
    tmp_path: Path, real_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = upright_pictures(real_video, 5)
    for degrees in TURNS:
        source = folder_of(pictures, tmp_path / f"in_{degrees}", taken_at=degrees)
        options = ["--overlay", "--rotate", str(degrees)]
        assert main(["run", str(source), "--out", str(tmp_path / f"{degrees}"), *options]) == 0
    assert "nobody was found" not in capsys.readouterr().err
    upright = load(tmp_path / "0")
    assert len(upright["frame"]) >= 5
    for degrees in TURNS[1:]:
        turned = load(tmp_path / f"{degrees}")
        for name in ("frame", "track_id", "joints", "joint_scores", "score", "stamp"):
            np.testing.assert_array_equal(turned[name], upright[name], err_msg=name)
        # The overlay is upright: people look at it.
        shapes = {f.image.shape for f in read_video(tmp_path / f"{degrees}" / "overlay.mp4")}
        assert shapes == {pictures[0].shape}


@pytest.mark.slow
def test_without_rotate_nobody_is_found_and_the_user_is_told_what_to_look_at(
    tmp_path: Path, real_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(upright_pictures(real_video, 5), tmp_path / "in", taken_at=90)
    assert main(["run", str(source), "--out", str(tmp_path / "out")]) == 0
    output = capsys.readouterr()
    assert "0 people in 5 frames" in output.out
    (line,) = [line for line in output.err.splitlines() if "nobody was found" in line]
    assert "warning: nobody was found in 5 images" in line
    assert "rotate is 0; 90, 180 or 270 turn the images" in line


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("people", "hints"), [([0, 0, 0], 1), ([0, 1, 0], 0)])
def test_the_hint_comes_only_if_nobody_was_found_in_any_image(
    tmp_path: Path, people: list[int], hints: int, capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", people)
    assert main(["run", str(images), "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("nobody was found in 3 images") == hints


@pytest.mark.usefixtures("built")
def test_an_angle_that_is_not_possible_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [1])
    assert main(["run", str(images), "--out", str(tmp_path), "--rotate", "45"]) == 2
    assert "rotate must be one of 0, 90, 180, 270, not 45" in capsys.readouterr().err
