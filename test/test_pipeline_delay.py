"""Delayed answers: the window holds frames before and after the one that is answered for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.pipeline import MAX_GAP_SECONDS, Pipeline
from stdformer_ros.types import Answer, Body, Frame, Human, Person

WINDOW, DELAY = 5, 2


def frame_at(stamp: float) -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8), stamp, Camera(64, 48, 60.0, 60.0, 32.0, 24.0))


def somebody(track_id: int, x: float = 0.0) -> Person:
    box = np.full(4, x, np.float32)
    return Person(track_id, 0.9, box, np.full((33, 2), x, np.float32), np.ones(33, np.float32))


class Late(Estimator):
    """Its single joint is the person's place in the frame that it answers for."""

    name = "late"
    window = WINDOW
    joint_names = ("pelvis",)
    skeleton = ()
    faces = None

    def __init__(self, delay_frames: int = DELAY) -> None:
        self.delay_frames = delay_frames
        self.windows: list[list[float]] = []

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        return {
            "stamp": torch.tensor([frame.stamp] * len(people), dtype=torch.float64),
            "place": torch.tensor([[p.landmarks[0, 0], 0.0, 0.0] for p in people]),
        }

    def decode(self, windows: Features) -> list[Body]:
        assert torch.is_inference_mode_enabled()
        self.windows = windows["stamp"].tolist()
        places = windows["place"][:, [-1 - self.delay_frames]].numpy().astype(np.float32)
        return [Body(joints, np.ones(1), None, None, None, True) for joints in places]


class Stream:
    """A pipeline with a scripted perception."""

    def __init__(self, delay_frames: int = DELAY) -> None:
        self.people: list[Person] = []
        self.estimator = Late(delay_frames)
        self.pipeline = Pipeline(lambda frame: self.people, self.estimator)

    def show(self, stamp: float, *people: Person) -> Answer | None:
        self.people = list(people)
        return self.pipeline(frame_at(stamp))

    def answer(self, stamp: float, *people: Person) -> tuple[float, list[Human]]:
        """The stamp of the frame that is answered for, and its people."""
        answer = self.show(stamp, *people)
        assert answer is not None
        return answer.frame.stamp, answer.humans


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_each_call_answers_for_the_frame_before_the_delay(stream: Stream) -> None:
    answers = [stream.show(i / 10, somebody(1, x=i)) for i in range(5)]
    assert answers[:DELAY] == [None, None]
    assert [a.frame.stamp for a in answers if a] == [0.0, 0.1, 0.2]
    assert [len(a.humans) for a in answers if a] == [1, 1, 1]


def test_body_and_person_are_those_of_the_frame_answered_for(stream: Stream) -> None:
    for i in range(6):
        stream.show(i / 10, somebody(1, x=i))
    _, (human,) = stream.answer(0.6, somebody(1, x=6))
    assert human.body.joints[0, 0] == 4.0
    assert human.person.box[0] == 4.0


def test_the_window_holds_as_many_frames_before_as_after_the_answer(stream: Stream) -> None:
    for i in range(8):
        stream.show(i / 10, somebody(1))
    stamp, _ = stream.answer(0.8, somebody(1))
    assert stamp == 0.6
    assert stream.estimator.windows == [[0.4, 0.5, 0.6, 0.7, 0.8]]


def test_the_first_windows_are_padded_by_the_oldest_frame(stream: Stream) -> None:
    fills = []
    for i in range(6):
        answer = stream.show(i / 10, somebody(1))
        fills += [human.window_fill for human in answer.humans] if answer else []
        if i == 2:
            assert stream.estimator.windows == [[0.0, 0.0, 0.0, 0.1, 0.2]]
    assert fills == [0.6, 0.8, 1.0, 1.0]


def test_at_the_end_the_last_frames_are_answered_with_the_newest_repeated(stream: Stream) -> None:
    for i in range(6):
        stream.show(i / 10, somebody(1, x=i))
    windows, places, answered, fills = [], [], [], []
    for answer in stream.pipeline.finish():
        (human,) = answer.humans
        windows += stream.estimator.windows
        answered.append(answer.frame.stamp)
        places.append(human.body.joints[0, 0])
        fills.append(human.window_fill)
    assert answered == [0.4, 0.5]
    assert places == [4.0, 5.0]
    assert windows == [[0.2, 0.3, 0.4, 0.5, 0.5], [0.3, 0.4, 0.5, 0.5, 0.5]]
    assert fills == [0.8, 0.6]
    assert list(stream.pipeline.finish()) == []


