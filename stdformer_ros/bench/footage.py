"""Input for the benchmarks from real footage: one man, as many times as people are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.video import read_video
from stdformer_ros.types import Frame, ImageArray

LEFT, TOP, WIDTH, HEIGHT = 340, 20, 640, 480
"""Where in the sample clip (1768x994) one man is alone; nothing is scaled."""
ALONE = 160
"""In so many frames from the first."""
PERIOD = 1 / 30


def one_person(video: Path) -> list[ImageArray]:
    """640x480 images of one man on a roof, 160 of them, from the sample clip.

    Raises:
        VideoError: if the file is no video.
        ValueError: if it is another video.
    """
    images = [frame.image for frame, _ in zip(read_video(video), range(ALONE), strict=False)]
    if len(images) < ALONE or images[0].shape != (994, 1768, 3):
        raise ValueError(f"{video} is not the sample clip, which the benchmarks are made for")
    return [np.ascontiguousarray(i[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]) for i in images]


def there_and_back(images: Sequence[ImageArray], index: int) -> ImageArray:
    """The image at an index of the endless film that runs forwards, then backwards, and so on."""
    index %= 2 * len(images) - 2
    return images[min(index, 2 * len(images) - 2 - index)]


def crowd(images: Sequence[ImageArray], people: int) -> Iterator[Frame]:
    """Endless frames of so many people: the film in the cells of a grid, each at another time.

    Args:
        images: of one person, all of one size.
        people: cells that are filled; others stay black.
    """
    columns = int(np.ceil(np.sqrt(people)))
    rows = -(-people // columns)
    height, width = images[0].shape[:2]
    for i in count():
        canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
        for k in range(people):
            y, x = k // columns * height, k % columns * width
            cell = there_and_back(images, i + k * len(images) // people)
            canvas[y : y + height, x : x + width] = cell
        yield frame_of(canvas, i)


def resized(images: Sequence[ImageArray], width: int, height: int, number: int) -> list[Frame]:
    """The film of one person in another resolution."""
    return [
        frame_of(np.asarray(cv2.resize(there_and_back(images, i), (width, height)), np.uint8), i)
        for i in range(number)
    ]


def frame_of(image: ImageArray, index: int) -> Frame:
    """The image as the stream's frame of this index, 30 a second."""
    height, width = image.shape[:2]
    return Frame(image, index * PERIOD, Camera.assumed(width, height))
