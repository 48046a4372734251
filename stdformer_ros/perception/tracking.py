"""The same person keeps the same identity from frame to frame.

The regions of interest already follow people. The tracker has two further tasks: to notice when two
regions have moved onto one person, and to recognise the people who reappear after that. So a track
is a region with a velocity in pixels per second, and one Hungarian assignment matches the tracks.

Of the libraries that run with numpy 2, `norfair-enough` 2.4 counts time in frames, matches greedily
and cannot freeze a track's motion while two people cannot be told apart; `trackers` 2.6 knows boxes
only and installs matplotlib and another OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import exp, hypot, log

import numpy as np
from scipy.optimize import linear_sum_assignment

from stdformer_ros.perception.landmark_filters import LandmarkFilters
from stdformer_ros.perception.landmarks import BODY_JOINTS, MIRROR, Pose, Roi
from stdformer_ros.types import FloatArray, ImageArray

MAX_LOST_SECONDS = 1.0
"""A person unseen for longer is forgotten, and gets a new identity when seen again."""
CONFIRMING_HITS = 3
"""A new track is confirmed when it was seen in this number of frames."""
VELOCITY_SECONDS = 0.25
"""Time constant with which a track's velocity follows the person's."""
CLOTHING_SECONDS = 0.5
"""Time constant with which a track's colours follow changes of light."""
YOUNG_SECONDS = 1.0
"""A track that moves onto an older track before this age was never a separate person."""

# Distances below are in units of the region's side, about 2.5 m for an adult.
GATE = 0.2
GATE_GROWTH = 0.8
"""The largest cost of a match, and by how much it grows per second unseen."""
SIZE_WEIGHT = 0.5
CLOTHING_WEIGHT = 0.25
SAME_PERSON = 0.07
"""Two poses whose joints are closer than this on average show the same person."""

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE = 11, 12, 23, 24, 25, 26
_GRID = np.linspace(0.2, 0.8, 4, dtype=np.float32)
_ACROSS, _DOWN = (g.reshape(-1, 1) for g in np.meshgrid(_GRID, _GRID))


