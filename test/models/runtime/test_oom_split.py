"""A device without room for everybody at once answers in parts; it does not fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.scripted_stream import Stream, Telling, frame_at, somebody
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models.registry import ESTIMATORS, create_estimator
from stdformer_ros.models.runtime.oom_split import OutOfMemorySplit
from stdformer_ros.pipeline import answer


class Small(Telling):
    """An estimator on a device with room for so many people."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.asked: list[int] = []
        self.mesh_levels = (9, 3)
        self.faces = np.zeros((9, 3), np.int32)

    def _fit(self, people: int) -> None:
        self.asked.append(people)
        if people > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def encode_frames(self, seen):
        self._fit(sum(len(people) for _, people in seen))
        return super().encode_frames(seen)

    def decode(self, windows):
        self._fit(len(windows["who"]))
        return super().decode(windows)

    def use_mesh_level(self, level):
        self.faces = np.zeros((level, 3), np.int32)


def test_with_room_for_all_there_is_one_call():
    small = Small(64)
    parts = OutOfMemorySplit(small)
    features = parts.encode(frame_at(0.0), [somebody(i) for i in range(7)])
    assert features["who"].tolist() == list(range(7))
    assert (small.asked, parts.people_at_once) == ([7], None)


def test_what_does_not_fit_is_halved_until_it_does_and_stays_so(caplog):
    small = Small(3)
    parts = OutOfMemorySplit(small)
    features = parts.encode(frame_at(0.0), [somebody(i) for i in range(13)])
    assert features["who"].tolist() == list(range(13))
    assert parts.people_at_once == 3
    assert small.asked == [13, 6, 3, 3, 3, 3, 1]
    small.asked.clear()
    parts.encode(frame_at(0.1), [somebody(i) for i in range(5)])
    assert small.asked == [3, 2], "the limit was forgotten"
    assert [r.message for r in caplog.records] == [
        "telling ran out of memory with 13 people: 6 at a time from now on",
        "telling ran out of memory with 6 people: 3 at a time from now on",
    ]


def test_when_not_even_one_fits_the_error_says_so():
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        OutOfMemorySplit(Small(0)).encode(frame_at(0.0), [somebody(1)])


def test_a_stream_is_answered_the_same_in_parts():
    whole, parts = Stream(), Stream()
    parts.pipeline.estimator = OutOfMemorySplit(Small(2))
    for i in range(6):
        people = [somebody(k, x=0.1 * k + i) for k in range(5)]
        expected, humans = whole.show(0.1 * i, *people), parts.show(0.1 * i, *people)
        assert [h.person.track_id for h in humans] == [0, 1, 2, 3, 4]
        for a, b in zip(expected, humans, strict=True):
            assert (a.body.joints == b.body.joints).all()
            assert a.window_fill == b.window_fill
    assert parts.pipeline.estimator.people_at_once == 2


def test_parts_may_cut_through_a_camera():
    one, other = Stream(), Stream()
    one.pipeline.estimator = other.pipeline.estimator = OutOfMemorySplit(Small(2))
    one.perception.people = [somebody(i, x=i) for i in range(3)]
    other.perception.people = [somebody(i, x=10 + i) for i in range(2)]
    frame = frame_at(0.0)
    answers = answer([(s.pipeline, s.pipeline.see(frame)) for s in (one, other)])
    assert [[h.body.joints[0, 0] for h in a.humans] for a in answers] == [[0, 1, 2], [10, 11]]


def test_mesh_levels_are_those_of_the_estimator_inside():
    parts = OutOfMemorySplit(Small(1))
    assert parts.mesh_levels == (9, 3)
    parts.use_mesh_level(3)
    assert parts.faces.shape == (3, 3)


def test_a_network_that_does_not_fit_is_refused_with_what_to_do(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    monkeypatch.setitem(ESTIMATORS, "stdformer_s_keypoints", full)
    with pytest.raises(ValueError, match="does not fit into the memory of 'cpu': CUDA out of"):
        create_estimator(EstimatorSettings("stdformer_s_keypoints"))
