"""Landmark filters: exchanged sides are undone, bad landmarks noticed, jitter smoothed."""

import numpy as np
import pytest

from helpers.standing_person import somebody
from stdformer_ros.perception.landmark_filters import (
    MAX_JITTER_GAP_SECONDS,
    MAX_PREDICTION_SECONDS,
    PATIENCE_SECONDS,
    JitterFilter,
    JointPredictor,
    LandmarkFilters,
    SideFilter,
)
from stdformer_ros.perception.landmarks import MIRROR
from stdformer_ros.types import Person

STEP = 1 / 30
FPS = 60


# Exchanged sides.


def test_the_mirror_index_pairs_left_with_right_and_is_its_own_inverse():
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(33))
    assert MIRROR[11] == 12
    assert MIRROR[7] == 8
    assert MIRROR[32] == 31
    assert MIRROR[0] == 0


def test_exchanged_sides_are_exchanged_back():
    keep_sides = SideFilter()
    keep_sides(somebody(), 0.0)
    for i in range(1, 4):
        person = keep_sides(somebody(exchanged=True, shift=5.0 * i), i * STEP)
        np.testing.assert_array_equal(person.landmarks, somebody(shift=5.0 * i).landmarks)
        np.testing.assert_array_equal(person.visibility, somebody().visibility)


def test_a_network_that_insists_on_the_other_sides_is_believed():
    keep_sides = SideFilter()
    keep_sides(somebody(), 0.0)
    frames = int(PATIENCE_SECONDS / STEP) + 3
    last = [keep_sides(somebody(exchanged=True), i * STEP) for i in range(1, frames)][-1]
    np.testing.assert_array_equal(last.landmarks, somebody(exchanged=True).landmarks)


def test_a_person_who_turns_round_keeps_the_sides_that_the_network_gives():
    keep_sides = SideFilter()
    for i, width in enumerate(np.linspace(80, -80, 30)):
        person = keep_sides(somebody(width=width), i * STEP)
        assert person.landmarks[11, 0] == pytest.approx(0.5 * width, abs=1e-4)


def test_sides_are_not_remembered_over_a_long_gap_or_a_clock_that_goes_back():
    for stamp in (2 * PATIENCE_SECONDS, -1.0):
        keep_sides = SideFilter()
        keep_sides(somebody(), 0.0)
        assert keep_sides(somebody(exchanged=True), stamp).landmarks[11, 0] < 0


# Prediction.


def swinging(i):
    """The feet move by 12 pixels per frame; the person is 340 pixels high."""
    person = somebody()
    person.landmarks[27:] += np.float32([12.0 * i, 0])
    return person.landmarks


def test_continued_motion_has_a_small_prediction_error_and_a_jump_a_large_one():
    predictor = JointPredictor()
    assert predictor.error(somebody().landmarks, 0.0) == 0.0, "nothing is known yet"
    for i in range(12):
        predictor.update(swinging(i), i * STEP)
    assert predictor.error(swinging(12), 12 * STEP) < 0.01
    assert predictor.error(swinging(12)[MIRROR], 12 * STEP) < 0.01, "exchanged sides do not count"
    assert predictor.error(swinging(0), 12 * STEP) > 0.05
    assert predictor.error(somebody().landmarks, 12 * STEP + 2 * MAX_PREDICTION_SECONDS) == 0.0


def test_one_frame_with_wrong_landmarks_changes_the_prediction_only_a_little():
    predictor = JointPredictor()
    for i in range(6):
        predictor.update(somebody().landmarks, i * STEP)
    wrong = somebody().landmarks
    wrong[25:] += np.float32([[200, -200]])
    predictor.update(wrong, 6 * STEP)
    assert predictor.error(somebody().landmarks, 7 * STEP) < 0.06


# Jitter.


def person_at(positions):
    box = np.array([0, 0, 100, 200], np.float32)
    return Person(0, 1.0, box, np.asarray(positions, np.float32), np.ones(33, np.float32))


def smoothed(frames, fps=FPS):
    smooth = JitterFilter()
    return np.stack([smooth(person_at(p), i / fps).landmarks for i, p in enumerate(frames)])


def jitter(series):
    """The mean size of the second difference."""
    return np.linalg.norm(np.diff(series, n=2, axis=0), axis=-1).mean()


def test_the_jitter_of_a_standing_person_is_nearly_halved():
    rng = np.random.default_rng(0)
    noisy = 300 + rng.normal(0, 2, (200, 33, 2))
    answered = smoothed(noisy)
    assert jitter(answered) < 0.55 * jitter(noisy)
    before, after = (np.linalg.norm(series - 300, axis=-1).mean() for series in (noisy, answered))
    assert after < before


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_steady_motion_has_no_lag(fps):
    velocity = np.array([400.0, -150.0])  # pixels per second
    moving = np.stack([np.full((33, 2), 500.0) + velocity * i / fps for i in range(fps)])
    np.testing.assert_allclose(smoothed(moving, fps)[fps // 2 :], moving[fps // 2 :], atol=0.5)


def test_a_swinging_wrist_lags_by_less_than_half_a_frame():
    time = np.arange(240) / FPS
    swing = 300 + 100 * np.sin(2 * np.pi * 1.5 * time)
    answered = smoothed(np.repeat(swing, 66).reshape(-1, 33, 2))[60:, 0, 0]
    lags = [np.abs(answered - np.interp(time[60:] - d / FPS, time, swing)).mean() for d in (0, 0.5)]
    assert lags[0] < lags[1]
    assert np.abs(answered - swing[60:]).max() < 5, "it swings by 100"


def test_smoothing_restarts_after_a_long_gap_or_a_clock_that_goes_back():
    smooth = JitterFilter()
    smooth(person_at(np.full((33, 2), 100.0)), 0.0)
    back = person_at(np.full((33, 2), 150.0))
    assert smooth(back, 2 * MAX_JITTER_GAP_SECONDS) is back
    later = person_at(np.full((33, 2), 160.0))
    assert smooth(later, 2 * MAX_JITTER_GAP_SECONDS + 1 / FPS) is not later
    assert smooth(later, 0.0) is later


# All of them.


def test_the_filters_of_a_track_run_one_after_the_other_and_remember_that_track_alone():
    filters, other = LandmarkFilters(), LandmarkFilters()
    sides, predictor, smooth = SideFilter(), JointPredictor(), JitterFilter()
    rng = np.random.default_rng(0)
    for i in range(8):
        person = somebody(exchanged=i == 5)
        person.landmarks[:] += rng.normal(0, 2, (33, 2))
        error = filters.prediction_error(person.landmarks, i * STEP)
        assert error == predictor.error(person.landmarks, i * STEP)
        expected = sides(person, i * STEP)
        predictor.update(expected.landmarks, i * STEP)
        expected = smooth(expected, i * STEP)
        answer = filters(person, i * STEP)
        np.testing.assert_array_equal(answer.landmarks, expected.landmarks)
        assert answer.landmarks[11, 0] > 0
    assert other.prediction_error(person.landmarks, 8 * STEP) == 0.0
    assert other(somebody(exchanged=True), 8 * STEP).landmarks[11, 0] < 0
