"""What is expected of a person's joints, and what is a surprise."""

import numpy as np

from helpers.standing_person import somebody
from stdformer_ros.perception.expectation import MAX_GAP_SECONDS, Expectation
from stdformer_ros.perception.landmarks import MIRROR

STEP = 1 / 30


def test_what_moves_on_as_before_is_no_surprise():
    expect = Expectation()
    assert expect.surprise(0, somebody().landmarks, 0.0) == 0.0, "a stranger"

    def swinging(i):
        person = somebody()
        person.landmarks[27:] += np.float32([12.0 * i, 0])  # 12 pixels a frame, of 340 in height
        return person

    for i in range(12):
        expect.take(swinging(i), i * STEP)
    assert expect.surprise(0, swinging(12).landmarks, 12 * STEP) < 0.01
    assert expect.surprise(0, swinging(12).landmarks[MIRROR], 12 * STEP) < 0.01
    assert expect.surprise(0, swinging(0).landmarks, 12 * STEP) > 0.05
    assert expect.surprise(0, somebody().landmarks, 12 * STEP + 2 * MAX_GAP_SECONDS) == 0.0


def test_one_senseless_frame_moves_what_is_expected_by_little():
    expect = Expectation()
    for i in range(6):
        expect.take(somebody(), i * STEP)
    senseless = somebody()
    senseless.landmarks[25:] += np.float32([[200, -200]])
    expect.take(senseless, 6 * STEP)
    assert expect.surprise(0, somebody().landmarks, 7 * STEP) < 0.06
