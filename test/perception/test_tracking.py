"""Tracking: identities survive crossings and short occlusions and are never given twice."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdformer_ros.perception.landmarks import LANDMARKS, Pose, Roi
from stdformer_ros.perception.tracking import (
    CONFIRMING_HITS,
    MAX_LOST_SECONDS,
    Sighting,
    Track,
    Tracker,
    associate,
    clothing_colours,
    same_person,
)

SPACE = np.zeros((LANDMARKS, 3), np.float32)
SIDE = 250.0  # pixels, of a region; 100 pixels are a metre, a person is about 170 pixels tall
GREY = np.full((2, 3), 0.5, np.float32)
BLACK, WHITE = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)


def pose_at(x, y=300.0, score=1.0, side=SIDE, lean=0.0):
    """A standing person: landmarks spread over the height, left and right apart."""
    index = np.arange(LANDMARKS)
    down = (index / LANDMARKS - 0.5) * side * 0.7
    apart = np.where(index % 2, 0.08, -0.08) * side
    landmarks = np.stack([x + apart + lean * down, y + down], axis=1).astype(np.float32)
    return Pose(score, landmarks, np.ones(LANDMARKS, np.float32), Roi(x, y, side), SPACE)


def seen(x, y=300.0, colours=GREY, tracks=(), sure=False, side=SIDE):
    return Sighting(pose_at(x, y, side=side), colours, tuple(tracks), sure)


@dataclass
class Walker:
    """A person in a scene: x = start + speed * t in pixels; a larger depth is farther away."""

    start: float
    speed: float
    depth: int
    colours: np.ndarray

    def at(self, stamp):
        return self.start + self.speed * stamp


def watch(tracker, walkers, stamp, hidden=()):
    """Show one frame to the tracker; returns the identity of each visible walker.

    A walker is hidden if a nearer one is less than 40 pixels away. A region moves onto the visible
    walker nearest to it; the detector's boxes find the other walkers.
    """
    visible = [
        w
        for w in walkers
        if w not in hidden
        and not any(
            o.depth < w.depth and abs(o.at(stamp) - w.at(stamp)) < 40 for o in walkers if o != w
        )
    ]
    followers = {id(w): [] for w in visible}
    for track in tracker.tracks:
        expected = track.predicted(stamp)
        near = [w for w in visible if abs(w.at(stamp) - expected.x) < 0.3 * SIDE]
        if near:
            nearest = min(near, key=lambda w: abs(w.at(stamp) - expected.x))
            followers[id(nearest)].append(track)
    sightings = [seen(w.at(stamp), colours=w.colours, tracks=followers[id(w)]) for w in visible]
    tracks = tracker.update(sightings, stamp)
    return {id(w): t.track_id for w, t in zip(visible, tracks, strict=True)}


def stamps(seconds, fps, jitter=0.0, seed=0):
    """The times of frames at irregular intervals."""
    random = np.random.default_rng(seed)
    steps = 1 / fps * (1 + jitter * random.uniform(-1, 1, int(seconds * fps)))
    return np.cumsum(steps).tolist()


def test_a_new_person_gets_an_identity_after_some_frames():
    tracker = Tracker()
    ids = [tracker.update([seen(100)], k / 30)[0].track_id for k in range(CONFIRMING_HITS + 1)]
    assert ids == [None] * (CONFIRMING_HITS - 1) + [0, 0]


def test_a_sure_sighting_gets_an_identity_at_once():
    assert Tracker().update([seen(100, sure=True)], 0.0)[0].track_id == 0


def test_an_unconfirmed_track_ends_when_missed_once():
    tracker = Tracker()
    tracker.update([seen(100)], 0.0)
    tracker.update([], 1 / 30)
    assert tracker.tracks == []


@pytest.mark.parametrize("fps", [10, 30])
@pytest.mark.parametrize("colours", [(GREY, GREY), (BLACK, WHITE)])
@pytest.mark.parametrize("speeds", [(140, -140), (140, 0), (200, 80), (60, -200)])
@pytest.mark.parametrize("seed", range(3))
def test_identities_survive_a_crossing(fps, colours, speeds, seed):
    """Two people pass each other, one hidden for a while, frames at irregular intervals."""
    meeting = 1.5
    one = Walker(500 - speeds[0] * meeting, speeds[0], 1, colours[0])
    two = Walker(500 - speeds[1] * meeting, speeds[1], 2, colours[1])
    tracker = Tracker()
    answers = [watch(tracker, [one, two], t) for t in stamps(3.5, fps, 0.4, seed)]
    first = {k: v for answer in answers[: fps // 2] for k, v in answer.items()}
    assert sorted(first.values()) == [0, 1]
    assert answers[-1] == first


def test_a_person_in_other_clothes_does_not_take_over_an_identity():
    """A black one stands where a white one disappears; the white one keeps the identity."""
    tracker = Tracker()
    for k in range(10):
        white = tracker.update([seen(100 + k, colours=WHITE)], k / 10)[0]
    other = tracker.update([seen(118, colours=BLACK, tracks=[white])], 1.0)[0]
    assert other is not white
    back = tracker.update([seen(111, colours=WHITE), seen(118, colours=BLACK)], 1.1)
    assert back[0] is white


@pytest.mark.parametrize("missing", [0.2, 0.5, 0.9])
def test_an_identity_survives_a_short_occlusion(missing):
    tracker = Tracker()
    times = stamps(3, 30)
    ids = [
        watch(tracker, [w], t, hidden=[w] if 1.5 < t < 1.5 + missing else [])
        for w in [Walker(100, 120, 1, GREY)]
        for t in times
    ]
    assert set(ids[-1].values()) == {0}
    assert {} in ids


def test_after_a_long_absence_a_person_gets_a_new_identity():
    tracker = Tracker()
    walker = Walker(100, 0, 1, GREY)
    for t in stamps(1, 30):
        watch(tracker, [walker], t)
    later = 1.0 + MAX_LOST_SECONDS + 0.1
    watch(tracker, [walker], later, hidden=[walker])
    for k in range(CONFIRMING_HITS):
        answer = watch(tracker, [walker], later + (k + 1) / 30)
    assert list(answer.values()) == [1]


def test_identities_are_not_reused_after_forget():
    tracker = Tracker()
    tracker.update([seen(100, sure=True), seen(400, sure=True)], 0.0)
    tracker.forget()
    assert [t.track_id for t in tracker.update([seen(100, sure=True)], 0.1)] == [2]


def test_landmark_filters_end_with_their_track():
    tracker = Tracker()
    (track,) = tracker.update([seen(100, sure=True)], 0.0)
    (same,) = tracker.update([seen(100)], 0.1)
    assert same.filters is track.filters
    (new,) = tracker.update([seen(100)], 0.2 + MAX_LOST_SECONDS)
    assert new.filters is not track.filters


def test_a_young_track_that_moves_onto_an_older_one_ends():
    tracker = Tracker()
    for k in range(60):
        (old,) = tracker.update([seen(100)], k / 30)
    _, young = tracker.update([seen(100), seen(160, sure=True)], 2.0)
    tracker.update([seen(101, tracks=[young, old])], 2.1)
    assert tracker.tracks == [old]


def test_while_two_tracks_share_a_person_both_keep_region_and_velocity():
    tracker = Tracker()
    for k in range(60):
        one, two = tracker.update([seen(100 + 2 * k), seen(400 - 2 * k)], k / 30)
    before = one.roi, two.roi, one.velocity, two.velocity
    tracker.update([seen(250, tracks=[one, two])], 61 / 30)
    assert (one.roi, two.roi, one.velocity, two.velocity) == before
    assert one in tracker.tracks
    assert two in tracker.tracks


def test_velocity_is_in_pixels_per_second_at_any_frame_rate():
    for fps in (10, 30, 60):
        tracker = Tracker()
        for t in stamps(2, fps, 0.3):
            (track,) = tracker.update([seen(100 + 120 * t, 300 - 50 * t)], t)
        np.testing.assert_allclose(track.velocity, [120, -50], rtol=0.02)
        assert track.predicted(t + 0.5).x == pytest.approx(100 + 120 * (t + 0.5), abs=1.5)


def test_a_clock_that_is_set_back_ends_no_track():
    tracker = Tracker()
    for k in range(60):
        tracker.update([seen(100 + k)], 50 + k / 30)
    tracker.shift_time(-50)
    (track,) = tracker.update([seen(160)], 60 / 30)
    assert track.track_id == 0
    assert track.velocity[0] == pytest.approx(30, rel=0.01)


def test_assignment_minimises_the_sum_of_costs():
    """Greedy matching would take the nearest pair and leave the other pair too far apart."""
    tracks = [Track(Roi(x, 0, SIDE), 0, GREY, 0, 0) for x in (100, 130)]
    sightings = [seen(128, 0), seen(158, 0)]
    assert associate(tracks, sightings, 0.0) == {0: 0, 1: 1}


def test_a_sighting_too_far_or_too_large_stays_unassigned():
    tracks = [Track(Roi(100, 300, SIDE), 0, GREY, 0, 0)]
    assert associate(tracks, [seen(100 + 0.3 * SIDE)], 0.0) == {}
    assert associate(tracks, [seen(100, side=2 * SIDE)], 0.0) == {}
    assert associate(tracks, [seen(100 + 0.3 * SIDE)], 0.5) == {0: 0}, "the gate grows with time"


def test_same_person_tells_one_person_seen_twice_from_two_people_side_by_side():
    assert same_person(pose_at(100), pose_at(105))
    assert not same_person(pose_at(100), pose_at(130))
    turned = pose_at(100)
    mirrored = Pose(1, turned.landmarks.copy(), turned.visibility, turned.roi, SPACE)
    mirrored.landmarks[[11, 12]] = turned.landmarks[[12, 11]]
    assert same_person(turned, mirrored)


def test_clothing_colours_are_sampled_on_trunk_and_thighs():
    image = np.zeros((400, 300, 3), np.uint8)
    landmarks = np.zeros((LANDMARKS, 2), np.float32)
    landmarks[[11, 12]] = [[200, 100], [100, 100]]
    landmarks[[23, 24]] = [[180, 200], [120, 200]]
    landmarks[[25, 26]] = [[180, 300], [120, 300]]
    image[:200] = (255, 0, 0)
    image[200:] = (0, 0, 51)
    np.testing.assert_allclose(
        clothing_colours(image, landmarks), [[1, 0, 0], [0, 0, 0.2]], atol=1e-6
    )
    beyond = clothing_colours(image, landmarks + 1e4)
    np.testing.assert_allclose(beyond, [[0, 0, 0.2], [0, 0, 0.2]], atol=1e-6)


events = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.lists(
            st.tuples(st.floats(-3e3, 3e3), st.floats(-3e3, 3e3), st.floats(2, 3e3)), max_size=4
        ),
    ),
    max_size=12,
)


@given(events)
def test_for_any_sightings_identities_are_distinct_and_never_come_back(frames):
    tracker, stamp, gone = Tracker(), 0.0, set()
    for elapsed, places in frames:
        stamp += elapsed
        sightings = [seen(x, y, sure=True, side=side) for x, y, side in places]
        tracks = tracker.update(sightings, stamp)
        ids = [t.track_id for t in tracks]
        assert len(tracks) == len(places)
        assert len(set(ids)) == len(ids)
        assert not set(ids) & gone
        assert all(t in tracker.tracks for t in tracks)
        alive = {t.track_id for t in tracker.tracks}
        gone |= set(range(tracker._next_id)) - alive
