"""Newest frame wins: what the worker processes, drops and counts."""

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")

from stdformer_ros.ros.worker import NewestWorker

pytestmark = pytest.mark.ros


def test_of_all_items_that_came_while_it_worked_only_the_newest_is_taken():
    done, working, go_on = [], threading.Event(), threading.Event()

    def process(item):
        done.append(item)
        working.set()
        go_on.wait(5)

    worker = NewestWorker(process)
    worker.offer(1)
    assert working.wait(5)
    for item in (2, 3, 4):
        worker.offer(item)
    go_on.set()
    while worker.processed < 2:
        pass
    worker.stop()
    assert done == [1, 4]
    assert (worker.offered, worker.processed, worker.dropped) == (4, 2, 2)


def test_an_idle_worker_takes_every_item_in_order():
    done, finished = [], threading.Semaphore(0)

    def process(item):
        done.append(item)
        finished.release()

    worker = NewestWorker(process)
    for item in range(20):
        worker.offer(item)
        assert finished.acquire(timeout=5)
    worker.stop()
    assert done == list(range(20))
    assert worker.dropped == 0


def test_stopping_waits_for_the_item_in_work_and_forgets_the_next():
    done, working = [], threading.Event()

    def process(item):
        working.set()
        threading.Event().wait(0.1)
        done.append(item)

    worker = NewestWorker(process)
    worker.offer(1)
    assert working.wait(5)
    worker.offer(2)
    worker.stop()
    assert done == [1]
    assert worker.dropped == 1
