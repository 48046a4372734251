"""The simulated landmark detector of `cli evaluate --motion`.

Its faults: Gaussian noise that is correlated over frames, landmarks that are lost for a while, left
and right exchanged, and a region of interest that jitters. No fault depends on the model that is
evaluated, or on its window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX, LANDMARK_MIRROR, LANDMARK_NAMES
from stdformer_ros.perception.landmark_filters import SideFilter
from stdformer_ros.perception.landmarks import LANDMARKS, ROI_MARGIN
from stdformer_ros.perception.people import BOX_MARGIN
from stdformer_ros.types import Person

Array = NDArray[np.float64]

NOISE = 0.015
"""Standard deviation in x and in y, as a fraction of the person's height in pixels."""
CORRELATION = 0.7
"""Correlation of the noise from one frame to the next."""
LOST = 0.05
"""Fraction of the landmarks that are lost at any time."""
BURST_FRAMES = (5, 15)
"""A landmark is lost for this range of frames; all lengths are equally likely."""
SWAPPED = 0.01
"""Fraction of the frames in which left and right are exchanged."""

ROI_JITTER = 0.05
"""Standard deviation of the region's place (as a fraction of its side) and of its relative size,
independent from frame to frame."""
# tools/measure_roi_response.py measured on the demo's video how BlazePose `full` responds to such
# jitter: its landmarks hardly follow the region, but all of them shift and grow together by small
# amounts that do not depend on the region. Motion of single landmarks is part of NOISE.
FOLLOWS_PLACE, FOLLOWS_SIZE = 0.01, 0.09
"""Fraction of the region's shift, and of its growth, that the landmarks follow."""
SHIFT, GROWTH = 0.003, 0.014
"""Standard deviations of the common shift (as a fraction of the region's side) and growth
(relative) that do not depend on the region."""

_NEIGHBOURS = {
    **dict.fromkeys((1, 2, 3, 4, 5, 6, 9, 10), "nose"),
    **dict.fromkeys((17, 21), "left_index"),
    **dict.fromkeys((18, 22), "right_index"),
}
_ROWS = [
    BLAZEPOSE_INDEX.index(i) if i in BLAZEPOSE_INDEX else LANDMARK_NAMES.index(_NEIGHBOURS[i])
    for i in range(LANDMARKS)
]
"""The landmark of the body (0 to 20) for each of BlazePose's 33; a neighbour for those that the
body does not have."""


@dataclass(frozen=True)
class Detections:
    """What the detector gives for one person in N frames.

    Attributes:
        landmarks: (N, 21, 2) pixels; a lost one keeps the place where it was last seen.
        visibility: (N, 21), 0 for lost landmarks, else 1.
        boxes: (N, 4) x0, y0, x1, y1 pixels.
        lost: (N, 21) bool, by the true landmark, before left and right are exchanged.
    """

    landmarks: NDArray[np.float32]
    visibility: NDArray[np.float32]
    boxes: NDArray[np.float32]
    lost: NDArray[np.bool_]


def detect(
    pixels: NDArray[np.floating],
    height: NDArray[np.floating],
    hidden: NDArray[np.bool_],
    seed: tuple[int, ...],
) -> Detections:
    """Disturb the true landmarks.

    Args:
        pixels: (N, 21, 2) the true landmarks.
        height: (N,) of the person, pixels.
        hidden: (N, 21), landmarks that cannot be seen; they are lost in addition to the others.
        seed: the same seed gives the same faults.
    """
    rng = np.random.default_rng(seed)
    pixels = np.asarray(pixels, np.float64)
    seen = pixels + NOISE * height[:, None, None] * correlated_noise(pixels.shape, rng)
    seen, boxes = _jitter_region(seen, rng)
    lost = bursts(pixels.shape[:2], rng) | hidden
    seen = _held(seen, lost)
    visibility = np.where(lost, 0.0, 1.0)
    swap = rng.random(len(pixels)) < SWAPPED
    mirror = list(LANDMARK_MIRROR)
    seen[swap] = seen[swap][:, mirror]
    visibility[swap] = visibility[swap][:, mirror]
    return Detections(
        seen.astype(np.float32), visibility.astype(np.float32), boxes.astype(np.float32), lost
    )


def as_people(detections: Detections) -> list[Person]:
    """The person in each frame as perception gives them to the estimator.

    They have BlazePose's 33 landmarks, and perception has corrected exchanged sides.
    """
    keep_sides = SideFilter()
    return [
        keep_sides(Person(1, 1.0, box, landmarks[_ROWS], visibility[_ROWS]), frame / 30)
        for frame, (landmarks, visibility, box) in enumerate(
            zip(detections.landmarks, detections.visibility, detections.boxes, strict=True)
        )
    ]


def correlated_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Unit Gaussian noise with `CORRELATION` along the first axis."""
    fresh = rng.normal(size=shape)
    noise = fresh.copy()
    for frame in range(1, len(noise)):
        noise[frame] = CORRELATION * noise[frame - 1] + (1 - CORRELATION**2) ** 0.5 * fresh[frame]
    return noise


def bursts(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random losses of `shape` (N, L), bool: whether landmark l is lost in frame n."""
    low, high = BURST_FRAMES
    mean = 0.5 * (low + high)
    mean_gap = mean * (1.0 - LOST) / LOST
    lost = np.zeros(shape, bool)
    for column in lost.T:
        frame = -int(20 * mean_gap)  # begins long before frame 0, so that it is like the others
        while frame < len(column):
            frame += int(rng.geometric(1.0 / mean_gap))
            end = frame + int(rng.integers(low, high + 1))
            column[max(frame, 0) : max(end, 0)] = True
            frame = end
    return lost


def _jitter_region(pixels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Landmarks (N, 21, 2) as found in jittered regions, and boxes (N, 4) that jitter with them."""
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    centre, extent = 0.5 * (low + high), high - low
    longer = extent.max(axis=1, keepdims=True)
    side = ROI_MARGIN * longer
    place = ROI_JITTER * rng.normal(size=(len(pixels), 2))
    size = ROI_JITTER * rng.normal(size=(len(pixels), 1))
    shift = (FOLLOWS_PLACE * place + SHIFT * rng.normal(size=place.shape)) * side
    growth = 1.0 + FOLLOWS_SIZE * size + GROWTH * rng.normal(size=size.shape)
    seen = centre[:, None] + growth[:, None] * (pixels - centre[:, None]) + shift[:, None]
    middle = centre + place * side
    half = (0.5 * extent + BOX_MARGIN * longer) * (1.0 + size)
    return seen, np.concatenate([middle - half, middle + half], axis=1)


def _held(pixels: Array, lost: NDArray[np.bool_]) -> Array:
    """Lost landmarks keep their last seen place, or their first if they are lost from the start."""
    frames = np.arange(len(pixels))[:, None]
    last = np.maximum.accumulate(np.where(lost, 0, frames), axis=0)
    return np.take_along_axis(pixels, last[..., None], axis=0)