def test_nobody_is_answered_before_they_come(stream: Stream) -> None:
    for i in range(4):
        stream.show(i / 10, somebody(1))
    _, humans = stream.answer(0.4, somebody(1), somebody(2))
    assert [human.person.track_id for human in humans] == [1]
    stream.show(0.5, somebody(2), somebody(1))
    stamp, humans = stream.answer(0.6, somebody(1))
    assert stamp == 0.4
    assert [human.person.track_id for human in humans] == [1, 2]


def test_a_person_who_leaves_is_answered_up_to_their_last_frame(stream: Stream) -> None:
    for i in range(5):
        stream.show(i / 10, somebody(1))
    stream.show(0.5)
    stamp, (human,) = stream.answer(0.6)
    assert stamp == 0.4
    assert stream.estimator.windows == [[0.2, 0.3, 0.4, 0.4, 0.4]]
    assert human.window_fill == 0.6
    assert stream.answer(0.7) == (0.5, [])


def test_windows_do_not_reach_across_a_gap(stream: Stream) -> None:
    for i in range(5):
        stream.show(i / 10, somebody(1, x=i))
    later = 0.4 + MAX_GAP_SECONDS + 0.1
    stamp, _ = stream.answer(later, somebody(1, x=100.0))
    assert stamp == 0.3
    assert stream.estimator.windows == [[0.1, 0.2, 0.3, 0.4, 0.4]]
    stamp, _ = stream.answer(later + 0.1, somebody(1, x=101.0))
    assert stamp == 0.4
    stamp, (human,) = stream.answer(later + 0.2, somebody(1, x=102.0))
    assert stamp == later
    assert stream.estimator.windows[0] == [later, later, later, later + 0.1, later + 0.2]
    assert human.body.joints[0, 0] == 100.0
    assert (human.joint_velocities == 0).all(), "a new window starts without velocity"


def test_velocities_are_the_same_with_and_without_a_delay() -> None:
    places = np.random.default_rng(0).normal(size=20)
    velocities = []
    for delay in (0, DELAY):
        coming = iter(places)
        pipeline = Pipeline(lambda frame, now=coming: [somebody(1, x=next(now))], Late(delay))
        answers = pipeline.follow(frame_at(i / 10) for i in range(20))
        velocities.append([a.humans[0].joint_velocities[0, 0] for a in answers])
    assert len(velocities[0]) == 20
    assert velocities[0] == velocities[1]


def test_a_clock_that_jumps_drops_what_is_not_answered_yet(stream: Stream) -> None:
    for i in range(5):
        stream.show(10 + i / 10, somebody(1))
    assert stream.show(3.0, somebody(1)) is None
    stream.show(3.1, somebody(1))
    stamp, _ = stream.answer(3.2, somebody(1))
    assert stamp == 3.0


@pytest.mark.parametrize("told", [True, False])
def test_following_a_recording_answers_every_frame_also_before_the_clock_jumps(told: bool) -> None:
    stream = Stream()
    stream.people = [somebody(1)]
    frames = [frame_at(10 + i / 10) for i in range(4)]
    frames += [replace(frame_at(3.0), discontinuous=told), frame_at(3.1)]
    windows = []
    for frame, answer in zip(frames, stream.pipeline.follow(frames), strict=True):
        assert answer.frame is frame
        windows += stream.estimator.windows
    assert windows[3] == [10.1, 10.2, 10.3, 10.3, 10.3]
    assert windows[4] == [3.0, 3.0, 3.0, 3.1, 3.1]


@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from([0.04, 0.2, 0.7]), st.sets(st.integers(1, 3)))),
)
def test_every_frame_is_answered_once_with_the_people_who_were_in_it(
    delay: int, script: list[tuple[float, set[int]]]
) -> None:
    """Whoever comes, goes and returns: the window has that frame in the place of the answer."""
    stream = Stream(delay)
    stamps = np.cumsum([step for step, _ in script]).tolist()
    answers: list[Answer] = []

    def take(answer: Answer | None) -> None:
        if answer is not None:
            answers.append(answer)
            for human, window in zip(answer.humans, stream.estimator.windows, strict=False):
                assert window[-1 - delay] == answer.frame.stamp
                assert window == sorted(window)
                assert len(set(window)) == round(human.window_fill * WINDOW)

    for stamp, (_, people) in zip(stamps, script, strict=True):
        take(stream.show(stamp, *(somebody(i, x=100 * i + stamp) for i in sorted(people))))
    for answer in stream.pipeline.finish():
        take(answer)
    assert [answer.frame.stamp for answer in answers] == stamps
    for answer, stamp, (_, people) in zip(answers, stamps, script, strict=True):
        assert [h.person.track_id for h in answer.humans] == sorted(people)
        for human in answer.humans:
            place = 100 * human.person.track_id + stamp
            assert human.body.joints[0, 0] == pytest.approx(place, abs=1e-3)
