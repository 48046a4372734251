"""Boxes: overlap and suppression, letterboxing, decoding, and people in a real photograph."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.paths import DATA
from stdformer_ros.perception.detector import (
    BINS,
    STRIDES,
    PersonDetector,
    cell_centres,
    decode,
    expected_bin,
    iou,
    letterbox,
    non_maximum_suppression,
)

PHOTO = DATA / "two_people_80.jpg"
PEOPLE = np.array([[288, 48, 347, 230], [551, 263, 674, 463]], np.float32)  # measured by hand

wild_boxes = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 8), st.just(4)), elements=st.floats(-1e4, 1e4, width=32)
)


boxes_with_area = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 8), st.just(4)),
    elements=st.floats(1, 100, width=32),
).map(lambda a: np.hstack([a[:, :2], a[:, :2] + a[:, 2:]]))


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_iou_of_known_boxes():
    a = boxes([0, 0, 2, 2])
    b = boxes([0, 0, 2, 2], [1, 1, 3, 3], [1, 0, 2, 2], [2, 2, 4, 4], [5, 5, 5, 9])
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 7, 1 / 2, 0, 0]], atol=1e-7)


@given(wild_boxes, wild_boxes)
def test_iou_of_any_boxes_is_symmetric_and_between_0_and_1(a, b):
    overlap = iou(a, b)
    assert overlap.shape == (len(a), len(b))
    assert np.all((overlap >= 0) & (overlap <= 1 + 1e-5))
    np.testing.assert_allclose(overlap, iou(b, a).T, atol=1e-5)


def test_suppression_keeps_the_best_of_each_cluster():
    cluster = boxes([0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [0, 1, 10, 11])
    scores = np.array([0.5, 0.9, 0.4, 0.6], np.float32)
    assert non_maximum_suppression(cluster, scores, 0.6).tolist() == [1, 2]
    assert non_maximum_suppression(cluster, scores, 0.99).tolist() == [1, 3, 0, 2]
    assert non_maximum_suppression(boxes(), scores[:0], 0.6).shape == (0,)


@given(boxes_with_area, st.integers(0, 2**32 - 1))
def test_suppression_leaves_no_overlap_and_drops_only_boxes_that_overlap_a_better_one(a, seed):
    scores = np.random.default_rng(seed).uniform(0.1, 1, len(a)).astype(np.float32)
    kept = non_maximum_suppression(a, scores, 0.5)
    overlap = iou(a, a)  # within rounding of the one in there
    assert not np.any((overlap[np.ix_(kept, kept)] > 0.5 + 1e-4) & ~np.eye(len(kept), dtype=bool))
    for dropped in set(range(len(a))) - set(kept.tolist()):
        assert any(overlap[dropped, k] > 0.5 - 1e-4 and scores[k] >= scores[dropped] for k in kept)
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)


@pytest.mark.parametrize(
    ("size", "canvas", "scale"),
    [
        ((994, 1768), (256, 416), 416 / 1768),
        ((576, 768), (320, 416), 416 / 768),
        ((768, 576), (416, 320), 416 / 768),
        ((100, 100), (416, 416), 4.16),
        ((1, 4000), (32, 416), 0.104),
    ],
)
def test_letterbox_keeps_the_aspect_and_fills_multiples_of_32(size, canvas, scale):
    image = np.full((*size, 3), 200, np.uint8)
    box, factor = letterbox(image)
    assert box.shape == (*canvas, 3)
    assert factor == pytest.approx(scale)
    inner = [max(1, round(n * scale)) for n in size]
    assert np.all(box[: inner[0], : inner[1]] == 200)
    assert box.sum() == 200 * 3 * inner[0] * inner[1]


def test_the_expected_bin_of_a_distribution():
    logits = np.full((3, BINS), -50.0, np.float32)
    logits[0, 4] = 50  # all in bin 4
    logits[1, [2, 3]] = 50  # half in bin 2, half in bin 3
    logits[2] = 0  # anywhere
    np.testing.assert_allclose(expected_bin(logits), [4, 2.5, 5], atol=1e-5)


def test_cell_centres_are_listed_row_by_row():
    centres = cell_centres((64, 96), 32)
    expected = [[16, 16], [48, 16], [80, 16], [16, 48], [48, 48], [80, 48]]
    np.testing.assert_array_equal(centres, expected)


def test_a_handmade_output_is_decoded():
    """One person in the map of stride 16, two cells right and one down, and a bus elsewhere."""
    size = (64, 96)
    outputs = []
    for stride in STRIDES:
        cells = (size[0] // stride) * (size[1] // stride)
        scores = np.full((cells, 80), 0.01, np.float32)
        outputs.append((scores, np.zeros((cells, 4 * BINS), np.float32)))
    scores, logits = outputs[1]
    cell = 1 * (96 // 16) + 2
    scores[cell, 0] = 0.8
    scores[0, 5] = 0.9
    for side, distance in enumerate([1, 0, 2, 3]):
        logits[cell, side * BINS + distance] = 80
    found, confidence = decode(outputs, size, 0.35)
    np.testing.assert_allclose(confidence, [0.8])
    np.testing.assert_allclose(found, [[40 - 16, 24, 40 + 32, 24 + 48]], atol=1e-3)


@pytest.fixture(scope="module")
def detector():
    return PersonDetector()


@pytest.fixture(scope="module")
def photo():
    return cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)


def test_both_people_in_a_photograph_are_found_and_nobody_else(detector, photo):
    found = detector(photo)
    assert found.boxes.shape == (2, 4)
    assert found.boxes.dtype == np.float32
    overlap = iou(PEOPLE, found.boxes)
    assert np.all(overlap.max(axis=1) > 0.75), overlap
    assert np.all(found.scores > 0.6)


def test_an_enlarged_photograph_gives_the_same_boxes_in_its_pixels(detector, photo):
    larger = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    overlap = iou(2 * PEOPLE, detector(larger).boxes)
    assert np.all(overlap.max(axis=1) > 0.7), overlap


def test_the_order_of_colour_channels_matters(detector, photo):
    """The network was trained on BGR: with the wrong order it must score differently."""
    assert abs(detector(photo).scores[0] - detector(photo[..., ::-1]).scores[0]) > 0.01


def test_nobody_is_found_in_a_grey_image(detector):
    found = detector(np.full((480, 640, 3), 127, np.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (900, 7)])
def test_boxes_stay_inside_images_of_extreme_sizes(detector, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = detector(noise).boxes
    assert np.all(found >= -0.5)
    assert np.all(found <= np.array([size[1], size[0]] * 2) - 0.5)
