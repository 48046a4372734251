"""Newest frame wins: one slot a camera, one thread. Overload drops items, it never queues them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestWorker(Generic[Item]):
    """Hands the newest items to `process` in a thread of its own, at most one of each camera.

    An item that is offered while another one of its camera waits replaces it; the replaced one is
    dropped and counted. A round takes everything that waits, so that under load each camera gets
    as many turns as any other, however fast it is. The camera that has waited longest comes first.

    Args:
        process: called with the items of one round by camera. It must not raise.

    Attributes:
        offered: how many items came in, by camera.
        processed: how many were processed.
        dropped: how many were replaced before their turn.
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
            self._waiting[camera] = item  # which leaves the camera's place in the order
            self._changed.notify()

    def stop(self) -> None:
        """Finish the round in work, forget the waiting items, end the thread."""
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
