"""The simulated detector of `cli evaluate --motion` has the documented faults and rates."""

from __future__ import annotations

import numpy as np
import pytest

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX, LANDMARK_MIRROR, LANDMARK_NAMES
from stdformer_ros.evaluation.motion import faulty_detector
from stdformer_ros.evaluation.motion.faulty_detector import Detections, as_people, bursts, detect

FRAMES = 6000

HEIGHT = 300.0


def standing(frames: int = FRAMES) -> np.ndarray:
    """A person 300 pixels high who does not move, each landmark elsewhere: (frames, 21, 2)."""
    y = np.linspace(100.0, 400.0, 21)
    x = 600.0 + 60.0 * np.sin(np.arange(21))
    return np.tile(np.stack([x, y], axis=-1), (frames, 1, 1))


def heights(frames: int = FRAMES) -> np.ndarray:
    return np.full(frames, HEIGHT)


def nothing(frames: int = FRAMES) -> np.ndarray:
    """No landmark is hidden."""
    return np.zeros((frames, 21), bool)


def only(monkeypatch: pytest.MonkeyPatch, **kept: float) -> None:
    """Switch off every fault except the given ones."""
    off = dict.fromkeys(("NOISE", "LOST", "SWAPPED", "ROI_JITTER", "SHIFT", "GROWTH"), 0.0)
    off["LOST"] = 1e-9  # the gaps between losses are proportional to its inverse
    for name, value in (off | kept).items():
        monkeypatch.setattr(faulty_detector, name, value)


def test_without_faults_the_detector_gives_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    result = detect(standing(200), heights(200), nothing(200), (0,))
    assert result.landmarks == pytest.approx(standing(200), abs=1e-3)
    assert (result.visibility == 1).all()
    assert not result.lost.any()


def test_noise_is_a_fraction_of_the_height_and_correlated_over_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, NOISE=0.015)
    noise = detect(standing(), heights(), nothing(), (0,)).landmarks - standing()
    assert noise.std() == pytest.approx(0.015 * HEIGHT, rel=0.02)
    assert noise.mean() == pytest.approx(0.0, abs=0.1)
    ahead = (noise[1:] * noise[:-1]).mean() / (noise**2).mean()
    assert ahead == pytest.approx(0.7, abs=0.02)
    across = (noise[:, :-1] * noise[:, 1:]).mean() / (noise**2).mean()
    assert across == pytest.approx(0.0, abs=0.02)


def test_a_person_twice_as_high_has_twice_the_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, NOISE=0.015)
    far = detect(standing(50), heights(50), nothing(50), (0,)).landmarks - standing(50)
    near = detect(standing(50), 2.0 * heights(50), nothing(50), (0,)).landmarks - standing(50)
    assert near == pytest.approx(2.0 * far, abs=1e-3)


def test_a_twentieth_of_the_landmarks_is_lost_for_5_to_15_frames() -> None:
    lost = np.concatenate([bursts((FRAMES, 21), np.random.default_rng(s)) for s in range(3)])
    assert lost.mean() == pytest.approx(0.05, abs=0.003)
    assert lost[0::FRAMES].mean() < 0.3  # the first frame is like any other
    lengths = []
    for column in lost[:FRAMES].T:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(int), [0]])))
        lengths += list((edges[1::2] - edges[::2])[1:-1])
    # Rarely two bursts follow each other without a gap: use a quantile.
    assert min(lengths) == 5
    assert np.quantile(lengths, 0.97) <= 15
    assert np.mean(lengths) == pytest.approx(10.0, abs=0.7)


def test_a_lost_landmark_is_invisible_and_keeps_its_last_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, NOISE=0.015, LOST=0.05)
    result = detect(standing(500), heights(500), nothing(500), (3,))
    assert ((result.visibility == 0) == result.lost).all()
    frames, which = np.nonzero(result.lost[1:])
    assert len(frames) > 100
    assert (result.landmarks[frames + 1, which] == result.landmarks[frames, which]).all()


def test_sides_are_exchanged_in_one_frame_of_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, SWAPPED=0.01)
    result = detect(standing(), heights(), nothing(), (0,))
    mirrored = standing()[:, list(LANDMARK_MIRROR)]
    swapped = np.abs(result.landmarks - mirrored).max(axis=(1, 2)) < 1e-2
    kept = np.abs(result.landmarks - standing()).max(axis=(1, 2)) < 1e-2
    assert (swapped ^ kept).all()
    assert swapped.mean() == pytest.approx(0.01, abs=0.004)


def test_the_region_jitters_and_landmarks_follow_it_a_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, ROI_JITTER=0.05)
    result = detect(standing(), heights(), nothing(), (0,))
    side = 1.25 * 300.0
    middle = 0.5 * (result.boxes[:, :2] + result.boxes[:, 2:])
    assert middle.std(axis=0) == pytest.approx([0.05 * side] * 2, rel=0.05)
    extent = result.boxes[:, 3] - result.boxes[:, 1]
    assert extent.std() / extent.mean() == pytest.approx(0.05, rel=0.05)
    low, high = standing()[0].min(axis=0), standing()[0].max(axis=0)
    moved = 0.5 * (result.landmarks.min(axis=1) + result.landmarks.max(axis=1)) - 0.5 * (low + high)
    assert moved == pytest.approx(0.01 * (middle - middle.mean(axis=0)), abs=0.2)
    grown = np.ptp(result.landmarks, axis=1)[:, 1] / 300.0
    assert grown - 1 == pytest.approx(0.09 * (extent / extent.mean() - 1), abs=2e-3)


def test_the_same_seed_gives_the_same_faults() -> None:
    first, second, other = (
        detect(standing(60), heights(60), nothing(60), s) for s in ((1, 2), (1, 2), (1, 3))
    )
    assert np.array_equal(first.landmarks, second.landmarks)
    assert np.array_equal(first.visibility, second.visibility)
    assert not np.array_equal(first.landmarks, other.landmarks)


def test_people_have_33_landmarks_and_sides_corrected_by_perception() -> None:
    """Perception corrects the frame in which left and right are exchanged."""
    landmarks = standing(10).astype(np.float32)
    mirror = list(LANDMARK_MIRROR)
    landmarks[5] = landmarks[5][:][mirror]
    visibility = np.ones((10, 21), np.float32)
    visibility[:, LANDMARK_NAMES.index("nose")] = 0.0
    lost = np.zeros((10, 21), bool)
    people = as_people(Detections(landmarks, visibility, np.zeros((10, 4), np.float32), lost))
    assert len(people) == 10
    for person in people:
        assert person.landmarks.shape == (33, 2)
        assert person.landmarks[list(BLAZEPOSE_INDEX)] == pytest.approx(landmarks[0])
        assert person.visibility[[0, 1, 9]].tolist() == [0, 0, 0]
        assert person.visibility[[7, 11, 22]].tolist() == [1, 1, 1]
