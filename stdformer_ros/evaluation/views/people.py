"""Who in one view is who in the others: nobody but one person is in one place from all sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np

from stdformer_ros.evaluation.views.cameras import CalibratedCamera
from stdformer_ros.evaluation.views.recording import JOINTS, Sight
from stdformer_ros.evaluation.views.triangulation import triangulate

Recording = Sequence[Sequence[Sight]]
"""Everybody in each frame of one view."""
Track = list[Sight | None]
"""One person in each frame of one view."""

LONG_ENOUGH = 0.4
"""A track that lasts for a smaller part of the recording is nobody to judge by."""
MOST = 3
"""So many people of each view are tried, those seen longest and largest."""
SAMPLES = 10
"""Frames by which views are compared."""
TOGETHER = 0.05
"""Median distance between what the views of one person see and their consensus, in heights. That
of two people is 0.09 and more, that of one in a rough calibration 0.015."""


def people_in_views(
    cameras: Sequence[CalibratedCamera], recordings: Sequence[Recording]
) -> list[list[Track]]:
    """Everybody whom all views show, whoever is longest and largest in sight first.

    Args:
        cameras: V of them.
        recordings: V, of the same length.

    Returns:
        For each person their track in each view. Where the views agree on nobody, the person whom
        each of them shows longest and largest.
    """
    views = [_tracks(recording) for recording in recordings]
    choices = list(product(*[range(len(tracks)) for tracks in views]))
    apart = [
        _apart(cameras, [tracks[i] for tracks, i in zip(views, choice, strict=True)])
        for choice in (choices if len(choices) > 1 else [])
    ]
    found: list[tuple[int, ...]] = []
    for k in np.argsort(apart):
        taken = any(i == j for other in found for i, j in zip(choices[k], other, strict=True))
        if apart[k] < TOGETHER and not taken:
            found.append(choices[k])
    if not found:
        return [[tracks[0] if tracks else [None] * len(recordings[0]) for tracks in views]]
    people = [[tracks[i] for tracks, i in zip(views, c, strict=True)] for c in found]
    return sorted(people, key=lambda tracks: -sum(_weight(track) for track in tracks))


def _tracks(recording: Recording) -> list[Track]:
    """Those of one view who are long enough in sight, longest and largest first."""
    by_identity: defaultdict[int, Track] = defaultdict(lambda: [None] * len(recording))
    for frame, sights in enumerate(recording):
        for sight in sights:
            by_identity[sight.track_id][frame] = sight
    tracks = sorted(by_identity.values(), key=_weight, reverse=True)
    least = LONG_ENOUGH * len(recording)
    return [t for t in tracks if sum(sight is not None for sight in t) >= least][:MOST]


def _weight(track: Track) -> float:
    return sum(sight.height for sight in track if sight is not None)


def _apart(cameras: Sequence[CalibratedCamera], tracks: Sequence[Track]) -> float:
    """How far what the views see is from their consensus, in heights of the person."""
    frames = np.linspace(0, len(tracks[0]) - 1, SAMPLES + 2).astype(int)[1:-1]
    pixels = np.zeros((len(tracks), len(frames), len(JOINTS), 2))
    weights = np.zeros(pixels.shape[:3])
    heights = []
    for view, track in enumerate(tracks):
        for k, frame in enumerate(frames):
            sight = track[frame]
            if sight is not None:
                pixels[view, k], weights[view, k] = sight.pixels, sight.visibility
                heights.append(sight.height)
    _, distance = triangulate(cameras, pixels, weights)
    seen = np.isfinite(distance) & (weights > 0)
    if not seen.any(axis=(1, 2)).all():
        return np.inf
    medians = [np.median(d[s]) for d, s in zip(distance, seen, strict=True)]
    return float(np.mean(medians) / np.mean(heights))
