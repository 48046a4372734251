"""Smoothing of one person's bodies: size, distance, the 1 euro filter, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.postprocess.smoothing import (
    SIZE_SECONDS,
    SPEED_CUTOFF,
    BodySmoother,
    DistanceSmoother,
    OneEuro,
    OneEuroBodyFilter,
    OneEuroFilter,
    SizeSmoother,
)
from stdformer_ros.types import Body

STEP = 1 / 30
CAMERA = Camera(1280, 720, 900.0, 900.0, 640.0, 360.0)
SKELETON = np.random.default_rng(0).normal(scale=0.4, size=(24, 3))
SLOW = OneEuro(min_cutoff=1.0, beta=0.0)


def body(place: Sequence[float], size: float = 1.0, betas: np.ndarray | None = None) -> Body:
    """24 joints and four vertices, the pelvis at `place`."""
    points = (size * (SKELETON - SKELETON[0]) + place).astype(np.float32)
    return Body(points, np.ones(24, np.float32), points[:4] + 0.1, None, betas, True)


def thigh(result: Body) -> float:
    hip, knee = JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("left_knee")
    return float(np.linalg.norm(result.joints[hip] - result.joints[knee]))


def test_a_jittering_size_becomes_steady() -> None:
    smooth = SizeSmoother(JOINT_NAMES)
    rng = np.random.default_rng(0)
    sizes = []
    for _ in range(300):
        sizes.append(thigh(smooth(body((0.3, 0.1, 4.0), np.exp(0.03 * rng.normal())), STEP)))
    true = thigh(body((0.3, 0.1, 4.0)))
    assert np.std(sizes[30:]) < 0.2 * 0.03 * true
    assert np.mean(sizes[30:]) == pytest.approx(true, rel=0.01)


def test_smoothing_the_size_moves_nothing_in_the_image() -> None:
    smooth = SizeSmoother(JOINT_NAMES)
    for size in (1.0, 1.1, 0.9, 1.05):
        raw = body((0.3, 0.1, 4.0 * size), size)
        result = smooth(raw, STEP)
        assert CAMERA.project(result.joints) == pytest.approx(CAMERA.project(raw.joints), abs=0.01)
        assert CAMERA.project(result.vertices) == pytest.approx(
            CAMERA.project(raw.vertices), abs=0.01
        )


def test_the_first_sizes_count_the_same_and_old_ones_fade() -> None:
    smooth = SizeSmoother(JOINT_NAMES)
    place, true = (0.0, 0.0, 3.0), thigh(body((0.0, 0.0, 3.0)))
    smooth(body(place, 1.0), 0.0)
    assert thigh(smooth(body(place, 1.21), 1e-6)) == pytest.approx(1.1 * true, rel=1e-4)
    for _ in range(int(5 * SIZE_SECONDS / 0.1)):
        last = smooth(body(place, 1.5), 0.1)
    assert thigh(last) == pytest.approx(1.5 * true, rel=0.01)


def test_betas_are_smoothed_too() -> None:
    smooth = SizeSmoother(JOINT_NAMES)
    rng = np.random.default_rng(0)
    said = [
        smooth(body((0, 0, 3), betas=2.0 + rng.normal(size=10).astype(np.float32)), STEP).betas
        for _ in range(300)
    ]
    assert np.std(said[60:]) < 0.25
    assert np.mean(said[60:]) == pytest.approx(2.0, abs=0.15)
    assert SizeSmoother(JOINT_NAMES)(body((0, 0, 3)), 0.0).betas is None


def test_a_body_without_limbs_stays_as_it_is() -> None:
    lonely = Body(np.ones((1, 3), np.float32), np.ones(1), None, None, None, True)
    assert SizeSmoother(("pelvis",))(lonely, STEP) is lonely


def distances(track: Sequence[float]) -> np.ndarray:
    smooth = DistanceSmoother(0)
    direction = np.array([0.3, -0.2, 1.0]) / np.linalg.norm([0.3, -0.2, 1.0])
    results = [smooth(body(r * direction), STEP) for r in track]
    for result, r in zip(results, track, strict=True):
        apart = result.joints - body(r * direction).joints
        assert np.ptp(apart, axis=0) == pytest.approx([0, 0, 0], abs=1e-5)  # one shift for all
        along = apart[0] / (np.linalg.norm(apart[0]) + 1e-9)
        assert abs(along @ direction) == pytest.approx(1.0, abs=1e-3) or np.allclose(
            apart, 0, atol=1e-5
        )
    return np.array([np.linalg.norm(result.joints[0]) for result in results])


def test_a_jittering_distance_becomes_steadier() -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=400)
    smooth = distances(4.0 + noise)[60:]
    assert smooth.std() < 0.45 * 0.1
    assert np.abs(np.diff(smooth)).mean() < 0.25 * np.abs(np.diff(noise)).mean()


def test_a_person_who_comes_nearer_steadily_has_no_lag() -> None:
    track = 6.0 - 1.5 * STEP * np.arange(90)
    assert distances(track) == pytest.approx(track, abs=1e-4)


def test_a_person_who_stops_overshoots_little_and_briefly() -> None:
    track = np.concatenate([6.0 - 1.5 * STEP * np.arange(60), np.full(60, 6.0 - 1.5 * STEP * 60)])
    result = distances(track)
    assert np.abs(result - track).max() < 0.2
    assert result[-1] == pytest.approx(track[-1], abs=0.01)


def test_a_far_distance_is_smoothed_more() -> None:
    noise = 0.02 * np.random.default_rng(0).normal(size=600)
    near = distances(4.0 * (1 + noise))[200:] / 4.0
    far = distances(18.0 * (1 + noise))[200:] / 18.0
    assert far.std() < 0.75 * near.std()
    track = 18.0 - 1.5 * STEP * np.arange(90)
    assert distances(track) == pytest.approx(track, abs=1e-3), "and still has no lag"


def test_equal_stamps_and_a_person_at_the_camera_change_nothing() -> None:
    smooth = DistanceSmoother(0)
    smooth(body((0, 0, 3.0)), 0.0)
    assert smooth(body((0, 0, 5.0)), 0.0).joints[0, 2] == pytest.approx(3.0)
    at_the_camera = body((0, 0, 0.0))
    assert smooth(at_the_camera, STEP) is at_the_camera


# The 1 euro filter.


def body_of(
    points: np.ndarray, turn: np.ndarray | None = None, vertices: np.ndarray | None = None
) -> Body:
    """Joints (J, 3), the pelvis first."""
    rotations = None if turn is None else np.tile(turn, (24, 1, 1)).astype(np.float32)
    scores = np.ones(len(points), np.float32)
    return Body(points.astype(np.float32), scores, vertices, rotations, None, True)


def test_the_filter_is_the_papers_formula() -> None:
    """A scalar by hand: 1/(1 + tau/T) with tau = 1/(2 pi f), the speed low-passed first."""
    seconds = 0.02
    run = OneEuroFilter(OneEuro(1.5, 0.7))

    def gain(cutoff: float) -> float:
        return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff) / seconds)

    expected, speed = 0.0, 0.0
    assert run(np.zeros((1, 1)), 0.0)[0, 0] == 0.0
    for value in (1.0, 2.0, 1.5, -3.0, 0.2):
        speed += gain(SPEED_CUTOFF) * ((value - expected) / seconds - speed)
        expected += gain(1.5 + 0.7 * abs(speed)) * (value - expected)
        assert run(np.full((1, 1), value), seconds)[0, 0] == pytest.approx(expected)


def test_noise_of_a_still_person_is_reduced() -> None:
    noise = np.random.default_rng(0).normal(size=(600, 5, 3))
    run = OneEuroFilter(SLOW)
    smooth = np.stack([run(x, STEP) for x in noise])[100:]
    assert smooth.std() < 0.4 * noise.std()
    bend = np.diff(smooth, n=2, axis=0).std() / np.diff(noise, n=2, axis=0).std()
    assert bend < 0.2


def test_a_higher_beta_lags_less() -> None:
    ramp = np.arange(120)[:, None, None] * np.full((1, 1, 3), 0.05)
    behind = []
    for beta in (0.0, 1.0, 10.0):
        run = OneEuroFilter(OneEuro(0.5, beta))
        smooth = np.stack([run(x, STEP) for x in ramp])
        behind.append(float((ramp - smooth)[-1].mean() / 0.05))
    assert behind[0] > 5 > 2 > behind[1] > behind[2]


@given(st.floats(0.2, 5.0), st.floats(0.0, 20.0), st.integers(0, 2**31))
def test_still_points_stay_and_no_answer_leaves_the_range_of_its_inputs(
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


def test_smoothing_depends_on_time_and_not_on_the_frame_rate() -> None:
    """After a jump, 100 frames per second and 33 approach the new position alike."""
    fast, slow = OneEuroFilter(SLOW), OneEuroFilter(SLOW)
    start, there = np.zeros((1, 3)), np.ones((1, 3))
    fast(start, 0.0), slow(start, 0.0)
    for _ in range(30):
        fast(there, 0.01)
    for _ in range(10):
        slow(there, 0.03)
    assert fast(there, 0.0) == pytest.approx(slow(there, 0.0), abs=0.02)
    before = fast(there, 0.01)
    assert np.array_equal(fast(5 * there, 0.0), before)


def test_another_number_of_points_restarts_the_filter() -> None:
    run = OneEuroFilter(SLOW)
    run(np.zeros((10, 3)), 0.0)
    assert run(np.ones((4, 3)), STEP) == pytest.approx(np.ones((4, 3)))


def test_mesh_and_joints_keep_their_distance() -> None:
    """A person who moves without a change of pose."""
    rng = np.random.default_rng(0)
    joints, vertices = rng.normal(size=(24, 3)), rng.normal(size=(431, 3)).astype(np.float32)
    smoother = OneEuroBodyFilter(SLOW, pelvis=0)
    for _ in range(20):
        place = rng.normal(size=3).astype(np.float32)
        result = smoother(body_of(joints + place, np.eye(3), vertices + place), STEP)
        about = result.joints - result.joints[:1]
        assert about == pytest.approx(joints - joints[:1], abs=1e-5)
        assert result.vertices - result.joints[:1] == pytest.approx(
            vertices - joints[:1].astype(np.float32), abs=1e-5
        )


def test_filtered_rotations_stay_rotations_and_jitter_less() -> None:
    rng = np.random.default_rng(0)
    smoother = OneEuroBodyFilter(SLOW, pelvis=0)
    angles = []
    for _ in range(60):
        turn = Rotation.from_euler("xyz", rng.normal(scale=0.2, size=3)).as_matrix()
        result = smoother(body_of(np.zeros((24, 3)), turn), STEP).rotations
        assert result @ np.swapaxes(result, 1, 2) == pytest.approx(
            np.tile(np.eye(3), (24, 1, 1)), abs=1e-5
        )
        assert np.linalg.det(result) == pytest.approx(1.0, abs=1e-5)
        angles.append(Rotation.from_matrix(result[5]).magnitude())
    assert np.mean(angles[20:]) < 0.6 * 0.2 * np.sqrt(8 / np.pi)  # 0.6 of the input's mean angle


@pytest.mark.parametrize(("min_cutoff", "beta"), [(0.0, 1.0), (-1.0, 1.0), (1.0, -1.0)])
def test_impossible_settings_are_refused(min_cutoff: float, beta: float) -> None:
    with pytest.raises(ValueError, match="min_cutoff over 0 Hz and beta from 0"):
        OneEuro(min_cutoff, beta)


# All of them.


def test_a_body_smoother_smooths_size_then_distance_then_filters() -> None:
    """Each step gets the time since the frame before."""
    rng = np.random.default_rng(0)
    settings = OneEuro(1.0, 0.5)
    whole = BodySmoother(JOINT_NAMES, settings)
    steps = [SizeSmoother(JOINT_NAMES), DistanceSmoother(0), OneEuroBodyFilter(settings, 0)]
    before = 7.0
    for stamp in (7.0, 7.03, 7.08, 7.081, 7.2):
        raw = body(rng.normal(loc=(0, 0, 4), scale=0.1), 1.0 + 0.1 * rng.random())
        expected = raw
        for step in steps:
            expected = step(expected, stamp - before)
        before = stamp
        result = whole(raw, stamp)
        assert result.joints == pytest.approx(expected.joints, abs=1e-6)
        assert result.vertices == pytest.approx(expected.vertices, abs=1e-6)
