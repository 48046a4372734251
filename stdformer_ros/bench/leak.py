"""How much the process' memory grows over 20,000 frames in which people come and go.

A script replaces the networks of perception, which keep no state between frames. Everything that
keeps state is real: identities, left/right correction, windows, velocities and the
estimator.
"""

from __future__ import annotations

import numpy as np

from stdformer_ros.bench.timing import Figures, resident_bytes
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.perception.landmarks import Pose, Roi
from stdformer_ros.perception.people import person_of
from stdformer_ros.perception.tracking import Sighting, Tracker
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Frame, Person

FRAMES = 20_000
WARM_UP_FRAMES = 2_000
STAY, ABSENCE = 45, 60
"""Frames for which each person is in the image, and then out of it: long enough that the tracker
forgets them."""
PLACES = 3
WIDTH, HEIGHT = 640, 480


class ScriptedPerception:
    """Perception in which people enter, stay, leave, and come back under a new identity."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._random = np.random.default_rng(0)
        self._shape = self._random.uniform(-1, 1, (33, 2)).astype(np.float32) * (60, 160)
        self._frames = 0
        self.identities: set[int] = set()

    def __call__(self, frame: Frame) -> list[Person]:
        """Up to three people, who enter one soon after another, for 45 of every 105 frames."""
        self._frames += 1
        sightings = [
            self._sighting(place)
            for place in range(PLACES)
            if (self._frames + 5 * place) % (STAY + ABSENCE) < STAY
        ]
        tracks = self._tracker.update(sightings, frame.stamp)
        people = [
            t.filters(person_of(t.track_id, s.pose, frame.image.shape), frame.stamp)
            for t, s in zip(tracks, sightings, strict=True)
            if t.track_id is not None
        ]
        self.identities |= {p.track_id for p in people}
        return people

    def _sighting(self, place: int) -> Sighting:
        centre = np.array([WIDTH * (place + 0.5) / PLACES, 0.5 * HEIGHT], np.float32)
        landmarks = centre + self._shape + self._random.normal(0, 2, (33, 2))
        pose = Pose(
            0.9,
            landmarks.astype(np.float32),
            np.ones(33, np.float32),
            Roi(float(centre[0]), float(centre[1]), 400.0),
            np.zeros((33, 3), np.float32),
        )
        return Sighting(pose, np.full((2, 3), 0.5, np.float32))


def bench_leak(frames: int = FRAMES, warm_up: int = WARM_UP_FRAMES) -> Figures:
    """Growth of the resident memory between frame `warm_up` and the last, as a fraction of it."""
    people = ScriptedPerception()
    pipeline = Pipeline(people, create_estimator(EstimatorSettings("stdformer_s_keypoints")))
    camera = Camera.assumed(WIDTH, HEIGHT)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    before = 0
    for i in range(frames):
        if i == warm_up:
            before = resident_bytes()
        pipeline(Frame(image, i / 30, camera))
    return {
        "leak_frames": frames,
        "leak_people": len(people.identities),
        "leak_resident_growth": resident_bytes() / before - 1.0,
        "leak_resident_mib": resident_bytes() / 2**20,
    }
