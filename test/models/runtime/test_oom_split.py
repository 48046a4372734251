"""When memory runs out the people are split into smaller batches; nothing fails or is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.scripted_stream import Stream, Telling, frame_at, somebody
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models.estimator import Estimator
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
    split = OutOfMemorySplit(small)
    features = split.encode(frame_at(0.0), [somebody(i) for i in range(7)])
    assert features["who"].tolist() == list(range(7))
    assert (small.asked, split.people_at_once) == ([7], None)


def test_what_does_not_fit_is_halved_until_it_does_and_stays_so(caplog):
    small = Small(3)
    split = OutOfMemorySplit(small)
    features = split.encode(frame_at(0.0), [somebody(i) for i in range(13)])
    assert features["who"].tolist() == list(range(13))
    assert split.people_at_once == 3
    assert small.asked == [13, 6, 3, 3, 3, 3, 1]
    small.asked.clear()
    split.encode(frame_at(0.1), [somebody(i) for i in range(5)])
    assert small.asked == [3, 2], "the limit was forgotten"
    assert [r.message for r in caplog.records] == [
        "telling ran out of memory with 13 people: 6 at a time from now on",
        "telling ran out of memory with 6 people: 3 at a time from now on",
    ]


def test_when_not_even_one_fits_the_error_says_so():
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        OutOfMemorySplit(Small(0)).encode(frame_at(0.0), [somebody(1)])


def test_a_stream_gives_the_same_bodies_when_split():
    whole, split = Stream(), Stream()
    split.pipeline.estimator = OutOfMemorySplit(Small(2))
    for i in range(6):
        people = [somebody(k, x=0.1 * k + i) for k in range(5)]
        expected, humans = whole.show(0.1 * i, *people), split.show(0.1 * i, *people)
        assert [h.person.track_id for h in humans] == [0, 1, 2, 3, 4]
        for a, b in zip(expected, humans, strict=True):
            assert (a.body.joints == b.body.joints).all()
            assert a.window_fill == b.window_fill
    assert split.pipeline.estimator.people_at_once == 2


def test_a_part_may_hold_some_people_of_a_camera():
    one, other = Stream(), Stream()
    one.pipeline.estimator = other.pipeline.estimator = OutOfMemorySplit(Small(2))
    one.perception.people = [somebody(i, x=i) for i in range(3)]
    other.perception.people = [somebody(i, x=10 + i) for i in range(2)]
    frame = frame_at(0.0)
    answers = answer([(s.pipeline, s.pipeline.see(frame)) for s in (one, other)])
    assert [[h.body.joints[0, 0] for h in a.humans] for a in answers] == [[0, 1, 2], [10, 11]]


def test_mesh_levels_are_those_of_the_wrapped_estimator():
    split = OutOfMemorySplit(Small(1))
    assert split.mesh_levels == (9, 3)
    split.use_mesh_level(3)
    assert split.faces.shape == (3, 3)


# --- the contract: what the pipeline asks of an estimator, the wrapper answers alike

ATTRIBUTES = sorted(Estimator.__annotations__)
METHODS = sorted(
    name for name in vars(Estimator) if not name.startswith("_") and name not in ATTRIBUTES
)
OWN = {"people_at_once"}
"""Its own state; a wrapped estimator never sets it."""


class Distinct(Telling):
    """An estimator each of whose attributes differs from the default."""

    name = "distinct"
    window = 7
    delay_frames = 3
    joint_names = ("pelvis", "head")
    skeleton = ((0, 1),)
    faces = np.ones((5, 3), np.int32)
    reads_images = True
    mesh_levels = (9, 3)
    embedded_body = True
    device = torch.device("meta")
    extra = "of this estimator alone"

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, object]] = []

    def use_mesh_level(self, level):
        self.called.append(("use_mesh_level", level))

    def move_to(self, device):
        self.called.append(("move_to", device))
        self.device = device


def test_the_contract_covers_the_whole_interface():
    """A new attribute or method of `Estimator` needs a case here."""
    assert set(ATTRIBUTES) - OWN == {
        name for name in vars(Distinct) if name in Estimator.__annotations__
    }
    assert METHODS == ["decode", "encode", "encode_frames", "move_to", "use_mesh_level"]


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name not in OWN])
def test_every_attribute_is_the_wrapped_estimators(name):
    inner = Distinct()
    split = OutOfMemorySplit(inner)
    assert getattr(split, name) is getattr(inner, name)
    if hasattr(Estimator, name):
        assert getattr(split, name) != getattr(Estimator, name), "the test would see no difference"


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name not in OWN])
def test_every_attribute_follows_the_wrapped_estimator_and_can_be_set_through(name):
    inner, later, latest = Distinct(), object(), object()
    split = OutOfMemorySplit(inner)
    setattr(inner, name, later)
    assert getattr(split, name) is later
    setattr(split, name, latest)
    assert getattr(inner, name) is latest


def test_people_at_once_is_the_wrappers_own():
    inner = Distinct()
    split = OutOfMemorySplit(inner)
    split.people_at_once = 2
    assert inner.people_at_once is None


def test_methods_reach_the_wrapped_estimator():
    inner = Distinct()
    split = OutOfMemorySplit(inner)
    features = split.encode(frame_at(0.0), [somebody(4)])
    assert features["who"].tolist() == [4]
    features = split.encode_frames([(frame_at(0.0), [somebody(5)]), (frame_at(0.0), [somebody(6)])])
    assert features["who"].tolist() == [5, 6]
    with torch.inference_mode():
        bodies = split.decode({name: value[:, None] for name, value in features.items()})
    assert len(bodies) == 2
    split.use_mesh_level(3)
    split.move_to(torch.device("cpu"))
    assert inner.called == [("use_mesh_level", 3), ("move_to", torch.device("cpu"))]
    assert split.device == torch.device("cpu")


def test_what_one_estimator_has_beyond_the_interface_is_reached_too():
    split = OutOfMemorySplit(Distinct())
    assert split.extra == "of this estimator alone"
    with pytest.raises(AttributeError, match="wings"):
        _ = split.wings
    assert isinstance(split, Estimator)


def test_bodies_of_a_split_default_estimator_are_corrected_like_those_of_a_whole_one():
    """The pipeline corrects bodies of the embedded body only, see `Estimator.embedded_body`."""
    estimator = create_estimator(EstimatorSettings("stdformer_s_keypoints", mesh_level=431))
    assert OutOfMemorySplit(estimator).embedded_body is True


# --- a network that does not fit at all


def test_a_network_that_does_not_fit_is_refused_with_what_to_do(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    monkeypatch.setitem(ESTIMATORS, "stdformer_s_keypoints", full)
    with pytest.raises(ValueError, match="does not fit into the memory of 'cpu': CUDA out of"):
        create_estimator(EstimatorSettings("stdformer_s_keypoints"))
