"""What to look at if nobody is found in an image after another."""

from __future__ import annotations

import time
from collections.abc import Callable

NOBODY_SECONDS = 10.0
"""Nobody in the images of this time, from the first one on, is a reason for a hint."""


def nobody_found(images: int, rotate: int) -> str:
    """The usual reasons why nobody is found, in one line.

    Args:
        images: how many there were.
        rotate: the setting, degrees.
    """
    return (
        f"nobody was found in {images} images; if there is somebody: are people upright (rotate is "
        f"{rotate}; 90, 180 or 270 turn the images), are the colours right (rgb8 and bgr8 "
        "exchanged?), and are people higher than about a tenth of the image's longer side?"
    )


class Absence:
    """Notices that nobody has been found since a camera's first image.

    Args:
        rotate: the setting, degrees.
        clock: returns monotonic seconds.
    """

    def __init__(self, rotate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rotate = rotate
        self._clock = clock
        self._since: float | None = None
        self._images = 0
        self._settled = False

    def after(self, people: int) -> str:
        """The hint, once, after an image with this number of people; else an empty string.

        Somebody who was found once shows that all is well: later images may be empty.
        """
        self._settled |= people > 0
        if self._settled:
            return ""
        now = self._clock()
        self._since = now if self._since is None else self._since
        self._images += 1
        if now - self._since < NOBODY_SECONDS:
            return ""
        self._settled = True
        return nobody_found(self._images, self._rotate)
