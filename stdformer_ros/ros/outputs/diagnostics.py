"""How the node is doing, for /diagnostics and for its own warnings."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OTHER_CLOCK_SECONDS = 3600.0
"""Stamps that are further from the clock than this are of another clock, as a bag's can be."""
BAD_SECONDS = 30.0
"""Images that could not be used are a reason to warn for so long."""


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
        self._bad: deque[float] = deque()
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

    def bad_image(self, refused: bool) -> None:
        """An image was refused for what it is, or has failed to be answered."""
        with self._lock:
            self._bad.append(self._clock())
            self.rejected += refused
            self.failed += not refused
            self._forget()

    def lately_bad(self) -> int:
        """How many images of the last BAD_SECONDS could not be used."""
        with self._lock:
            self._forget()
            return len(self._bad)

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
        while self._bad and self._bad[0] < self._clock() - BAD_SECONDS:
            self._bad.popleft()


@dataclass(frozen=True)
class Thresholds:
    """What is worth a warning.

    Attributes:
        image_timeout: seconds of silence after which the camera counts as stale.
        latency_warn: seconds of median latency.
        latency_error: the same, for an error.
        min_fps: answered images a second.
    """

    image_timeout: float
    latency_warn: float
    latency_error: float
    min_fps: float


def camera_status(
    name: str,
    statistics: Statistics,
    dropped: int,
    thresholds: Thresholds,
    settings: dict[str, str],
    restrictions: Sequence[str] = (),
) -> DiagnosticStatus:
    """How one camera's people are doing.

    Args:
        name: the node's and the camera's.
        statistics: what happened.
        dropped: frames that were replaced by newer ones before their turn.
        thresholds: what is worth a warning.
        settings: further values, such as the model and the device.
        restrictions: why people are answered, but not as the parameters say.
    """
    level, text = _judgement(statistics, thresholds, restrictions)
    received, answered = statistics.rates()
    median, late = statistics.latencies()
    values = {
        "frames per second received": f"{received:.1f}",
        "frames per second answered": f"{answered:.1f}",
        "frames dropped for newer ones": str(dropped),
        "frames refused": str(statistics.rejected),
        "frames failed": str(statistics.failed),
        "latency p50 ms": f"{1e3 * median:.1f}",
        "latency p99 ms": f"{1e3 * late:.1f}",
        "people": str(statistics.people),
        **memory(),
        **settings,
    }
    return DiagnosticStatus(
        level=level,
        name=name,
        message=text,
        hardware_id=settings.get("device", ""),
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


class _Heap(ctypes.Structure):
    """glibc's `struct mallinfo2`; in use are `uordblks` and, by mmap, `hblkhd` bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def heap_in_use() -> float | None:
    """Megabytes that the program holds on the heap; None where the C library does not tell.

    Resident memory beyond it is what the heap keeps for later, see docs/operating.md.
    """
    account = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
    if account is None:
        return None
    account.restype = _Heap
    heap = account()
    return (heap.uordblks + heap.hblkhd) / 2**20


def memory() -> dict[str, str]:
    """What the process has taken of the machine's memory and, with CUDA, of the device's."""
    values = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            values["memory MB"] = f"{int(line.split()[1]) / 1024:.0f}"
    in_use = heap_in_use()
    if in_use is not None:
        values["memory in use MB"] = f"{in_use:.1f}"
    torch = sys.modules.get("torch")  # imported by the pipeline, if at all
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        values["device memory MB"] = f"{torch.cuda.memory_reserved() / 2**20:.0f}"
    return values


def _judgement(
    statistics: Statistics, thresholds: Thresholds, restrictions: Sequence[str]
) -> tuple[bytes, str]:
    """The level and what to say, the worst first."""
    received, answered = statistics.rates()
    median, _ = statistics.latencies()
    silence, bad = statistics.silence(), statistics.lately_bad()
    if silence > thresholds.image_timeout:
        return DiagnosticStatus.STALE, f"no image for {silence:.1f} s"
    if received > 0 and answered == 0:
        return DiagnosticStatus.ERROR, "images arrive, but none can be answered"
    other_clock = abs(median) > OTHER_CLOCK_SECONDS
    if median > thresholds.latency_error and not other_clock:
        return DiagnosticStatus.ERROR, f"answers come {median:.1f} s after their images"
    if bad:
        return (
            DiagnosticStatus.WARN,
            f"{bad} images of the last {BAD_SECONDS:.0f} s could not be used",
        )
    if median > thresholds.latency_warn and not other_clock:
        return DiagnosticStatus.WARN, f"answers come {median:.1f} s after their images"
    if answered < thresholds.min_fps:
        return DiagnosticStatus.WARN, f"only {answered:.1f} frames/s"
    if restrictions:
        return DiagnosticStatus.WARN, "; ".join(restrictions)
    if other_clock:
        return (
            DiagnosticStatus.WARN,
            f"stamps and clock are {abs(median):.0f} s apart: does use_sim_time fit the images?",
        )
    return DiagnosticStatus.OK, f"{statistics.people} people, {answered:.1f} frames/s"
