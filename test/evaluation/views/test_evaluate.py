"""Errors of calibrated views: known errors give known numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.calibrated_views import FRAMES, evaluate, record, two_people, walker
from stdformer_ros.evaluation.views.recording import HIPS, JOINTS


def test_perfect_answers_have_no_error_and_a_wrong_size_only_mpjpe():
    result = evaluate(record(walker()))
    assert result["reference"] == "triangulated"
    assert result["overall"]["detection_rate"] == 1.0
    for kind in ("landmarks", "joints", "blazepose"):
        assert result["overall"][kind]["mpjpe_mm"] < 1.0
        assert result["overall"][kind]["accel_mm_per_frame2"] < 0.2

    larger = evaluate(record(walker(), lambda true: 1.1 * true))["views"][0]
    assert larger["joints"]["pa_mpjpe_mm"] < 0.5, "the alignment removes the scale"
    assert larger["joints"]["mpjpe_mm"] > 20
    assert larger["blazepose"]["mpjpe_mm"] < 1.0


def test_a_tremor_has_the_accel_of_its_second_differences():
    def tremble(true):
        answers = true.copy()
        answers[::2] += [0.0015, 0, 0]
        answers[1::2] -= [0.0015, 0, 0]
        answers[:, list(HIPS)] = true[:, list(HIPS)]  # errors are relative to the hips
        return answers

    view = evaluate(record(walker(), tremble))["views"][0]["joints"]
    # The second difference of +a, -a, +a is 4 a; ten of twelve joints tremble.
    assert view["accel_mm_per_frame2"] == pytest.approx(4 * 1.5 * 10 / 12, rel=0.02)


def test_missing_frames_lower_the_detection_rate_and_a_stranger_does_not_count():
    recordings = record(walker())
    for frame in range(15):
        recordings[1][frame] = []
    stranger = recordings[2][0][0]
    for frame in range(FRAMES):
        away = replace(stranger, track_id=1, height=300.0, pixels=stranger.pixels + 700.0)
        recordings[2][frame] = [away, *recordings[2][frame]]
    rows = evaluate(recordings)["views"]
    assert [row["detection_rate"] for row in rows] == [1.0, 0.75, 1.0, 1.0]
    assert rows[2]["joints"]["mpjpe_mm"] < 1.0


def test_a_person_with_a_new_identity_still_counts():
    recordings = record(walker())
    for frame in range(40, FRAMES):
        recordings[0][frame] = [replace(recordings[0][frame][0], track_id=8)]
    row = evaluate(recordings)["views"][0]
    assert row["detection_rate"] == 1.0


def test_each_of_two_people_has_their_own_errors():
    recordings = two_people()
    for recording in recordings:
        for frame, observations in enumerate(recording):
            recording[frame] = [
                s if s.track_id == 7 else replace(s, joints=1.1 * s.joints) for s in observations
            ]
    result = evaluate(recordings)
    assert result["overall"]["joints"]["mpjpe_mm"] < 1.0
    (second,) = result["further_people"]
    assert second["overall"]["joints"]["mpjpe_mm"] > 20
    assert second["overall"]["landmarks"]["mpjpe_mm"] < 1.0
    assert [row["view"] for row in second["views"]] == [f"cam{i}.mp4" for i in range(4)]


def test_scores_are_compared_with_the_fraction_of_right_joints():
    def one_wrist_off(true):
        answers = true.copy()
        answers[:, JOINTS.index("left_wrist")] += [0.12, 0.0, 0.0]
        answers[:, JOINTS.index("right_wrist")] += [0.08, 0.0, 0.0]
        return answers

    result = evaluate(record(walker(), one_wrist_off))
    (only_bin,) = result["reliability"]
    assert only_bin == {"count": 4 * FRAMES * 12, "score": 0.9, "right": round(11 / 12, 4)}
    assert result["calibration_error"] == pytest.approx(11 / 12 - 0.9, abs=1e-3)


def test_views_that_do_not_share_the_person_are_refused():
    recordings = record(walker())
    empty = [[] for _ in range(FRAMES)]
    with pytest.raises(ValueError, match="in two views at once"):
        evaluate([recordings[0], empty, empty, empty])
