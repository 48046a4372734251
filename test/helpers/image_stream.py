"""People with known boxes before a known camera, for the estimators that look at crops."""

from __future__ import annotations

import numpy as np

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.keypoints import KEYPOINTS
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Frame, Person

CAMERA = Camera(640, 480, fx=600.0, fy=600.0, cx=330.0, cy=235.0)


def person(box: tuple[float, float, float, float], track_id: int = 1) -> Person:
    """Somebody whose keypoints fill the box."""
    x0, y0, x1, y1 = box
    landmarks = np.zeros((33, 2), np.float32)
    landmarks[list(KEYPOINTS)] = np.random.default_rng(track_id).uniform(
        (x0, y0), (x1, y1), (17, 2)
    )
    landmarks[KEYPOINTS[0]], landmarks[KEYPOINTS[1]] = (x0, y0), (x1, y1)
    return Person(track_id, 0.9, np.array(box, np.float32), landmarks, np.full(33, 0.8, np.float32))


def noise_frame(seed: int, camera: Camera = CAMERA) -> Frame:
    image = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return Frame(image, seed / 30, camera)


def stream(estimator: ImageEstimator, frames: list[Frame], people: list[Person]) -> list:
    pipeline = Pipeline(lambda frame: people, estimator)
    return list(pipeline.follow(frames))[-1].humans


def wavy_image(height: int, width: int) -> np.ndarray:
    """A picture with slopes, so that a misplaced crop shows."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / 37 + k) * np.cos(y / 29 - k) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)
