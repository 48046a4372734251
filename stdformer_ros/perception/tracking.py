"""Who is who from frame to frame.

The regions of interest already follow people; what is left is to notice when two regions have
fallen onto one person, and who reappears after that. Of the libraries that run with numpy 2,
`norfair-enough` 2.4 counts time in frames, matches greedily and cannot hold a motion back while
two people cannot be told apart, and `trackers` 2.6 knows boxes only and pulls in matplotlib and
another OpenCV; so a track here is a position with a velocity in seconds, and matching is one
Hungarian assignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, log

import numpy as np
from scipy.optimize import linear_sum_assignment

from stdformer_ros.perception.landmarks import Pose, Roi
from stdformer_ros.types import FloatArray

MAX_LOST_SECONDS = 1.0
"""Who is unseen for longer is forgotten, and is somebody new on return."""
CONFIRMING_HITS = 3
"""A new track is believed after so many frames in which it was seen."""
VELOCITY_SECONDS = 0.25
"""The time constant with which a track's velocity follows its steps."""
CLOTHING_SECONDS = 0.5
"""The time constant with which a track's colours follow the light."""
YOUNG_SECONDS = 1.0
"""A track that falls onto an older one so soon was never a person of its own."""

# Distances below are in sides of the region of interest, about 2.5 m for an adult.
GATE = 0.2
GATE_GROWTH = 0.8
"""A track may be so far from where it was expected, and so much farther per second unseen."""
SIZE_WEIGHT = 0.5
CLOTHING_WEIGHT = 0.25
SAME_PERSON = 0.07
"""Two poses whose joints are closer than this on average show the same person."""

BODY = [11, 12, 13, 14, 23, 24, 25, 26, 27, 28]  # shoulders, elbows, hips, knees, ankles
MIRRORED = [12, 11, 14, 13, 24, 23, 26, 25, 28, 27]


@dataclass(eq=False)
class Track:
    """One person over time.

    Attributes:
        roi: the region that the person filled when last told apart from everybody else.
        roi_stamp: seconds, when that was.
        clothing: (2, 3) colours as `clothing` gives them, averaged over time.
        born: seconds, when the person was first seen.
        seen: seconds, when the person was last seen at all.
        hits: in how many frames.
        velocity: (2,) of the region's centre in pixels per second.
        track_id: given when the track is confirmed, never to anybody else.
    """

    roi: Roi
    roi_stamp: float
    clothing: FloatArray
    born: float
    seen: float
    hits: int = 1
    velocity: tuple[float, float] = (0.0, 0.0)
    track_id: int | None = None

    def predicted(self, stamp: float) -> Roi:
        """The region expected to hold this person at a later time."""
        elapsed = stamp - self.roi_stamp
        vx, vy = self.velocity
        return replace(self.roi, x=self.roi.x + vx * elapsed, y=self.roi.y + vy * elapsed)

    def take(self, sighting: Sighting, stamp: float) -> None:
        """Follow a sighting of this person and nobody else."""
        elapsed = stamp - self.roi_stamp
        roi = sighting.pose.roi
        if elapsed > 0:
            gain = 1.0 - exp(-elapsed / VELOCITY_SECONDS)
            vx, vy = self.velocity
            vx += gain * ((roi.x - self.roi.x) / elapsed - vx)
            vy += gain * ((roi.y - self.roi.y) / elapsed - vy)
            self.velocity = vx, vy
            gain = 1.0 - exp(-elapsed / CLOTHING_SECONDS)
            self.clothing = self.clothing + gain * (sighting.clothing - self.clothing)
        self.roi, self.roi_stamp = roi, stamp


@dataclass(frozen=True)
class Sighting:
    """One person seen in one frame.

    Attributes:
        pose: the surest of the poses that show this person.
        clothing: (2, 3) colours as `clothing` gives them.
        tracks: those whose regions have fallen onto this person. If there are several, it is open
            which of them it is.
        sure: True if a new track needs no further frames to be believed.
    """

    pose: Pose
    clothing: FloatArray
    tracks: tuple[Track, ...] = ()
    sure: bool = False


