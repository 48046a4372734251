"""The state of each camera for /diagnostics: rates, latencies, memory, and the warning level.

`Statistics` counts what happens, `camera_status` compares it with `Thresholds`.
"""

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
"""Stamps that differ more than this from the node's clock come from another clock (a bag's)."""

STATUS = Path("/proc/self/status")
"""Where Linux tells about this process."""

BAD_SECONDS = 30.0
"""For how long an image that could not be used is a reason to warn."""


class Statistics:
    """Counts what happened in the last seconds. All methods may be called from any thread.

    Args:
        seconds: how long an event counts for rates and latencies.
        clock: returns monotonic seconds.

    Attributes:
        rejected: images that were refused, since the beginning.
        failed: images that could not be answered, since the beginning.
        people: number of people in the newest answer.
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
            self._drop_old()

    def answer(self, people: int, latency: float) -> None:
        """An image was answered `latency` seconds after its stamp."""
        with self._lock:
            self._answered.append((self._clock(), latency))
            self.people = people
            self._drop_old()

    def bad_image(self, refused: bool) -> None:
        """An image was refused (it is broken, or not as expected), or answering it failed."""
        with self._lock:
            self._bad.append(self._clock())
            self.rejected += refused
            self.failed += not refused
            self._drop_old()

    def recent_bad_images(self) -> int:
        """How many images could not be used in the last BAD_SECONDS."""
        with self._lock:
            self._drop_old()
            return len(self._bad)

    def silence(self) -> float:
        """Seconds since the last image, or since the beginning if there was none."""
        with self._lock:
            return self._clock() - (self._since if self._last_image is None else self._last_image)

    def rates(self) -> tuple[float, float]:
        """Images received and answered per second."""
        with self._lock:
            self._drop_old()
            span = max(min(self._seconds, self._clock() - self._since), 1e-3)
            return len(self._received) / span, len(self._answered) / span

    def latencies(self) -> tuple[float, float]:
        """Median and 99th percentile of the seconds from stamp to answer, NaN without answers."""
        with self._lock:
            self._drop_old()
            if not self._answered:
                return float("nan"), float("nan")
            values = [latency for _, latency in self._answered]
        median, late = np.percentile(values, [50, 99]).tolist()
        return median, late

    def _drop_old(self) -> None:
        oldest = self._clock() - self._seconds
        while self._received and self._received[0] < oldest:
            self._received.popleft()
        while self._answered and self._answered[0][0] < oldest:
            self._answered.popleft()
        while self._bad and self._bad[0] < self._clock() - BAD_SECONDS:
            self._bad.popleft()


@dataclass(frozen=True)
class Thresholds:
    """The limits beyond which a camera's state is a warning or an error.

    Attributes:
        image_timeout: seconds without an image after which the camera is stale.
        latency_warn: seconds of median latency above which there is a warning.
        latency_error: the same, for an error.
        min_fps: answered images per second below which there is a warning.
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
    """The state of one camera.

    Args:
        name: of the status: the node's name and the camera's.
        statistics: of the camera.
        dropped: frames that were replaced by newer ones before they were processed.
        thresholds: the limits for a warning or an error.
        settings: further values, such as the model and the device.
        restrictions: the reasons why the answers are worse than the parameters ask for.
    """
    level, text = _level(statistics, thresholds, restrictions)
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
    """glibc's `struct mallinfo2`; `uordblks` and, by mmap, `hblkhd` bytes are in use."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def heap_in_use() -> float | None:
    """Megabytes that the program holds on the heap; None where the C library does not say.

    The rest of the resident memory is kept by the heap for later use, see docs/operating.md.
    """
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)  # since glibc 2.33
    if mallinfo2 is None:
        return None
    mallinfo2.restype = _Heap
    heap = mallinfo2()
    return (heap.uordblks + heap.hblkhd) / 2**20


def memory() -> dict[str, str]:
    """The process' resident memory, its heap and, with CUDA, its device memory, in megabytes.

    What the system does not tell is left out: without /proc, for example, the resident memory.
    """
    values = {}
    try:
        status = STATUS.read_text()
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            values["memory MB"] = f"{int(line.split()[1]) / 1024:.0f}"
    in_use = heap_in_use()
    if in_use is not None:
        values["memory in use MB"] = f"{in_use:.1f}"
    torch = sys.modules.get("torch")  # imported by the pipeline, if at all
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        values["device memory MB"] = f"{torch.cuda.memory_reserved() / 2**20:.0f}"
    return values


def _level(
    statistics: Statistics, thresholds: Thresholds, restrictions: Sequence[str]
) -> tuple[bytes, str]:
    """The level and the message of the most severe condition that holds."""
    received, answered = statistics.rates()
    median, _ = statistics.latencies()
    silence, bad = statistics.silence(), statistics.recent_bad_images()
    if silence > thresholds.image_timeout:
        return DiagnosticStatus.STALE, f"no image for {silence:.1f} s"
    if received > 0 and answered == 0:
        return DiagnosticStatus.ERROR, "images arrive, but none is answered"
    other_clock = abs(median) > OTHER_CLOCK_SECONDS
    if median > thresholds.latency_error and not other_clock:
        return DiagnosticStatus.ERROR, f"answers come {median:.1f} s after their images' stamps"
    if bad:
        return (
            DiagnosticStatus.WARN,
            f"{bad} images of the last {BAD_SECONDS:.0f} s could not be used",
        )
    if median > thresholds.latency_warn and not other_clock:
        return DiagnosticStatus.WARN, f"answers come {median:.1f} s after their images' stamps"
    if answered < thresholds.min_fps:
        return DiagnosticStatus.WARN, f"only {answered:.1f} frames/s"
    if restrictions:
        return DiagnosticStatus.WARN, "; ".join(restrictions)
    if other_clock:
        return (
            DiagnosticStatus.WARN,
            f"image stamps and the clock differ by {abs(median):.0f} s: is use_sim_time right?",
        )
    return DiagnosticStatus.OK, f"{statistics.people} people, {answered:.1f} frames/s"
