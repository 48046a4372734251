"""Landmarks lose their tremor and keep their pace."""

import numpy as np
import pytest

from stdformer_ros.perception.steady import MAX_GAP_SECONDS, LandmarkSteadier
from stdformer_ros.types import Person

FPS = 60


def somebody(places, track_id=0):
    box = np.array([0, 0, 100, 200], np.float32)
    return Person(track_id, 1.0, box, np.asarray(places, np.float32), np.ones(33, np.float32))


def steadied(frames, fps=FPS):
    steady = LandmarkSteadier()
    return np.stack([steady(somebody(p), i / fps).landmarks for i, p in enumerate(frames)])


def tremor(series):
    """Mean size of the second difference."""
    return np.linalg.norm(np.diff(series, n=2, axis=0), axis=-1).mean()


def test_a_standing_persons_tremor_is_nearly_halved():
    rng = np.random.default_rng(0)
    seen = 300 + rng.normal(0, 2, (200, 33, 2))
    answered = steadied(seen)
    assert tremor(answered) < 0.55 * tremor(seen)
    assert (
        np.linalg.norm(answered - 300, axis=-1).mean() < np.linalg.norm(seen - 300, axis=-1).mean()
    )


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_steady_motion_passes_without_a_lag(fps):
    pace = np.array([400.0, -150.0])  # pixels a second
    seen = np.stack([np.full((33, 2), 500.0) + pace * i / fps for i in range(fps)])
    np.testing.assert_allclose(steadied(seen, fps)[fps // 2 :], seen[fps // 2 :], atol=0.5)


def test_a_swinging_wrist_is_not_more_than_half_a_frame_late():
    time = np.arange(240) / FPS
    swing = 300 + 100 * np.sin(2 * np.pi * 1.5 * time)
    seen = np.repeat(swing, 66).reshape(-1, 33, 2)
    answered = steadied(seen)[60:, 0, 0]
    lags = [np.abs(answered - np.interp(time[60:] - d / FPS, time, swing)).mean() for d in (0, 0.5)]
    assert lags[0] < lags[1]
    assert np.abs(answered - swing[60:]).max() < 5, "it swings by 100"


def test_people_have_memories_of_their_own_and_new_ones_after_a_gap():
    steady = LandmarkSteadier()
    steady(somebody(np.full((33, 2), 100.0), track_id=1), 0.0)
    other = somebody(np.full((33, 2), 400.0), track_id=2)
    assert steady(other, 1 / FPS) is other
    back = somebody(np.full((33, 2), 150.0), track_id=1)
    assert steady(back, 2 * MAX_GAP_SECONDS) is back
    later = somebody(np.full((33, 2), 160.0), track_id=1)
    assert steady(later, 2 * MAX_GAP_SECONDS + 1 / FPS) is not later
    steady.forget()
    assert steady(later, 2 * MAX_GAP_SECONDS + 2 / FPS) is later
