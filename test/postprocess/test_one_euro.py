"""The optional 1 euro filter after the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stdformer_ros.postprocess.one_euro import SPEED_CUTOFF, BodyFilter, OneEuro, OneEuroFilter
from stdformer_ros.types import Body

STEP = 1 / 30
CALM = OneEuro(min_cutoff=1.0, beta=0.0)


def body(
    points: np.ndarray, turn: np.ndarray | None = None, vertices: np.ndarray | None = None
) -> Body:
    """Joints (J, 3), the pelvis first."""
    rotations = None if turn is None else np.tile(turn, (24, 1, 1)).astype(np.float32)
    scores = np.ones(len(points), np.float32)
    return Body(points.astype(np.float32), scores, vertices, rotations, None, True)


def test_the_formula_of_the_paper() -> None:
    """A scalar, by hand: 1/(1 + tau/T) with tau = 1/(2 pi f), the speed low-passed first."""
    smoothing, seconds = OneEuro(1.5, 0.7), 0.02
    run = OneEuroFilter(smoothing)

    def share(cutoff: float) -> float:
        return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff) / seconds)

    expected, speed = 0.0, 0.0
    assert run(np.zeros((1, 1)), 0.0)[0, 0] == 0.0
    for value in (1.0, 2.0, 1.5, -3.0, 0.2):
        speed += share(SPEED_CUTOFF) * ((value - expected) / seconds - speed)
        expected += share(1.5 + 0.7 * abs(speed)) * (value - expected)
        assert run(np.full((1, 1), value), seconds)[0, 0] == pytest.approx(expected)


def test_noise_of_somebody_still_goes_down() -> None:
    noise = np.random.default_rng(0).normal(size=(600, 5, 3))
    run = OneEuroFilter(CALM)
    smooth = np.stack([run(x, STEP) for x in noise])[100:]
    assert smooth.std() < 0.4 * noise.std()
    bend = np.diff(smooth, n=2, axis=0).std() / np.diff(noise, n=2, axis=0).std()
    assert bend < 0.2


def test_beta_buys_less_lag() -> None:
    ramp = np.arange(120)[:, None, None] * np.full((1, 1, 3), 0.05)
    behind = []
    for beta in (0.0, 1.0, 10.0):
        run = OneEuroFilter(OneEuro(0.5, beta))
        smooth = np.stack([run(x, STEP) for x in ramp])
        behind.append(float((ramp - smooth)[-1].mean() / 0.05))
    assert behind[0] > 5 > 2 > behind[1] > behind[2]


@given(st.floats(0.2, 5.0), st.floats(0.0, 20.0), st.integers(0, 2**31))
def test_what_stands_still_is_left_alone_and_nothing_overshoots(
    min_cutoff: float, beta: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    run = OneEuroFilter(OneEuro(min_cutoff, beta))
    points = rng.normal(size=(4, 3))
    assert run(points, 0.0) == pytest.approx(points)
    assert run(points, STEP) == pytest.approx(points)
    low = high = points
    for _ in range(10):
        fresh = rng.normal(size=(4, 3))
        low, high = np.minimum(low, fresh), np.maximum(high, fresh)
        smooth = run(fresh, float(rng.uniform(0.0, 0.2)))
        assert (smooth >= low - 1e-9).all()
        assert (smooth <= high + 1e-9).all()


def test_the_pace_is_that_of_the_stamps() -> None:
    """Two short steps to a new place go as far as a camera of half the rate sees it going."""
    fast, slow = OneEuroFilter(CALM), OneEuroFilter(CALM)
    start, there = np.zeros((1, 3)), np.ones((1, 3))
    fast(start, 0.0), slow(start, 0.0)
    for _ in range(30):
        fast(there, 0.01)
    for _ in range(10):
        slow(there, 0.03)
    assert fast(there, 0.0) == pytest.approx(slow(there, 0.0), abs=0.02)
    before = fast(there, 0.01)
    assert np.array_equal(fast(5 * there, 0.0), before)


def test_another_mesh_starts_anew() -> None:
    run = OneEuroFilter(CALM)
    run(np.zeros((10, 3)), 0.0)
    assert run(np.ones((4, 3)), STEP) == pytest.approx(np.ones((4, 3)))


def test_a_body_stays_one_piece() -> None:
    """Somebody who only moves about: the mesh keeps its distance to the joints."""
    rng = np.random.default_rng(0)
    joints, vertices = rng.normal(size=(24, 3)), rng.normal(size=(431, 3)).astype(np.float32)
    smoother = BodyFilter(CALM, pelvis=0)
    for _ in range(20):
        place = rng.normal(size=3).astype(np.float32)
        result = smoother(body(joints + place, np.eye(3), vertices + place), STEP)
        about = result.joints - result.joints[:1]
        assert about == pytest.approx(joints - joints[:1], abs=1e-5)
        assert result.vertices - result.joints[:1] == pytest.approx(
            vertices - joints[:1].astype(np.float32), abs=1e-5
        )


def test_rotations_stay_rotations_and_calm_down() -> None:
    rng = np.random.default_rng(0)
    smoother = BodyFilter(CALM, pelvis=0)
    angles = []
    for _ in range(60):
        turn = Rotation.from_euler("xyz", rng.normal(scale=0.2, size=3)).as_matrix()
        result = smoother(body(np.zeros((24, 3)), turn), STEP).rotations
        assert result @ np.swapaxes(result, 1, 2) == pytest.approx(
            np.tile(np.eye(3), (24, 1, 1)), abs=1e-5
        )
        assert np.linalg.det(result) == pytest.approx(1.0, abs=1e-5)
        angles.append(Rotation.from_matrix(result[5]).magnitude())
    assert np.mean(angles[20:]) < 0.6 * 0.2 * np.sqrt(8 / np.pi)  # that of the input


@pytest.mark.parametrize(("min_cutoff", "beta"), [(0.0, 1.0), (-1.0, 1.0), (1.0, -1.0)])
def test_impossible_filters_are_refused(min_cutoff: float, beta: float) -> None:
    with pytest.raises(ValueError, match="min_cutoff over 0 Hz and beta from 0"):
        OneEuro(min_cutoff, beta)
