"""What is wrong with a message, and a voice that does not say it thirty times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


class BadInput(ValueError):
    """A message that cannot be used.

    Attributes:
        kind: a word or two for what is wrong (encoding, step, repeated stamp ...); warnings of
            one kind are throttled together.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Throttle:
    """Says each kind of thing at most once in `seconds`.

    Args:
        say: where the text goes, such as a logger's `warning`.
        seconds: the pause between two texts of one kind.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._seconds = seconds
        self._clock = clock
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def __call__(self, kind: str, text: str) -> None:
        """Say `text` unless its kind was said a moment ago; tell how often it was not said."""
        now = self._clock()
        if kind in self._said and now - self._said[kind] < self._seconds:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._said[kind] = now
        unsaid = self._unsaid.pop(kind, 0)
        self._say(f"{text} (and {unsaid} more like it)" if unsaid else text)


@dataclass(frozen=True)
class Voice:
    """How the node's parts say what is wrong, without flooding the log."""

    warn: Throttle
    error: Throttle
