"""Means by group, and whether scores are calibrated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stdformer_ros.evaluation.summaries import ErrorTable, Reliability


def test_calibrated_scores_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((4000, 14))
    calibrated, overconfident = Reliability(), Reliability()
    calibrated.add(scores, rng.random(scores.shape) < scores)
    overconfident.add(np.full((100, 14), 0.9), np.arange(1400).reshape(100, 14) % 2 == 0)
    assert calibrated.error == pytest.approx(0.0, abs=0.01)
    assert overconfident.error == pytest.approx(0.4)
    assert overconfident.bins() == [{"count": 1400, "score": 0.9, "right": 0.5}]
    assert [b["score"] for b in calibrated.bins()] == pytest.approx(
        np.arange(10) / 10 + 0.05, abs=0.01
    )


def test_a_score_of_one_is_in_the_last_bin() -> None:
    reliability = Reliability()
    assert (reliability.error, reliability.bins()) == (None, [])
    reliability.add(np.ones(5), np.ones(5, bool))
    reliability.add(np.ones(0), np.ones(0, bool))
    assert (reliability.error, reliability.bins()[0]["count"]) == (0.0, 5)


def test_the_overall_mean_is_over_frames_or_over_groups() -> None:
    for over_groups, expected in ((False, 3.0), (True, 5.0)):
        table = ErrorTable("action", over_groups)
        table.add("a", "MPJPE", torch.tensor([1.0, 1.0, 1.0]))
        table.add("b", "MPJPE", torch.tensor([9.0]))
        assert table.mean("MPJPE") == pytest.approx(expected)
        assert table.summary()["by_action"]["b"] == {"frames": 1, "MPJPE": 9.0}
    table.add("a", "Accel", torch.tensor([2.0]))
    assert table.summary()["by_action"]["b"]["Accel"] is None