@dataclass(eq=False)
class Track:
    """One person over time.

    Attributes:
        roi: the person's region in the last frame in which they were told apart from all others.
        roi_stamp: seconds, the stamp of that frame.
        clothing: (2, 3) colours as `clothing_colours` gives them, averaged over time.
        born: seconds, when the person was first seen.
        seen: seconds, when the person was last seen at all.
        hits: number of frames in which the person was seen.
        velocity: (2,) of the region's centre in pixels per second.
        track_id: given when the track is confirmed; no other track ever gets it.
        filters: the filters of the person's landmarks; they end with the track.
    """

    roi: Roi
    roi_stamp: float
    clothing: FloatArray
    born: float
    seen: float
    hits: int = 1
    velocity: tuple[float, float] = (0.0, 0.0)
    track_id: int | None = None
    filters: LandmarkFilters = field(default_factory=LandmarkFilters)

    def predicted(self, stamp: float) -> Roi:
        """The region in which this person is expected at a later time."""
        elapsed = stamp - self.roi_stamp
        vx, vy = self.velocity
        return replace(self.roi, x=self.roi.x + vx * elapsed, y=self.roi.y + vy * elapsed)

    def take(self, sighting: Sighting, stamp: float) -> None:
        """Follow a sighting that shows this person and cannot show another one."""
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
        pose: the pose with the highest score among those that show this person.
        clothing: (2, 3) colours as `clothing_colours` gives them.
        tracks: the tracks whose regions have moved onto this person. If there are several, it is
            not known to which of them the person belongs.
        sure: True if a new track is confirmed at once.
    """

    pose: Pose
    clothing: FloatArray
    tracks: tuple[Track, ...] = ()
    sure: bool = False


class Tracker:
    """Matches sightings to tracks. Stamps must not go back; see `shift_time`."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._next_id = 0

    def expected(self, stamp: float) -> list[Track]:
        """The tracks whose people may be in a frame with this stamp; lost tracks are dropped."""
        self.tracks = [t for t in self.tracks if stamp - t.seen <= MAX_LOST_SECONDS]
        return self.tracks

    def update(self, sightings: Sequence[Sighting], stamp: float) -> list[Track]:
        """The track of each sighting of this frame, old or new, in the same order.

        Tracks without a sighting stay for `MAX_LOST_SECONDS`, or end if they are not confirmed.
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
        """Add seconds to every remembered stamp, after the clock was set."""
        for track in self.tracks:
            track.roi_stamp += seconds
            track.born += seconds
            track.seen += seconds

    def restart_motion(self) -> None:
        """Forget how everybody moved in the image; the tracks stay."""
        for track in self.tracks:
            track.velocity = (0.0, 0.0)
            track.filters = LandmarkFilters()

    def forget(self) -> None:
        """End every track; their identities are not used again."""
        self.tracks.clear()

    def _drop_duplicates(self, sightings: Sequence[Sighting], stamp: float) -> None:
        """Of several tracks on one person, end the young ones and keep the oldest."""
        for sighting in sightings:
            for track in sorted(sighting.tracks, key=lambda t: t.born)[1:]:
                if stamp - track.born < YOUNG_SECONDS:
                    self.tracks.remove(track)


def associate(
    tracks: Sequence[Track], sightings: Sequence[Sighting], stamp: float
) -> dict[int, int]:
    """The cheapest assignment of sightings to tracks: index of a sighting -> index of its track.

    The cost is the distance from the track's predicted region, plus the changes of size and of
    colours. Pairs that cost more than the gate stay unassigned.
    """
    if not tracks or not sightings:
        return {}
    cost = np.array([[_cost(t, s, stamp) for t in tracks] for s in sightings])
    gates = np.array([GATE + GATE_GROWTH * (stamp - t.roi_stamp) for t in tracks])
    forbidden = cost > gates
    # 1e3 is far above any sum of allowed costs, so that as many as possible are assigned.
    rows, columns = linear_sum_assignment(np.where(forbidden, 1e3, cost))
    return {int(i): int(k) for i, k in zip(rows, columns, strict=True) if not forbidden[i, k]}


def _cost(track: Track, sighting: Sighting, stamp: float) -> float:
    expected, roi = track.predicted(stamp), sighting.pose.roi
    distance = hypot(roi.x - expected.x, roi.y - expected.y) / max(expected.side, roi.side)
    growth = abs(log(roi.side / expected.side))
    colours = float(np.linalg.norm(sighting.clothing - track.clothing))
    return distance + SIZE_WEIGHT * growth + CLOTHING_WEIGHT * colours


def same_person(a: Pose, b: Pose) -> bool:
    """Whether two poses of one image show one person, with left and right exchanged or not."""
    same = _mean_distance(a.landmarks, b.landmarks)
    exchanged = _mean_distance(a.landmarks, b.landmarks[MIRROR])
    return min(same, exchanged) < SAME_PERSON * max(a.roi.side, b.roi.side)


def pose_distance(a: Pose, b: Pose) -> float:
    """The mean distance of the body's joints in two poses of one image, pixels."""
    return _mean_distance(a.landmarks, b.landmarks)


def _mean_distance(a: FloatArray, b: FloatArray) -> float:
    """The mean distance of the body's joints among landmarks (33, 2)."""
    distances: FloatArray = np.linalg.norm(a[BODY_JOINTS] - b[BODY_JOINTS], axis=1)
    return float(distances.mean())


def clothing_colours(image: ImageArray, landmarks: FloatArray) -> FloatArray:
    """The mean colours (2, 3) of trunk and thighs, RGB in 0..1, to distinguish people who cross.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (33, 2) in pixels; samples outside the image are taken at its border.
    """
    shoulders = landmarks[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    hips = landmarks[[LEFT_HIP, RIGHT_HIP]]
    knees = landmarks[[LEFT_KNEE, RIGHT_KNEE]]
    points = np.concatenate([_grid_between(shoulders, hips), _grid_between(hips, knees)])
    height, width = image.shape[:2]
    x = np.clip(np.rint(points[:, 0]), 0, width - 1).astype(np.intp)
    y = np.clip(np.rint(points[:, 1]), 0, height - 1).astype(np.intp)
    colours = image[y, x].astype(np.float32) / 255.0
    return colours.reshape(2, -1, 3).mean(axis=1)


def _grid_between(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """A grid of points (16, 2) inside the quadrilateral between two edges (2, 2)."""
    above = top[0] + _ACROSS * (top[1] - top[0])
    below = bottom[0] + _ACROSS * (bottom[1] - bottom[0])
    return above + _DOWN * (below - above)
