"""The contest measures what the evaluation on motion capture measures."""

from __future__ import annotations

from stdformer_ros.evaluation.motion import contest_judge, errors, faulty_detector, scenes
from stdformer_ros.training.contest import data, protocol


def test_the_protocol_has_the_joints_cameras_and_noise_of_the_evaluation() -> None:
    assert protocol.JOINTS == errors.JOINTS
    assert (data.DISTANCE, data.PITCH_DEGREES) == (scenes.DISTANCE, scenes.PITCH_DEGREES)
    assert (data.NOISE, data.CORRELATION) == (faulty_detector.NOISE, faulty_detector.CORRELATION)
    assert data.LOST == faulty_detector.LOST


def test_means_are_over_all_values_of_all_scenes() -> None:
    found = contest_judge.means([{"a": [1.0, 2.0]}, {"a": [6.0]}])
    assert found == {"a": 3.0}
