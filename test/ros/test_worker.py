"""Newest frame wins: what the worker processes, drops and counts."""

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")

from stdformer_ros.ros.worker import NewestWorker

pytestmark = pytest.mark.ros


def unexpected(error):
    raise AssertionError("the worker reported an error") from error


def test_of_all_items_offered_while_it_is_busy_only_the_newest_is_processed():
    done, working, go_on = [], threading.Event(), threading.Event()

    def process(items):
        done.append(items)
        working.set()
        go_on.wait(5)

    worker = NewestWorker(process, unexpected)
    worker.offer("front", 1)
    assert working.wait(5)
    for item in (2, 3, 4):
        worker.offer("front", item)
    go_on.set()
    while worker.processed["front"] < 2:
        pass
    worker.stop()
    assert done == [{"front": 1}, {"front": 4}]
    assert (worker.offered, worker.processed, worker.dropped) == (
        {"front": 4},
        {"front": 2},
        {"front": 2},
    )


def test_an_idle_worker_processes_every_item_in_order():
    done, finished = [], threading.Semaphore(0)

    def process(items):
        done.extend(items.values())
        finished.release()

    worker = NewestWorker(process, unexpected)
    for item in range(20):
        worker.offer("front", item)
        assert finished.acquire(timeout=5)
    worker.stop()
    assert done == list(range(20))
    assert not worker.dropped.total()


def test_stopping_finishes_the_current_item_and_drops_the_next():
    done, working = [], threading.Event()

    def process(items):
        working.set()
        threading.Event().wait(0.1)
        done.extend(items.values())

    worker = NewestWorker(process, unexpected)
    worker.offer("front", 1)
    assert working.wait(5)
    worker.offer("front", 2)
    worker.stop()
    assert done == [1]
    assert worker.dropped == {"front": 1}


def test_a_fast_camera_does_not_delay_a_slow_one():
    """Under load every round takes one item of each camera, the one that waited longest first."""
    rounds, working, go_on = [], threading.Semaphore(0), threading.Semaphore(0)

    def process(items):
        rounds.append(list(items.items()))
        working.release()
        assert go_on.acquire(timeout=5)

    worker = NewestWorker(process, unexpected)
    worker.offer("fast", 0)
    for turn in range(1, 5):
        assert working.acquire(timeout=5)
        worker.offer("slow", turn)
        for i in range(10):
            worker.offer("fast", 100 * turn + i)
        go_on.release()
    assert working.acquire(timeout=5)
    go_on.release()
    worker.stop()
    assert rounds[1:] == [[("slow", turn), ("fast", 100 * turn + 9)] for turn in range(1, 5)]
    assert worker.processed == {"fast": 5, "slow": 4}
    assert worker.dropped["slow"] == 0
    assert worker.dropped["fast"] == 4 * 9


@pytest.mark.parametrize("error", [ValueError, MemoryError, SystemExit, KeyboardInterrupt])
def test_no_exception_ends_the_worker_and_each_is_reported(error):
    done, reported, finished = [], [], threading.Semaphore(0)

    def process(items):
        finished.release()
        if items["front"] != 2:
            raise error(items["front"])
        done.append(items)

    worker = NewestWorker(process, reported.append)
    for item in (1, 2, 3):
        worker.offer("front", item)
        assert finished.acquire(timeout=5)
    worker.stop()
    assert done == [{"front": 2}]
    assert [(type(e), e.args) for e in reported] == [(error, (1,)), (error, (3,))]
    assert worker.processed == {"front": 3}


def test_an_exception_of_the_report_is_printed_and_does_not_end_the_worker_either(capsys):
    finished = threading.Semaphore(0)

    def process(items):
        finished.release()
        raise ValueError("of the frame")

    def report(error):
        raise RuntimeError("of the report")

    worker = NewestWorker(process, report)
    for item in (1, 2):
        worker.offer("front", item)
        assert finished.acquire(timeout=5)
    worker.stop()
    printed = capsys.readouterr().err
    assert printed.count("ValueError: of the frame") == 2
    assert printed.count("RuntimeError: of the report") == 2
