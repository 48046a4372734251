"""The inference thread.

The executor's thread receives images and must never wait for inference. Therefore a `NewestWorker`
runs the inference in its own thread. Only the newest image of each camera waits for it: under
overload older images are dropped, they never queue up.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestWorker(Generic[Item]):
    """Gives the newest item of each camera to `process`, in a thread of its own.

    A new item replaces the waiting item of the same camera; the replaced item is dropped and
    counted. One round takes the waiting items of all cameras, so that under load every camera is
    processed equally often, whatever its frame rate is. Within a round, the camera that has waited
    longest comes first.

    Args:
        process: called with the items of one round, by the camera's name.
        report: called with an exception of `process`; the next round follows all the same.

    Attributes:
        offered: how many items came in, by camera.
        processed: how many were processed.
        dropped: how many were replaced before they were processed.
    """

    def __init__(
        self,
        process: Callable[[dict[str, Item]], None],
        report: Callable[[BaseException], None],
    ) -> None:
        self.offered: Counter[str] = Counter()
        self.processed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._process = process
        self._report = report
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
            self._survive(items)
            with self._changed:
                self.processed.update(items.keys())

    def _survive(self, items: dict[str, Item]) -> None:
        """Process one round; no exception ends the thread, not even a `SystemExit`."""
        try:
            try:
                self._process(items)
            except BaseException as error:
                self._report(error)
        except BaseException:  # of the report itself: its last way out is the process's output
            traceback.print_exc(file=sys.stderr)
