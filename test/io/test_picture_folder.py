"""Pictures as frames: which files, in which order, and what is said of the others."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from stdformer_ros.io.files import VideoError
from stdformer_ros.io.picture_folder import PICTURE_SUFFIXES, decode
from stdformer_ros.io.video import PICTURES_FPS, count_frames, read_video


def picture(path: Path, brightness: int = 100, size: tuple[int, int] = (10, 8)) -> Path:
    """Written under any name; the content is PNG unless the suffix says another format."""
    width, height = size
    image = np.full((height, width, 3), brightness, np.uint8)
    suffix = path.suffix.lower() if path.suffix.lower() in PICTURE_SUFFIXES else ".png"
    written = {".jfif": ".jpg", ".pgm": ".ppm", ".pbm": ".ppm"}.get(suffix, suffix)
    encoded, data = cv2.imencode(written, image)
    assert encoded
    path.write_bytes(data.tobytes())
    return path


def with_exif_turn(path: Path) -> Path:
    """A JPEG 20 x 10 whose upper half is white, to be shown turned by 90 degrees clockwise."""
    image = np.zeros((10, 20, 3), np.uint8)
    image[:5] = 255
    data = cv2.imencode(".jpg", image)[1].tobytes()
    entry = struct.pack("<HHII", 0x0112, 3, 1, 6)
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0" * 4
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + data[2:])
    return path


def read(path: Path, fps: float | None = None) -> tuple[list[tuple[float, int]], list[str]]:
    """Stamp and brightness of each frame; the warnings."""
    warnings: list[str] = []
    frames = read_video(path, fps, warnings.append)
    return [(f.stamp, int(f.image[0, 0, 0])) for f in frames], warnings


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1, 100):
        picture(tmp_path / f"frame_{number}.png", number)
    (tmp_path / "notes.txt").write_text("not an image")
    frames, warnings = read(tmp_path)
    assert [value for _, value in frames] == [1, 2, 10, 100]
    np.testing.assert_allclose([stamp for stamp, _ in frames], np.arange(4) / PICTURES_FPS)
    assert warnings == []


def test_the_frame_rate_of_pictures_can_be_said(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"{number}.png")
    assert [stamp for stamp, _ in read(tmp_path, fps=2.0)[0]] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_known_suffix_can_be_read(tmp_path: Path, suffix: str) -> None:
    picture(tmp_path / f"a{suffix.upper()}", size=(64, 48))
    frames, warnings = read(tmp_path)
    assert len(frames) == 1
    assert warnings == []


def test_what_is_no_picture_is_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("a.jpg", "e.jpg"):
        picture(tmp_path / name)
    picture(tmp_path / "._a.jpg")  # macOS keeps notes on files under such names
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.jpg").write_bytes(b"nothing")
    (tmp_path / "d.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "f.jpg").mkdir()
    (tmp_path / "g.jpg").symlink_to(tmp_path / "g.jpg")
    frames, warnings = read(tmp_path)
    assert len(frames) == 2
    (warning,) = warnings
    assert warning.startswith("6 of 8 pictures were left out")
    assert "b.jpg" in warning


def test_a_damaged_picture_takes_its_time(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"nothing")
    assert [stamp for stamp, _ in read(tmp_path, fps=10.0)[0]] == pytest.approx([0.0, 0.2])
    assert count_frames(tmp_path) == 3


def test_a_folder_with_nothing_but_damaged_pictures_is_refused_at_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(VideoError, match=r"a\.png cannot be decoded .*7 bytes.*1 other picture"):
        read_video(tmp_path)


def test_a_single_picture_is_a_recording_of_one_frame(tmp_path: Path) -> None:
    path = picture(tmp_path / "one.webp")
    assert len(read(path)[0]) == count_frames(path) == 1
    (tmp_path / "two.jpg").write_bytes(b"nothing")
    with pytest.raises(VideoError, match=r"two\.jpg cannot be decoded as an image"):
        read_video(tmp_path / "two.jpg")


@pytest.mark.parametrize("alone", [False, True])
def test_pictures_are_turned_as_their_exif_data_say(tmp_path: Path, alone: bool) -> None:
    path = with_exif_turn(tmp_path / "upright.jpg")
    (frame,) = read_video(path if alone else tmp_path)
    assert frame.image.shape == (20, 10, 3)
    assert frame.image[:, 7].mean() > 200 > 50 > frame.image[:, 2].mean()


def test_another_size_is_a_discontinuity(tmp_path: Path) -> None:
    for name, size in (("a", (10, 8)), ("b", (6, 20)), ("c", (6, 20))):
        picture(tmp_path / f"{name}.png", size=size)
    frames = list(read_video(str(tmp_path)))
    assert [f.image.shape[:2] for f in frames] == [(8, 10), (20, 6), (20, 6)]
    assert [f.camera.height for f in frames] == [8, 20, 20]
    assert [f.discontinuous for f in frames] == [False, True, False]


def test_grey_pictures_become_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 10), 70, np.uint8))
    image = decode(tmp_path / "grey.png")
    assert image is not None
    assert image.shape == (8, 10, 3)
    assert (image == 70).all()
