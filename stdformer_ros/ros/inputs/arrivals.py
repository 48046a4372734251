"""The newest messages of a topic whose messages belong to images: depth images, CameraInfos."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Generic, TypeVar

Item = TypeVar("Item")

KEPT = 8
"""Number of messages that are kept, because an image is processed some time after its arrival."""
SILENCE = 0.5
"""After this time in seconds without a message, or three periods of a slow topic, no image waits
for one any more."""
JITTER = 0.25
"""By this fraction of its period a message may come later than expected."""


@dataclass(frozen=True)
class Arrival(Generic[Item]):
    """A message: its stamp in nanoseconds, when it came by the clock, and what it brought."""

    stamp_ns: int
    at: float
    item: Item


class Arrivals(Generic[Item]):
    """Keeps the newest messages, and lets an image wait for the one of its time.

    A depth image, for example, often comes some milliseconds after its colour image. This is not
    message_filters' ApproximateTimeSynchronizer, which holds an image back until the others have
    arrived: the node would not answer at all while they are missing, and would queue images that
    newer ones should replace. Here the wait has a bound, and there is none if nothing can be
    expected. A reader that does not run in real time reads on until an image's time is `settled`.

    All methods may be called from any thread.

    Args:
        clock: returns monotonic seconds.
        kept: how many messages are kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, kept: int = KEPT) -> None:
        self._clock = clock
        self._kept: deque[Arrival[Item]] = deque(maxlen=kept)
        self._changed = threading.Condition()
        self._open = True

    def take(self, stamp_ns: int, item: Item) -> None:
        """Store a message, unless its stamp repeats."""
        with self._changed:
            if not self._kept or self._kept[-1].stamp_ns != stamp_ns:
                self._kept.append(Arrival(stamp_ns, self._clock(), item))
                self._changed.notify_all()

    def nearest(self, stamp_ns: int) -> Arrival[Item] | None:
        """The message nearest to a time in nanoseconds, None before the first."""
        with self._changed:
            return min(self._kept, key=lambda kept: abs(kept.stamp_ns - stamp_ns), default=None)

    def __contains__(self, stamp_ns: int) -> bool:
        with self._changed:
            return any(kept.stamp_ns == stamp_ns for kept in self._kept)

    def settled(self, stamp_ns: int) -> bool:
        """Whether the message nearest to a time in nanoseconds has arrived.

        It has if one has exactly this stamp, or if the newest one is of a later time.
        """
        with self._changed:
            return bool(self._kept) and (self._kept[-1].stamp_ns >= stamp_ns or stamp_ns in self)

    def awaited(self, stamp_ns: int) -> bool:
        """Whether the message nearest to a time is still to come, by the stamps of those before."""
        with self._changed:
            return bool(self._kept) and not self.settled(stamp_ns) and self._ahead(stamp_ns) > 0

    def expected(self, stamp_ns: int, until: float) -> bool:
        """Whether the message nearest to a time is still to come, and should come early enough.

        None is expected if none has ever come, if none has come for a while, if they lag behind
        too much, or if their stamps are of another clock.

        Args:
            stamp_ns: the time in nanoseconds.
            until: when it must have come, in seconds of the clock.
        """
        with self._changed:
            if not self._open or not self.awaited(stamp_ns):
                return False
            newest = self._kept[-1].at
            period = _median_step([kept.at for kept in self._kept])
            due = newest + (self._ahead(stamp_ns) - JITTER) * period
            return due <= until and self._clock() - newest <= max(SILENCE, 3.0 * period)

    def wait(self, stamp_ns: int, until: float) -> None:
        """Wait as long as the message of this time is `expected`, at most until `until`."""
        with self._changed:
            while self.expected(stamp_ns, until):
                rest = until - self._clock()
                if rest <= 0.0 or not self._changed.wait(rest):
                    return

    def close(self) -> None:
        """Forget everything; from now on nobody waits, until `open`."""
        with self._changed:
            self._open = False
            self._kept.clear()
            self._changed.notify_all()

    def open(self) -> None:
        """Let images wait again."""
        with self._changed:
            self._open = True

    def _ahead(self, stamp_ns: int) -> int:
        """By how many messages a time is ahead of the newest one, rounded to the nearest."""
        if len(self._kept) == 1:
            return 1  # the next one may be of any time
        period = _median_step([kept.stamp_ns for kept in self._kept])
        return round((stamp_ns - self._kept[-1].stamp_ns) / period) if period else 0


def _median_step(values: list[float] | list[int]) -> float:
    """The median of the positive differences of consecutive values, 0 without any."""
    steps = [b - a for a, b in pairwise(values) if b > a]
    return float(median(steps)) if steps else 0.0
