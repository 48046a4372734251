"""What the pipeline remembers: windows, gaps, velocities, people who come and go."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.scripted_stream import STEP, Stream, Telling, frame_at, somebody
from stdformer_ros.pipeline import MAX_GAP_SECONDS


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_a_window_that_is_not_full_is_padded_by_its_oldest_frame(stream: Stream) -> None:
    stream.show(1.0, somebody(1))
    assert stream.stamps == [[1.0, 1.0, 1.0, 1.0]]
    stream.show(1.1, somebody(1))
    stream.show(1.2, somebody(1))
    assert stream.stamps == [[1.0, 1.0, 1.1, 1.2]]


def test_a_full_window_holds_the_newest_frames_oldest_first(stream: Stream) -> None:
    for i in range(7):
        stream.show(i / 10, somebody(1))
    assert stream.stamps == [[0.3, 0.4, 0.5, 0.6]]


def test_window_fill_counts_real_frames(stream: Stream) -> None:
    fills = [stream.show(i / 10, somebody(1))[0].window_fill for i in range(6)]
    assert fills == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_each_frame_is_encoded_once_for_all_its_people(stream: Stream) -> None:
    for i in range(6):
        stream.show(i / 10, somebody(1), somebody(2))
    assert stream.estimator.encoded == [[1, 2]] * 6
    assert stream.perception.seen == [i / 10 for i in range(6)]


def test_everybody_has_a_window_of_their_own(stream: Stream) -> None:
    stream.show(0.0, somebody(1), somebody(2))
    stream.show(0.1, somebody(2), somebody(1))
    stream.show(0.2, somebody(3), somebody(1), somebody(2))
    assert stream.estimator.windows["who"].tolist() == [[3] * 4, [1] * 4, [2] * 4]
    assert stream.stamps == [[0.2] * 4, [0.0, 0.0, 0.1, 0.2], [0.0, 0.0, 0.1, 0.2]]


def test_humans_come_in_the_order_of_perception_each_with_their_own_body(stream: Stream) -> None:
    humans = stream.show(0.0, somebody(7, x=0.7), somebody(3, x=0.3))
    assert [h.person.track_id for h in humans] == [7, 3]
    assert [h.body.joints[0, 0] for h in humans] == pytest.approx([0.7, 0.3])


def test_a_frame_without_people_is_answered_without_the_estimator(stream: Stream) -> None:
    assert stream.show(0.0) == []
    assert stream.estimator.encoded == []


def test_a_short_absence_keeps_the_window(stream: Stream) -> None:
    stream.show(0.0, somebody(1))
    stream.show(0.2)
    stream.show(MAX_GAP_SECONDS, somebody(1))
    assert stream.stamps == [[0.0, 0.0, 0.0, MAX_GAP_SECONDS]]


def test_a_long_absence_starts_a_new_window_with_velocity_zero(stream: Stream) -> None:
    for i in range(5):
        stream.show(i / 10, somebody(1, x=i), somebody(2))
    later = 0.4 + MAX_GAP_SECONDS + 0.05
    stream.show(0.8, somebody(2))
    human, other = stream.show(later, somebody(1, x=9.0), somebody(2))
    assert stream.stamps[0] == [later] * 4
    assert human.window_fill == 0.25
    assert (human.joint_velocities == 0).all()
    assert other.window_fill == 1.0


def test_a_gap_in_the_stream_starts_every_window_anew(stream: Stream) -> None:
    stream.show(0.0, somebody(1), somebody(2))
    stream.show(0.1, somebody(1), somebody(2))
    stream.show(5.0, somebody(1), somebody(2))
    assert stream.stamps == [[5.0] * 4] * 2


def test_a_stamp_that_goes_back_starts_every_window_anew(stream: Stream) -> None:
    for i in range(5):
        stream.show(10 + i / 10, somebody(1, x=i))
    (human,) = stream.show(10.35, somebody(1, x=9.0))
    assert stream.stamps == [[10.35] * 4]
    assert (human.joint_velocities == 0).all()
    stream.show(10.45, somebody(1))
    assert stream.stamps == [[10.35, 10.35, 10.35, 10.45]]


def test_a_discontinuous_frame_starts_every_window_anew(stream: Stream) -> None:
    """Even if its stamp continues those before it."""
    for i in range(5):
        stream.show(i / 10, somebody(1))
    answer = stream.pipeline(replace(frame_at(0.5), discontinuous=True))
    assert answer is not None
    assert stream.stamps == [[0.5] * 4]
    assert answer.humans[0].window_fill == 0.25


def test_an_answer_holds_the_very_frame_that_was_shown(stream: Stream) -> None:
    header = object()
    frame = replace(frame_at(0.0), source=header)
    answer = stream.pipeline(frame)
    assert answer is not None
    assert answer.frame is frame
    assert answer.frame.source is header


def test_after_a_reset_windows_are_empty_and_older_stamps_are_taken(stream: Stream) -> None:
    stream.show(3.0, somebody(1))
    stream.pipeline.reset()
    (human,) = stream.show(1.0, somebody(1))
    assert human.window_fill == 0.25


@given(
    st.floats(-20, 20, width=32),
    st.floats(0.005, 0.2),
    st.floats(0, 1e9),
)
def test_velocities_of_a_steady_motion_converge_to_the_true_ones(
    speed: float, step: float, start: float
) -> None:
    stream = Stream()
    for i in range(round(1.5 / step) + 20):
        (human,) = stream.show(start + i * step, somebody(1, x=speed * i * step))
    assert human.joint_velocities[0, 0] == pytest.approx(speed, rel=0.02, abs=0.01)
    assert (human.joint_velocities[0, 1:] == 0).all()


def test_the_first_velocity_is_zero_and_the_next_ones_rise_towards_the_truth(
    stream: Stream,
) -> None:
    speeds = [
        float(stream.show(i * STEP, somebody(1, x=2.0 * i * STEP))[0].joint_velocities[0, 0])
        for i in range(10)
    ]
    assert speeds[0] == 0
    assert all(a < b for a, b in pairwise(speeds))
    assert speeds[-1] < 2.0


def test_velocity_is_low_passed_with_the_same_time_constant_at_every_frame_rate() -> None:
    """After the same time the answer to a sudden start is about the same."""
    answers = []
    for step in (0.01, 0.02):
        stream = Stream()
        for i in range(round(0.1 / step) + 1):
            (human,) = stream.show(i * step, somebody(1, x=i * step))
        answers.append(float(human.joint_velocities[0, 0]))
    assert answers[0] == pytest.approx(1 - 1 / np.e, abs=0.05)
    assert answers[1] == pytest.approx(answers[0], abs=0.05)


def test_a_repeated_stamp_does_not_divide_by_zero(stream: Stream) -> None:
    for i in range(5):
        stream.show(i * STEP, somebody(1, x=i * STEP))
    before = stream.show(5 * STEP, somebody(1, x=5 * STEP))[0].joint_velocities
    after = stream.show(5 * STEP, somebody(1, x=0.9))[0].joint_velocities
    assert np.isfinite(after).all()
    assert (after == before).all()


def test_an_absence_counts_as_time_for_the_velocity(stream: Stream) -> None:
    for i in range(60):
        stream.show(i * STEP, somebody(1, x=i * STEP))
    (human,) = stream.show(64 * STEP, somebody(1, x=64 * STEP))
    assert human.joint_velocities[0, 0] == pytest.approx(1.0, abs=0.01)


def test_ids_of_people_long_gone_are_not_kept(stream: Stream) -> None:
    """However many people pass by, the memory in use does not grow."""
    for i in range(200):
        stream.show(i / 10, somebody(i))
    assert len(stream.pipeline._tracks) <= MAX_GAP_SECONDS * 10 + 1


def test_warming_up_runs_the_estimator_and_remembers_nobody() -> None:
    stream = Stream()
    stream.pipeline.warm_up()
    assert stream.estimator.windows["place"].shape == (1, Telling.window, 3)
    assert len(stream.perception.seen) == 1
    (human,) = stream.show(0.0, somebody(0))
    assert human.window_fill == 1 / Telling.window
