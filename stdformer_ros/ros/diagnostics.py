"""How the node is doing, for /diagnostics and for its own warnings."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue


class Statistics:
    """What happened in the last seconds. Any thread may count.

    Args:
        seconds: how long an event is remembered for rates and latencies.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._received: deque[float] = deque()
        self._answered: deque[tuple[float, float]] = deque()
        self._since = clock()
        self._last_image: float | None = None
        self.rejected = 0
        self.failed = 0
        self.people = 0

    def image(self) -> None:
        """An image has arrived, good or bad."""
        with self._lock:
            self._last_image = self._clock()
            self._received.append(self._last_image)
            self._forget()

    def answer(self, people: int, latency: float) -> None:
        """An image was answered `latency` seconds after its stamp."""
        with self._lock:
            self._answered.append((self._clock(), latency))
            self.people = people
            self._forget()

    def silence(self) -> float:
        """Seconds since the last image, or since the beginning if there was none."""
        with self._lock:
            return self._clock() - (self._since if self._last_image is None else self._last_image)

    def rates(self) -> tuple[float, float]:
        """Images received and answered per second."""
        with self._lock:
            self._forget()
            span = max(min(self._seconds, self._clock() - self._since), 1e-3)
            return len(self._received) / span, len(self._answered) / span

    def latencies(self) -> tuple[float, float]:
        """Median and 99th percentile of the seconds from stamp to answer, NaN without answers."""
        with self._lock:
            self._forget()
            if not self._answered:
                return float("nan"), float("nan")
            values = [latency for _, latency in self._answered]
        median, late = np.percentile(values, [50, 99]).tolist()
        return median, late

    def _forget(self) -> None:
        oldest = self._clock() - self._seconds
        while self._received and self._received[0] < oldest:
            self._received.popleft()
        while self._answered and self._answered[0][0] < oldest:
            self._answered.popleft()


def camera_status(
    name: str,
    statistics: Statistics,
    dropped: int,
    image_timeout: float,
    settings: dict[str, str],
    restrictions: Sequence[str] = (),
) -> DiagnosticStatus:
    """How one camera's people are doing.

    Args:
        name: the node's and the camera's.
        statistics: what happened.
        dropped: frames that were replaced by newer ones before their turn.
        image_timeout: seconds of silence after which the camera counts as stale.
        settings: further values, such as the model and the device.
        restrictions: why people are answered, but not as the parameters say.
    """
    received, answered = statistics.rates()
    median, late = statistics.latencies()
    silence = statistics.silence()
    if silence > image_timeout:
        level, text = DiagnosticStatus.STALE, f"no image for {silence:.1f} s"
    elif received > 0 and answered == 0:
        level, text = DiagnosticStatus.ERROR, "images arrive, but none can be answered"
    elif statistics.rejected or statistics.failed:
        bad = statistics.rejected + statistics.failed
        level, text = DiagnosticStatus.WARN, f"{bad} images could not be used so far"
    elif restrictions:
        level, text = DiagnosticStatus.WARN, "; ".join(restrictions)
    else:
        level, text = DiagnosticStatus.OK, f"{statistics.people} people, {answered:.1f} frames/s"
    values = {
        "frames per second received": f"{received:.1f}",
        "frames per second answered": f"{answered:.1f}",
        "frames dropped for newer ones": str(dropped),
        "frames refused": str(statistics.rejected),
        "frames failed": str(statistics.failed),
        "latency p50 ms": f"{1e3 * median:.1f}",
        "latency p99 ms": f"{1e3 * late:.1f}",
        "people": str(statistics.people),
        **settings,
    }
    return DiagnosticStatus(
        level=level,
        name=name,
        message=text,
        hardware_id=settings.get("device", ""),
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
