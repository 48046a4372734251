"""Newest frame wins: one slot, one thread. Overload drops items, it never queues them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestWorker(Generic[Item]):
    """Hands the newest item to `process` in a thread of its own.

    An item that is offered while another one waits replaces it; the replaced one is dropped and
    counted. Items are processed in the order in which they were offered.

    Args:
        process: called with one item at a time. It must not raise.

    Attributes:
        offered: how many items came in.
        processed: how many were processed.
        dropped: how many were replaced before their turn.
    """

    def __init__(self, process: Callable[[Item], None]) -> None:
        self.offered = 0
        self.processed = 0
        self.dropped = 0
        self._process = process
        self._waiting: list[Item] = []
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> None:
        """Store the item as the next one to process and return at once."""
        with self._changed:
            self.offered += 1
            self.dropped += len(self._waiting)
            self._waiting = [item]
            self._changed.notify()

    def stop(self) -> None:
        """Finish the item in work, forget the waiting one, end the thread."""
        with self._changed:
            self._running = False
            self.dropped += len(self._waiting)
            self._waiting = []
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._running)
                if not self._running:
                    return
                item = self._waiting.pop()
            self._process(item)
            with self._changed:
                self.processed += 1
