"""Adaptive quality: the order of the steps; it recovers and does not oscillate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stdformer_ros.quality import (
    MAX_PATIENCE,
    PATIENCE,
    PERIOD,
    Quality,
    QualityController,
    quality_steps,
)

BEST = Quality(detect_every=10, landmarks="full", mesh_level=6890)


def test_first_searches_become_rarer_then_landmarks_lighter_then_meshes_coarser() -> None:
    assert quality_steps(BEST, (6890, 1723, 431)) == (
        BEST,
        Quality(20, "full", 6890),
        Quality(40, "full", 6890),
        Quality(40, "lite", 6890),
        Quality(40, "lite", 1723),
        Quality(40, "lite", 431),
    )


def test_settings_that_are_low_already_are_not_reduced() -> None:
    frugal = Quality(detect_every=50, landmarks="lite", mesh_level=431)
    assert quality_steps(frugal, (6890, 1723, 431)) == (frugal,)
    assert quality_steps(Quality(30, "lite", 6890), ()) == (
        Quality(30, "lite", 6890),
        Quality(40, "lite", 6890),
    )


class Machine:
    """Simulates frames whose processing time depends on the step, with its own clock."""

    def __init__(self, controller: QualityController) -> None:
        self.controller = controller
        self.now = 0.0
        self.changes: list[tuple[float, int]] = []

    def run(self, until: float, cost: Callable[[int], float], idle: float = 0.0) -> None:
        while self.now < until:
            seconds = cost(self.controller.step)
            self.now += seconds + idle
            if self.controller.frame(seconds, self.now):
                self.changes.append((self.now, self.controller.step))


@pytest.fixture
def machine() -> Machine:
    return Machine(QualityController(target_fps=20.0, steps=6))


def test_frames_within_the_budget_change_nothing(machine: Machine) -> None:
    machine.run(60.0, lambda step: 0.049)
    assert machine.changes == []


def test_quality_goes_down_as_far_as_needed_and_no_further(machine: Machine) -> None:
    machine.run(60.0, lambda step: 0.059 - 0.005 * step)
    assert [step for _, step in machine.changes] == [1, 2]
    times = [when for when, _ in machine.changes]
    assert times[1] - times[0] >= PERIOD, "a step was judged too early"


def test_quality_stops_at_the_last_step(machine: Machine) -> None:
    machine.run(60.0, lambda step: 0.5)
    assert [step for _, step in machine.changes] == [1, 2, 3, 4, 5]


def test_single_slow_frames_change_nothing_if_the_mean_is_within_the_budget(
    machine: Machine,
) -> None:
    """The person detector makes every tenth frame slow."""
    frames = iter(range(10**6))
    machine.run(60.0, lambda step: 0.12 if next(frames) % 10 == 0 else 0.03)
    assert machine.changes == []


def test_at_low_load_quality_rises_step_by_step(machine: Machine) -> None:
    machine.run(20.0, lambda step: 0.5)
    machine.run(20.0 + 7 * (PATIENCE + 2 * PERIOD), lambda step: 0.01, idle=0.02)
    assert [step for _, step in machine.changes] == [1, 2, 3, 4, 5, 4, 3, 2, 1, 0]


def test_frames_just_within_the_budget_do_not_raise_the_quality(machine: Machine) -> None:
    machine.run(60.0, lambda step: 0.055 if step == 0 else 0.045)
    assert [step for _, step in machine.changes] == [1]


def test_trials_of_a_step_that_is_too_slow_become_rarer(machine: Machine) -> None:
    """Step 0 is too slow, step 1 has a low load: each trial fails, the next waits twice as long."""
    machine.run(600.0, lambda step: 0.06 if step == 0 else 0.02)
    assert {step for _, step in machine.changes} == {0, 1}
    assert len(machine.changes) < 2 * 600 / MAX_PATIENCE + 10
    slow = sum(
        after - before
        for (before, step), (after, _) in zip(machine.changes, machine.changes[1:], strict=False)
        if step == 0
    )
    assert slow < 0.05 * 600


def test_after_a_successful_trial_the_next_trial_waits_the_usual_time(machine: Machine) -> None:
    machine.run(300.0, lambda step: 0.06 if step == 0 else 0.02)
    began = machine.now
    machine.run(began + MAX_PATIENCE + 2 * PATIENCE, lambda step: 0.02)  # the load has gone
    assert machine.controller.step == 0
    began = machine.now
    machine.run(began + 2 * PERIOD, lambda step: 0.06 if step == 0 else 0.02)
    assert machine.controller.step == 1
    machine.run(machine.now + PATIENCE + 2 * PERIOD, lambda step: 0.02)
    assert machine.controller.step == 0, "the old failures must not count"


def test_frames_longer_than_the_period_lower_the_quality_too(machine: Machine) -> None:
    machine.run(40.0, lambda step: 2.0 * PERIOD)
    assert machine.controller.step >= 2
