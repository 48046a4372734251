"""Answers from calibrated views: known errors told, people kept apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.calibrated_views import CAMERAS, FRAMES, evaluate, record, walker
from stdformer_ros.evaluation.views.people import people_in_views
from stdformer_ros.evaluation.views.recording import HIPS, JOINTS


def test_perfect_answers_have_no_error_and_those_of_another_size_only_mpjpe():
    result = evaluate(record(walker()))
    assert result["reference"] == "triangulated"
    assert result["overall"]["detection_rate"] == 1.0
    for kind in ("landmarks", "joints", "blazepose"):
        assert result["overall"][kind]["mpjpe_mm"] < 1.0
        assert result["overall"][kind]["accel_mm_per_frame2"] < 0.2

    larger = evaluate(record(walker(), lambda true: 1.1 * true))["views"][0]
    assert larger["joints"]["pa_mpjpe_mm"] < 0.5, "the size does not count after alignment"
    assert larger["joints"]["mpjpe_mm"] > 20
    assert larger["blazepose"]["mpjpe_mm"] < 1.0


def test_a_tremor_of_three_millimetres_is_an_accel_of_twelve():
    def tremble(true):
        answers = true.copy()
        answers[::2] += [0.0015, 0, 0]
        answers[1::2] -= [0.0015, 0, 0]
        answers[:, list(HIPS)] = true[:, list(HIPS)]  # what the others are measured from
        return answers

    view = evaluate(record(walker(), tremble))["views"][0]["joints"]
    # the second difference of +a, -a, +a is 4 a; ten of twelve joints tremble
    assert view["accel_mm_per_frame2"] == pytest.approx(4 * 1.5 * 10 / 12, rel=0.02)


def test_a_frame_without_the_person_counts_and_a_stranger_is_not_the_person():
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


def test_a_person_keeps_counting_under_a_new_identity():
    recordings = record(walker())
    for frame in range(40, FRAMES):
        recordings[0][frame] = [replace(recordings[0][frame][0], track_id=8)]
    row = evaluate(recordings)["views"][0]
    assert row["detection_rate"] == 1.0


def two_people(second_height=300.0):
    """The walker, and somebody a metre aside who is another identity in each view."""
    both = []
    for view, (near, far) in enumerate(
        zip(record(walker()), record(np.array([1.0, 0.3, 0.0]) + walker()), strict=True)
    ):
        far = [[replace(s[0], track_id=view, height=second_height)] for s in far]
        order = (near, far) if view % 2 else (far, near)
        both.append([[*a, *b] for a, b in zip(*order, strict=True)])
    return both


def test_people_are_found_in_all_views_whatever_their_identities():
    people = people_in_views(CAMERAS, two_people())
    assert [{s.track_id for s in track} for track in people[0]] == [{7}] * 4
    assert [{s.track_id for s in track} for track in people[1]] == [{0}, {1}, {2}, {3}]
    larger = people_in_views(CAMERAS, two_people(second_height=900.0))
    assert {s.track_id for s in larger[0][0]} == {0}, "the larger one first"


def test_each_of_two_people_has_errors_of_their_own():
    recordings = two_people()
    for recording in recordings:
        for frame, sights in enumerate(recording):
            recording[frame] = [
                s if s.track_id == 7 else replace(s, joints=1.1 * s.joints) for s in sights
            ]
    result = evaluate(recordings)
    assert result["overall"]["joints"]["mpjpe_mm"] < 1.0
    (second,) = result["further_people"]
    assert second["overall"]["joints"]["mpjpe_mm"] > 20
    assert second["overall"]["landmarks"]["mpjpe_mm"] < 1.0
    assert [row["view"] for row in second["views"]] == [f"cam{i}.mp4" for i in range(4)]


def test_whom_one_view_alone_shows_is_nobody_to_judge_by():
    recordings = record(walker())
    stranger = recordings[2][0][0]
    for frame in range(FRAMES):
        away = replace(stranger, track_id=1, height=900.0, pixels=stranger.pixels + 400.0)
        recordings[2][frame] = [away, *recordings[2][frame]]
    ((tracks),) = people_in_views(CAMERAS, recordings)
    assert {s.track_id for s in tracks[2]} == {7}, "though larger"


def test_scores_are_held_against_what_came_of_them():
    def one_wrist_off(true):
        answers = true.copy()
        answers[:, JOINTS.index("left_wrist")] += [0.12, 0.0, 0.0]
        answers[:, JOINTS.index("right_wrist")] += [0.08, 0.0, 0.0]
        return answers

    result = evaluate(record(walker(), one_wrist_off))
    (claimed,) = result["reliability"]
    assert claimed == {"count": 4 * FRAMES * 12, "score": 0.9, "right": round(11 / 12, 4)}
    assert result["calibration_error"] == pytest.approx(11 / 12 - 0.9, abs=1e-3)


def test_views_that_do_not_show_the_person_together_are_refused():
    recordings = record(walker())
    empty = [[] for _ in range(FRAMES)]
    with pytest.raises(ValueError, match="in two views at once"):
        evaluate([recordings[0], empty, empty, empty])