class Tracker:
    """Gives sightings their identities. Stamps must not go back; see `shift_time`."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._next_id = 0

    def expected(self, stamp: float) -> list[Track]:
        """Those who may be in a frame of this time; who is unseen for too long is forgotten."""
        self.tracks = [t for t in self.tracks if stamp - t.seen <= MAX_LOST_SECONDS]
        return self.tracks

    def update(self, sightings: Sequence[Sighting], stamp: float) -> list[Track]:
        """The track of each sighting of this frame, old or new, in the same order.

        Tracks without a sighting stay for a while, unless they were never confirmed.
        """
        self.expected(stamp)
        self._drop_duplicates(sightings, stamp)
        track_of = associate(self.tracks, sightings, stamp)
        answer = []
        for i, sighting in enumerate(sightings):
            if i in track_of:
                track = self.tracks[track_of[i]]
                track.hits += 1
                track.seen = stamp
                if sum(t in self.tracks for t in sighting.tracks) < 2:
                    track.take(sighting, stamp)
            else:
                track = Track(sighting.pose.roi, stamp, sighting.clothing, stamp, stamp)
                self.tracks.append(track)
            if track.track_id is None and (sighting.sure or track.hits >= CONFIRMING_HITS):
                track.track_id = self._next_id
                self._next_id += 1
            answer.append(track)
        self.tracks = [t for t in self.tracks if t.track_id is not None or t.seen == stamp]
        return answer

    def shift_time(self, seconds: float) -> None:
        """Let everything that is remembered have happened so much later: a clock was set."""
        for track in self.tracks:
            track.roi_stamp += seconds
            track.born += seconds
            track.seen += seconds

    def forget(self) -> None:
        """Drop every track; their identities are not given again."""
        self.tracks.clear()

    def _drop_duplicates(self, sightings: Sequence[Sighting], stamp: float) -> None:
        """Of the tracks on one person, drop the young ones beside the oldest."""
        for sighting in sightings:
            for track in sorted(sighting.tracks, key=lambda t: t.born)[1:]:
                if stamp - track.born < YOUNG_SECONDS:
                    self.tracks.remove(track)


def associate(
    tracks: Sequence[Track], sightings: Sequence[Sighting], stamp: float
) -> dict[int, int]:
    """The cheapest assignment of sightings to tracks: index of a sighting -> index of its track.

    The cost is the distance from where the track was expected, with the changes of size and of
    colours. What costs too much stays unassigned.
    """
    if not tracks or not sightings:
        return {}
    cost = np.array([[_cost(t, s, stamp) for t in tracks] for s in sightings])
    gates = np.array([GATE + GATE_GROWTH * (stamp - t.roi_stamp) for t in tracks])
    forbidden = cost > gates
    # Far above any sum of allowed costs, so that as many as possible are assigned.
    rows, columns = linear_sum_assignment(np.where(forbidden, 1e3, cost))
    return {int(i): int(k) for i, k in zip(rows, columns, strict=True) if not forbidden[i, k]}


def _cost(track: Track, sighting: Sighting, stamp: float) -> float:
    expected, roi = track.predicted(stamp), sighting.pose.roi
    away = hypot(roi.x - expected.x, roi.y - expected.y) / max(expected.side, roi.side)
    growth = abs(log(roi.side / expected.side))
    colours = float(np.linalg.norm(sighting.clothing - track.clothing))
    return away + SIZE_WEIGHT * growth + CLOTHING_WEIGHT * colours


def same_person(a: Pose, b: Pose) -> bool:
    """Whether two poses of one image show one person, be left and right confused or not."""
    reach = SAME_PERSON * max(a.roi.side, b.roi.side)
    return min(mean_gap(a, b), mean_gap(a, b, MIRRORED)) < reach


def mean_gap(a: Pose, b: Pose, points_of_b: list[int] = BODY) -> float:
    """The mean distance of the body's joints in two poses of one image, pixels."""
    gaps: FloatArray = np.linalg.norm(a.landmarks[BODY] - b.landmarks[points_of_b], axis=1)
    return float(gaps.mean())
