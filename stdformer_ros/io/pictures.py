"""What a run leaves to look at: a video with the meshes over it, and one picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.io.overlay import Figure, draw_overlay, draw_side_view
from stdformer_ros.types import Frame, ImageArray

WIDEST = 1280
"""Pixels; larger videos are written in this width."""

# H.264 plays everywhere, but not every OpenCV can write it; MPEG-4 part 2 is always there.
_CODECS = ("avc1", "mp4v")
# A codec that is not there is no news to the user, but FFmpeg would print it past OpenCV's log.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class VideoWriter:
    """Writes an MP4 file, in H.264 where OpenCV has an encoder for it.

    Args:
        path: the file.
        fps: frames a second.
        size: width and height of the pictures that will come; wider than `WIDEST` is scaled down.

    Raises:
        OSError: if the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        scale = min(1.0, WIDEST / size[0])
        # Encoders want even sides.
        self._size = (round(size[0] * scale / 2) * 2, round(size[1] * scale / 2) * 2)
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        for codec in _CODECS:
            fourcc = cv2.VideoWriter.fourcc(*codec)
            self._writer = cv2.VideoWriter(str(path), fourcc, fps, self._size)
            if self._writer.isOpened():
                break
        cv2.utils.logging.setLogLevel(level)
        if not self._writer.isOpened():
            raise OSError(f"cannot write a video to {path} (tried {', '.join(_CODECS)})")

    def write(self, image: ImageArray) -> None:
        """Append one RGB picture."""
        if image.shape[1::-1] != self._size:
            resized = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
            image = np.asarray(resized, np.uint8)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()


def write_overlay_video(
    path: Path,
    fps: float,
    frames: Iterable[tuple[Frame, Sequence[Figure] | None]],
    faces: NDArray[np.int32] | None,
    skeleton: Sequence[tuple[int, int]],
) -> None:
    """All frames at their own pace, with what was known of them drawn over.

    A frame that was not processed (None) shows the last processed one again: what a viewer of the
    live overlay would have seen.

    Args:
        path: the MP4 file.
        fps: of the frames.
        frames: each with the people in it, in order.
        faces: as in `draw_overlay`.
        skeleton: as in `draw_overlay`.
    """
    writer: VideoWriter | None = None
    shown: ImageArray | None = None
    try:
        for frame, figures in frames:
            if figures is not None:
                shown = draw_overlay(frame.image, figures, frame.camera, faces, skeleton)
            if writer is None:
                height, width = frame.image.shape[:2]
                writer = VideoWriter(path, fps, (width, height))
            writer.write(frame.image if shown is None else shown)
    finally:
        if writer is not None:
            writer.close()


def snapshot(
    frame: Frame,
    figures: Sequence[Figure],
    faces: NDArray[np.int32] | None,
    skeleton: Sequence[tuple[int, int]],
) -> ImageArray:
    """One picture: left the meshes over the image, right the same bodies from the side."""
    overlay = draw_overlay(frame.image, figures, frame.camera, faces, skeleton)
    height, width = frame.image.shape[:2]
    side = draw_side_view(figures, faces, skeleton, (round(0.6 * width), height))
    return np.concatenate([overlay, side], axis=1)


def write_png(path: Path, image: ImageArray) -> None:
    """Write an RGB picture.

    Raises:
        OSError: if the file cannot be written.
    """
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {path}")
