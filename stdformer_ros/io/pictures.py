"""Pictures of a run: a video with the meshes drawn over it, and a snapshot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.io.overlay import Figure, draw_overlay, draw_side_view
from stdformer_ros.io.video import frame_rate
from stdformer_ros.types import Answer, Frame, ImageArray

WIDEST = 1280
"""Pixels; wider videos are scaled down to this width."""
FRAMES_FOR_RATE = 8
"""Number of frames whose stamps give an overlay video's frame rate."""

# H.264 plays everywhere, but not every OpenCV can write it; MPEG-4 part 2 is always there.
_CODECS = ("avc1", "mp4v")
# If a codec is missing the next one is tried; FFmpeg would print an error, outside OpenCV's log.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class VideoWriter:
    """Writes an MP4 file, in H.264 where OpenCV has an encoder for it.

    Args:
        path: the file.
        fps: frames per second.
        size: width and height of the pictures in pixels; see `WIDEST`.

    Raises:
        OSError: if the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        scale = min(1.0, WIDEST / size[0])
        # Encoders require even sides.
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
        """Append one picture (H, W, 3), uint8 RGB."""
        if image.shape[1::-1] != self._size:
            resized = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
            image = np.asarray(resized, np.uint8)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()


class OverlayVideo:
    """Writes a video of the frames with all people drawn over them; a sink of `offline`.

    The frame rate follows from the stamps of the first frames, which are kept in memory until then.

    Args:
        path: the MP4 file; an older one stays as it is until the first pictures are written.
        faces: as in `draw_overlay`.
        skeleton: as in `draw_overlay`.
    """

    def __init__(
        self,
        path: Path,
        faces: NDArray[np.int32] | None,
        skeleton: Sequence[tuple[int, int]],
    ) -> None:
        self.path = path
        self._faces = faces
        self._skeleton = skeleton
        self._stamps: list[float] = []
        self._first: list[ImageArray] = []
        self._shown: ImageArray | None = None
        self._writer: VideoWriter | None = None

    def __enter__(self) -> OverlayVideo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Complete the file; without any frame no file is written."""
        if self._writer is None and self._first:
            self._open()
        if self._writer is not None:
            self._writer.close()

    def add(self, answer: Answer) -> None:
        """Draw the people over their frame and append the picture."""
        self.show(answer.frame, [Figure.of(human) for human in answer.humans])

    def show(self, frame: Frame, figures: Sequence[Figure] | None) -> None:
        """Append one picture.

        Args:
            frame: the next frame.
            figures: the people to draw. None if the frame was not processed: then the last
                processed frame is shown again, as in the node's live overlay.

        Raises:
            OSError: if the file cannot be written.
        """
        if figures is not None:
            self._shown = draw_overlay(
                frame.image, figures, frame.camera, self._faces, self._skeleton
            )
        picture = frame.image if self._shown is None else self._shown
        if self._writer is not None:
            self._writer.write(picture)
            return
        self._stamps.append(frame.stamp)
        self._first.append(picture)
        if len(self._first) == FRAMES_FOR_RATE:
            self._open()

    def _open(self) -> None:
        """Begin the file with the pictures that were kept."""
        height, width = self._first[0].shape[:2]
        self._writer = VideoWriter(self.path, frame_rate(self._stamps), (width, height))
        for picture in self._first:
            self._writer.write(picture)
        self._first.clear()


def snapshot(
    frame: Frame,
    figures: Sequence[Figure],
    faces: NDArray[np.int32] | None,
    skeleton: Sequence[tuple[int, int]],
) -> ImageArray:
    """One picture (H, 1.6 W, 3) RGB: left the overlay, right the bodies seen from the side."""
    overlay = draw_overlay(frame.image, figures, frame.camera, faces, skeleton)
    height, width = frame.image.shape[:2]
    side = draw_side_view(figures, faces, skeleton, (round(0.6 * width), height))
    return np.concatenate([overlay, side], axis=1)


def write_png(path: Path, image: ImageArray) -> None:
    """Write a picture (H, W, 3), uint8 RGB.

    Raises:
        OSError: if the file cannot be written.
    """
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {path}")
