"""Stopwatches that add almost no time, and comparisons that a busy machine does not distort."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Figures = dict[str, float]
"""What a benchmark measured: name to number. The names are the keys of the JSON file."""


class Stopwatch:
    """Wraps a function and remembers the duration of each call in milliseconds."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.milliseconds: list[float] = []

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function and time it."""
        began = time.perf_counter()
        result = self.function(*arguments, **named)
        self.milliseconds.append(1e3 * (time.perf_counter() - began))
        return result


@contextmanager
def timed(owner: type, name: str) -> Iterator[Stopwatch]:
    """Time every call of a method of a class while the context lasts."""
    function = getattr(owner, name)
    own = name in vars(owner)
    watch = Stopwatch(function)
    # A plain function, because a Stopwatch as a class attribute would not become a method.
    setattr(owner, name, lambda *arguments, **named: watch(*arguments, **named))
    try:
        yield watch
    finally:
        if own:
            setattr(owner, name, function)
        else:
            delattr(owner, name)


def in_alternation(
    functions: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, float]:
    """Median milliseconds of each function; they are called in turn: a, b, a, b ...

    Other work on the machine then slows all of them down alike, so that ratios of the results are
    meaningful on a busy machine too.
    """
    watches = {name: Stopwatch(function) for name, function in functions.items()}
    for _ in range(warm_up):
        for function in functions.values():
            function()
    for _ in range(repeats):
        for watch in watches.values():
            watch()
    return {name: float(np.median(watch.milliseconds)) for name, watch in watches.items()}


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process in bytes; of this process by default (Linux only)."""
    status = Path(f"/proc/{pid or 'self'}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return 1024 * int(line.split()[1])
