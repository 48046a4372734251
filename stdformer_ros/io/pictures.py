"""Pictures of a run: a video with the meshes drawn over it, and a snapshot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.io.files import openable, shown
from stdformer_ros.io.overlay import Figure, draw_overlay, draw_side_view
from stdformer_ros.io.video import count_frames, usual_rate
from stdformer_ros.types import Answer, Frame, ImageArray

WIDEST = 1280
"""Pixels; wider videos are scaled down to this width."""
FRAMES_FOR_RATE = 8
"""Number of frames whose stamps give an overlay video's frame rate."""
LONGEST_PAUSE = 60.0
"""Seconds; longer gaps between two stamps are shortened to this in an overlay video."""

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

    Pictures of another shape get black borders.

    Raises:
        OSError: if the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._path, self._pictures = path, 0
        scale = min(1.0, WIDEST / size[0])
        # Encoders require even sides.
        self._size = (round(size[0] * scale / 2) * 2, round(size[1] * scale / 2) * 2)
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        with openable(path) as name:
            for codec in _CODECS:
                fourcc = cv2.VideoWriter.fourcc(*codec)
                self._writer = cv2.VideoWriter(name, fourcc, fps, self._size)
                if self._writer.isOpened():
                    break
        cv2.utils.logging.setLogLevel(level)
        if not self._writer.isOpened():
            raise OSError(f"cannot write a video to {shown(path)} (tried {', '.join(_CODECS)})")

    def write(self, image: ImageArray) -> None:
        """Append one picture (H, W, 3), uint8 RGB."""
        self._writer.write(cv2.cvtColor(_fitted(image, self._size), cv2.COLOR_RGB2BGR))
        self._pictures += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: if it is not whole, for example because the disk is full.
        """
        self._writer.release()
        # OpenCV does not tell whether it could write.
        written = count_frames(self._path) or 0
        if written < self._pictures:
            raise OSError(f"{shown(self._path)} could not be written completely; is the disk full?")


def _fitted(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """The picture scaled to a width and height, with black borders if its shape is another."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    # One pixel more or less comes from rounding to even sides and is not worth a border.
    wide, high = (
        full if abs(round(side * scale) - full) <= 1 else round(side * scale)
        for side, full in zip((width, height), size, strict=True)
    )
    resized = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA)
    x, y = (size[0] - wide) // 2, (size[1] - high) // 2
    borders = (y, size[1] - high - y, x, size[0] - wide - x)
    return np.asarray(cv2.copyMakeBorder(resized, *borders, cv2.BORDER_CONSTANT), np.uint8)


class OverlayVideo:
    """Writes a video of the frames with all people drawn over them; a sink of `offline`.

    Its frame rate is even and follows from the stamps of the first frames, which are kept in memory
    until then. Each picture is shown until the next frame's stamp, so that the video lasts as long
    as the recording; frames that follow one another faster than the frame rate are left out.

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
        self._first: list[tuple[ImageArray, float]] = []
        self._last: ImageArray | None = None
        self._fps, self._before, self._time, self._written = 0.0, 0.0, 0.0, 0
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
            self._append(picture, frame.stamp)
            return
        self._first.append((picture, frame.stamp))
        if len(self._first) == FRAMES_FOR_RATE:
            self._open()

    def _open(self) -> None:
        """Begin the file with the pictures that were kept."""
        (height, width), self._before = self._first[0][0].shape[:2], self._first[0][1]
        self._fps = usual_rate([stamp for _, stamp in self._first])
        self._time = -1.0 / self._fps
        self._writer = VideoWriter(self.path, self._fps, (width, height))
        for picture, stamp in self._first:
            self._append(picture, stamp)
        self._first.clear()

    def _append(self, picture: ImageArray, stamp: float) -> None:
        """Repeat the last picture until this one's time has come, then write this one."""
        assert self._writer is not None
        pause = stamp - self._before
        # A clock that stands or was set back tells nothing about the time that has passed.
        self._time += min(pause, LONGEST_PAUSE) if pause > 0 else 1.0 / self._fps
        self._before = stamp
        number = round(self._time * self._fps)
        if number < self._written:
            return
        for _ in range(number - self._written):
            assert self._last is not None
            self._writer.write(self._last)
        self._writer.write(picture)
        self._written, self._last = number + 1, picture


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
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    path.write_bytes(data.tobytes())
