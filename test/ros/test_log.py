"""The log is not flooded: texts of one kind are throttled together."""

from stdformer_ros.ros.log import Throttle


def test_each_kind_is_written_once_in_a_while_and_the_rest_is_counted():
    written, now = [], [0.0]
    throttle = Throttle(written.append, seconds=5.0, clock=lambda: now[0])
    throttle("step", "step 1")
    throttle("step", "step 2")
    throttle("data", "data 1")
    now[0] = 4.9
    throttle("step", "step 3")
    now[0] = 5.0
    throttle("step", "step 4")
    assert written == ["step 1", "data 1", "step 4 (and 2 more like it)"]
