"""Left stays left through the frames in which the landmark network exchanges the sides."""

import numpy as np
import pytest

from helpers.standing_person import somebody
from stdformer_ros.perception.landmarks import MIRROR
from stdformer_ros.perception.sides import PATIENCE_SECONDS, SideKeeper

STEP = 1 / 30


def test_the_mirror_is_an_involution_that_pairs_left_with_right():
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(33))
    assert MIRROR[11] == 12
    assert MIRROR[7] == 8
    assert MIRROR[32] == 31
    assert MIRROR[0] == 0


def test_a_frame_with_exchanged_sides_is_put_right():
    keep = SideKeeper()
    keep(somebody(), 0.0)
    for i in range(1, 4):
        seen = keep(somebody(exchanged=True, shift=5.0 * i), i * STEP)
        np.testing.assert_array_equal(seen.landmarks, somebody(shift=5.0 * i).landmarks)
        np.testing.assert_array_equal(seen.visibility, somebody().visibility)


def test_a_network_that_insists_is_believed():
    keep = SideKeeper()
    keep(somebody(), 0.0)
    frames = int(PATIENCE_SECONDS / STEP) + 3
    last = [keep(somebody(exchanged=True), i * STEP) for i in range(1, frames)][-1]
    np.testing.assert_array_equal(last.landmarks, somebody(exchanged=True).landmarks)


def test_a_person_who_turns_is_followed():
    keep = SideKeeper()
    for i, width in enumerate(np.linspace(80, -80, 30)):
        seen = keep(somebody(width=width), i * STEP)
        assert seen.landmarks[11, 0] == pytest.approx(0.5 * width, abs=1e-4)


def test_people_are_remembered_each_on_their_own_and_forgotten_after_a_gap():
    keep = SideKeeper()
    keep(somebody(track_id=0), 0.0)
    other = keep(somebody(exchanged=True, track_id=1), STEP)
    assert other.landmarks[11, 0] < 0
    later = keep(somebody(exchanged=True, track_id=0), STEP + 2 * PATIENCE_SECONDS)
    assert later.landmarks[11, 0] < 0
