"""How a program ends on Ctrl-C (SIGINT) or SIGTERM.

A program that still imports or loads has nothing to finish: `exit_on_signals`. A program that works
through a recording keeps its results: `interrupt_on_signals`. A node ends its threads in order:
`stop_requests`. This module imports nothing heavy, so that programs can call it first.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130
"""The exit code of a program that Ctrl-C has ended, by the convention of shells."""
REPEATED_SECONDS = 1.0
"""A second signal within this time belongs to the first: Ctrl-C reaches a launched process twice,
from the terminal and from the program that launched it."""


def exit_on_signals(code: int) -> None:
    """From now on a signal ends the process at once, with this exit code and without a traceback.

    A `KeyboardInterrupt` would not do: libraries in the middle of their import hide it or make an
    `ImportError` of it.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        os._exit(code)

    _handle(leave)


def interrupt_on_signals() -> None:
    """From now on both signals raise `KeyboardInterrupt`; a repeated one does not raise it again.

    So the second of two signals cannot interrupt the writing of results that the first has begun.
    """
    last = float("-inf")

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        repeated, last = now - last < REPEATED_SECONDS, now
        if not repeated:
            raise KeyboardInterrupt

    _handle(interrupt)


@contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """`interrupt_on_signals` in the `with` block; afterwards signals do what they did before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupt_on_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; they do not interrupt the process in other ways.

    Both signals are ignored after the `with` block: Python restores its own handlers before the
    process has ended, and a late second signal would then kill it.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    _handle(on_signal)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _handle(handler: signal._HANDLER) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)
