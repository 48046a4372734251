"""Ending on request, however often it is requested."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[Event]:
    """An event that SIGINT and SIGTERM set, in place of interrupting what is being done.

    Ctrl-C reaches a launched process twice, from the terminal and from who launched it. Afterwards
    both signals are ignored: Python gives its handlers back before the process has ended, and a
    late second signal would kill it.
    """
    stop = Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
