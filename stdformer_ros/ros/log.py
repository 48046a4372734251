"""An error for input that the node cannot use, and a log that such errors cannot flood.

Code that reads a message raises `BadInput`, which says what is wrong. Code that catches it writes
the text to a `ThrottledLog`, because a camera with a wrong setting sends the same bad image 30
times a second.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from stdformer_ros.assets import AssetError

Warn = Callable[[str, str], object]
"""Takes a warning: its kind (see `BadInput.kind`) and its text. A `Throttle` is one."""


def ignore(kind: str, text: str) -> None:
    """A `Warn` for where nobody listens."""


class BadInput(ValueError):
    """A message that cannot be used.

    Attributes:
        kind: what is wrong, in one or two words (encoding, step, repeated stamp ...); warnings of
            one kind are throttled together.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Throttle:
    """Writes at most one text of each kind in `seconds`.

    Args:
        write: where the text goes, such as a logger's `warning`.
        seconds: the shortest time between two texts of one kind.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._seconds = seconds
        self._clock = clock
        self._written_at: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def __call__(self, kind: str, text: str) -> None:
        """Write `text` with the number of texts of its kind that were suppressed before it.

        It is suppressed itself if a text of its kind was written less than `seconds` ago.
        """
        now = self._clock()
        if kind in self._written_at and now - self._written_at[kind] < self._seconds:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._written_at[kind] = now
        count = self._suppressed.pop(kind, 0)
        self._write(f"{text} (and {count} more like it)" if count else text)


FORESEEN = (ValueError, OSError, AssetError)
"""What our own checks raise, with messages that say what is wrong and what to do."""


def cause(error: BaseException) -> str:
    """What an error says, in one line; for one that was not foreseen also its type, and below that
    line its traceback.
    """
    name, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, FORESEEN) and text:
        return text
    trace = "".join(traceback.format_exception(error)).rstrip()
    return f"{name}: {text}\n{trace}" if text else f"{name}\n{trace}"


@dataclass(frozen=True)
class ThrottledLog:
    """The node's log for problems that can repeat with every image."""

    warn: Throttle
    error: Throttle
