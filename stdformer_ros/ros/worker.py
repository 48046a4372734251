"""The inference thread, and how the process ends.

The executor's thread receives images and must never wait for inference. Therefore a `NewestWorker`
runs the inference in its own thread. Only the newest image of each camera waits for it: under
overload older images are dropped, they never queue up. With `stop_requests`, SIGINT and SIGTERM
let the process end both threads in order.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

Item = TypeVar("Item")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class NewestWorker(Generic[Item]):
    """Gives the newest item of each camera to `process`, in a thread of its own.

    A new item replaces the waiting item of the same camera; the replaced item is dropped and
    counted. One round takes the waiting items of all cameras, so that under load every camera is
    processed equally often, whatever its frame rate is. Within a round, the camera that has waited
    longest comes first.

    Args:
        process: called with the items of one round, by the camera's name. It must not raise.

    Attributes:
        offered: how many items came in, by camera.
        processed: how many were processed.
        dropped: how many were replaced before they were processed.
    """

    def __init__(self, process: Callable[[dict[str, Item]], None]) -> None:
        self.offered: Counter[str] = Counter()
        self.processed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._process = process
        self._waiting: dict[str, Item] = {}
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def offer(self, camera: str, item: Item) -> None:
        """Store the item as the camera's next one to process and return at once."""
        with self._changed:
            self.offered[camera] += 1
            self.dropped[camera] += camera in self._waiting
            self._waiting[camera] = item  # a replaced item keeps its position in the order
            self._changed.notify()

    def stop(self) -> None:
        """Finish the round that is being processed, drop the waiting items, end the thread."""
        with self._changed:
            self._running = False
            self.dropped.update(self._waiting.keys())
            self._waiting = {}
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._running)
                if not self._running:
                    return
                items, self._waiting = self._waiting, {}
            self._process(items)
            with self._changed:
                self.processed.update(items.keys())


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; they do not interrupt the process in other ways.

    Ctrl-C reaches a launched process twice, from the terminal and from the launch program. Both
    signals are ignored after the `with` block: Python restores its own handlers before the process
    has ended, and a late second signal would then kill it.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
