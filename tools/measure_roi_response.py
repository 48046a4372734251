"""Measures how BlazePose's landmarks change when its region of interest jitters.

    python tools/measure_roi_response.py VIDEO [VIDEO ...]

They are the figures in `faulty_detector.py`. People are tracked; in every fifth frame the region
of each person is moved and resized by 5 % (standard deviation), and the landmarks are compared with
those of the original region.
"""

from __future__ import annotations

import sys

import numpy as np

from stdformer_ros.io.video import read_video
from stdformer_ros.perception.landmarks import LandmarkDetector, Roi
from stdformer_ros.perception.people import PeopleTracker

JITTER = 0.05
TRIES = 8
EVERY = 5
"""Frames from one measurement to the next."""
MIN_VISIBILITY = 0.5
"""Landmarks that are less visible are not compared."""


def main(videos: list[str]) -> None:
    """Print the response to shifts and scales, and the remaining scatter."""
    rng = np.random.default_rng(0)
    find, rows = LandmarkDetector("full"), []
    for video in videos:
        follow = PeopleTracker("full")
        for number, frame in enumerate(read_video(video)):
            people = follow(frame)
            if number % EVERY:
                continue
            for person in people:
                low, high = person.landmarks.min(0), person.landmarks.max(0)
                pose = find(frame.image, Roi.around_box(np.concatenate([low, high])))
                roi = pose.roi
                pose = find(frame.image, roi)
                seen = pose.visibility > MIN_VISIBILITY
                if pose.score < 0.7 or seen.sum() < 20:
                    continue
                true = pose.landmarks[seen].astype(np.float64)
                height = np.ptp(true, axis=0).max()
                around = true - true.mean(0)
                for _ in range(TRIES):
                    shift, size = JITTER * rng.normal(size=2), np.exp(JITTER * rng.normal())
                    x, y = roi.x + shift[0] * roi.side, roi.y + shift[1] * roi.side
                    other = find(frame.image, Roi(x, y, roi.side * size, roi.angle))
                    moved = other.landmarks[seen].astype(np.float64)
                    step = (moved - true).mean(0)
                    centred = moved - moved.mean(0)
                    scale = float((centred * around).sum() / (around**2).sum())
                    rest = centred - scale * around
                    rows.append(
                        (*(step / roi.side), *shift, scale - 1, size - 1,
                         np.sqrt((rest**2).mean()) / height)
                    )  # fmt: skip
    table = np.array(rows)
    for name, answer, cause in (("x", 0, 2), ("y", 1, 3), ("size", 4, 5)):
        slope = (table[:, answer] @ table[:, cause]) / (table[:, cause] @ table[:, cause])
        rest = table[:, answer] - slope * table[:, cause]
        robust = 1.4826 * np.median(np.abs(rest - np.median(rest)))
        print(
            f"{name}: changes by {slope:+.3f} of the region's change; besides by {robust:.4f} "
            f"(1.48 median absolute deviations; standard deviation {rest.std():.4f})"
        )
    print(f"each landmark: {np.sqrt((table[:, 6] ** 2).mean()):.4f} of the height (RMS),", end=" ")
    print(f"median {np.median(table[:, 6]):.4f}; {len(table)} regions")


if __name__ == "__main__":
    main(sys.argv[1:])
