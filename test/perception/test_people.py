"""PeopleTracker: when the detector runs, which landmarks are taken, identities, real frames."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from helpers.paths import DATA
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.video import read_video
from stdformer_ros.perception import PeopleTracker
from stdformer_ros.perception.detector import Detections
from stdformer_ros.perception.landmarks import LANDMARKS, MIRROR, Pose, Roi
from stdformer_ros.perception.people import SEARCH_EVERY, landmark_box
from stdformer_ros.types import Frame

PHOTOS = DATA
HEIGHT = 160.0  # pixels, of every person in a scene
SPACE = np.zeros((LANDMARKS, 3), np.float32)
SIDE = 1.25 * HEIGHT


class Scene:
    """Replaces both networks: it knows where every person stands in each frame."""

    def __init__(self, tracker):
        self.places = []
        self.searches = 0
        self.frames = 0
        tracker._find_boxes = self.find_boxes
        tracker._find_landmarks = self.find_landmarks
        self.tracker = tracker

    def find_boxes(self, image):
        self.searches += 1
        boxes = [[x - 30, y - HEIGHT / 2, x + 30, y + HEIGHT / 2] for x, y in self.places]
        scores = np.full(len(boxes), 0.7, np.float32)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores)

    def find_landmarks(self, image, roi, mirrored=False, covered=()):
        """The person nearest to the region's centre, if there is one near it."""
        gaps = [np.hypot(x - roi.x, y - roi.y) for x, y in self.places]
        if not gaps or min(gaps) > 0.3 * roi.side:
            return self.pose(roi.x, roi.y, 0.01)
        return self.pose(*self.places[int(np.argmin(gaps))], 0.99)

    @staticmethod
    def pose(x, y, score):
        down = (np.arange(LANDMARKS) / (LANDMARKS - 1) - 0.5) * HEIGHT
        across = np.where(np.arange(LANDMARKS) % 2, 15, -15)
        landmarks = np.stack([x + across, y + down], axis=1).astype(np.float32)
        return Pose(score, landmarks, np.ones(LANDMARKS, np.float32), Roi(x, y, SIDE), SPACE)

    def show(self, *places, stamp=None, size=(480, 640), discontinuous=False):
        """Show the next frame, 30 per second, with people at these places."""
        self.places = places
        stamp = self.frames / 30 if stamp is None else stamp
        self.frames += 1
        image = np.zeros((*size, 3), np.uint8)
        camera = Camera.assumed(size[1], size[0])
        return self.tracker(Frame(image, stamp, camera, discontinuous=discontinuous))

    def ids(self, *places, **options):
        return [p.track_id for p in self.show(*places, **options)]


@pytest.fixture(scope="module")
def networks():
    return PeopleTracker(landmarks="lite")


@pytest.fixture
def scene():
    return Scene(PeopleTracker(landmarks="lite", detect_every=10))


@pytest.fixture
def mirrored_scene(scene):
    scene.tracker.use("full", detect_every=10)
    return Scene(scene.tracker)


def test_the_whole_image_is_searched_every_ten_frames_while_nobody_is_lost(scene):
    for _ in range(31):
        scene.show((300, 200))
    assert scene.searches == 4  # frames 0, 10, 20, 30


def test_the_whole_image_is_searched_in_every_frame_while_nobody_is_seen(scene):
    for _ in range(7):
        assert scene.show() == []
    assert scene.searches == 7


def test_the_whole_image_is_searched_more_often_while_a_person_is_lost(scene):
    for _ in range(15):
        scene.show((150, 200), (450, 200))
    before = scene.searches
    for _ in range(12):
        scene.show((150, 200))
    assert scene.searches - before == 12 // SEARCH_EVERY


def test_after_a_discontinuity_landmarks_are_not_smoothed_and_the_whole_image_is_searched(scene):
    """The intrinsics have changed: everybody is seen elsewhere, though nobody has moved."""
    for _ in range(5):
        (known,) = scene.show((300, 200))
    before = scene.searches
    (person,) = scene.show((310, 205), discontinuous=True)
    true = scene.pose(310, 205, 1.0).landmarks
    np.testing.assert_array_equal(person.landmarks, true)
    assert scene.searches == before + 1
    assert person.track_id == known.track_id
    (person,) = scene.show((310, 205))
    np.testing.assert_allclose(person.landmarks, true, atol=1e-3)
    assert scene.searches == before + 1


def test_landmarks_with_a_large_prediction_error_are_detected_again_and_the_nearest_taken(scene):
    correct, calls = scene.tracker._find_landmarks, []

    def wrong_at_times(image, roi, mirrored=False, covered=()):
        """In a region of the usual size the feet are wrong in every other frame."""
        calls.append(roi.side)
        pose = correct(image, roi)
        if scene.frames % 2 == 0 and roi.side > 0.95 * SIDE:
            pose.landmarks[25:] += np.float32(60)
        return pose

    scene.show((300, 200))
    true = correct(None, Roi(300, 200, SIDE)).landmarks
    scene.tracker._find_landmarks = wrong_at_times
    for _ in range(8):
        calls.clear()
        (person,) = scene.show((300, 200))
        np.testing.assert_allclose(person.landmarks, true, atol=1e-3)
        predicted = scene.frames % 2 == 1
        assert len(calls) == (1 if predicted else 4), "retries are for large errors only"


def test_a_retry_uses_the_mirrored_image_too(scene):
    correct = scene.tracker._find_landmarks

    def wrong_unless_mirrored(image, roi, mirrored=False, covered=()):
        pose = correct(image, roi)
        if not mirrored:
            pose.landmarks[25:] += np.float32(60)
        return pose

    scene.show((300, 200))
    true = correct(None, Roi(300, 200, SIDE)).landmarks
    scene.tracker._find_landmarks = wrong_unless_mirrored
    (person,) = scene.show((300, 200))
    np.testing.assert_allclose(person.landmarks, true, atol=1e-3)


def test_a_retry_covers_the_person_who_stands_in_the_same_region(scene):
    correct, covers = scene.tracker._find_landmarks, []

    def mixed_up(image, roi, mirrored=False, covered=()):
        """Some landmarks of the left person are the right person's, unless that one is covered."""
        pose = correct(image, roi)
        covers.extend(covered)
        if roi.x < 250 and not covered:
            pose.landmarks[23:, 0] += np.float32(80)
        return pose

    for _ in range(4):
        scene.show((200, 200), (280, 200))
    left, right = (correct(None, Roi(x, 200, SIDE)).landmarks for x in (200, 280))
    scene.tracker._find_landmarks = mixed_up
    people = scene.show((200, 200), (280, 200))
    for person, true in zip(people, (left, right), strict=True):
        np.testing.assert_allclose(person.landmarks, true, atol=1e-3)
    np.testing.assert_allclose(covers, [right], atol=1e-3)


@pytest.mark.parametrize(("retry_error", "found"), [(0.0, [0]), (60.0, [])])
def test_a_pose_of_low_score_is_detected_again_and_only_a_pose_near_the_prediction_taken(
    scene, retry_error, found
):
    correct, calls = scene.tracker._find_landmarks, []
    scene.show((300, 200))
    scene.tracker._find_boxes = lambda image: Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    )

    def unsure(image, roi, mirrored=False, covered=()):
        """The score is low in a region of the usual size."""
        calls.append(roi.side)
        pose = correct(image, roi)
        if 0.95 * SIDE < roi.side < 1.05 * SIDE:
            return replace(pose, score=0.4)
        pose.landmarks[25:] += np.float32(retry_error)
        return pose

    scene.tracker._find_landmarks = unsure
    assert scene.ids((300, 200)) == found
    assert len(calls) == 4
    calls.clear()
    scene.ids((300, 200))
    assert len(calls) == (4 if found else 1), "no retries for a person who was just lost"


def test_the_largest_person_is_detected_in_the_mirrored_image_too_and_the_mean_is_taken(
    mirrored_scene,
):
    scene = mirrored_scene
    correct, calls = scene.tracker._find_landmarks, []

    def biased(image, roi, mirrored=False):
        """Two pixels to the right in what the network sees; the woman is larger."""
        pose = correct(image, roi)
        calls.append((round(float(pose.roi.x)), mirrored))
        side = 1.5 * SIDE if pose.roi.x > 300 else SIDE
        landmarks = pose.landmarks + np.float32([-2 if mirrored else 2, 0])
        return replace(pose, landmarks=landmarks, roi=replace(pose.roi, side=side))

    scene.tracker._find_landmarks = biased
    for _ in range(15):
        calls.clear()
        people = scene.show((150, 200), (450, 200))
    assert calls == [(150, False), (450, False), (450, True)]
    man, woman = people
    np.testing.assert_allclose(
        man.landmarks, np.add(correct(None, Roi(150, 200, SIDE)).landmarks, [2, 0])
    )
    np.testing.assert_allclose(woman.landmarks, correct(None, Roi(450, 200, SIDE)).landmarks)


def test_a_mirrored_pose_that_differs_much_is_not_averaged(mirrored_scene):
    scene = mirrored_scene
    correct = scene.tracker._find_landmarks

    def exchanged_if_mirrored(image, roi, mirrored=False):
        pose = correct(image, roi)
        if mirrored and scene.frames > 5:
            pose.landmarks[:] = pose.landmarks[MIRROR]
        return pose

    scene.tracker._find_landmarks = exchanged_if_mirrored
    for _ in range(12):
        (person,) = scene.show((300, 200))
    np.testing.assert_allclose(person.landmarks, correct(None, Roi(300, 200, SIDE)).landmarks)


def test_a_first_person_is_answered_at_once_and_a_second_one_after_some_frames(scene):
    assert scene.ids((150, 200)) == [0]
    answers = [scene.ids((150, 200), (450, 200)) for _ in range(15)]
    assert answers[0] == [0]
    assert answers[-1] == [0, 1]


def test_a_person_has_box_landmarks_and_score(scene):
    (person,) = scene.show((300, 200))
    truth = Scene.pose(300, 200, 0.99)
    np.testing.assert_array_equal(person.landmarks, truth.landmarks)
    assert person.score == 0.99
    assert person.visibility.shape == (LANDMARKS,)
    x0, y0, x1, y1 = person.box
    assert x0 < 285 < 315 < x1
    assert y0 < 120 < 280 < y1


def test_boxes_stay_inside_the_image():
    pose = Scene.pose(5, 470, 1.0)
    np.testing.assert_allclose(landmark_box(pose, (480, 640, 3))[[0, 3]], [-0.5, 479.5])


def test_two_people_cross_and_keep_their_identities(scene):
    """Where they meet, only one of them can be seen."""
    for k in range(90):
        left, right = 150 + 4 * k, 510 - 4 * k
        places = [(left, 200)] if abs(left - right) < 30 else [(left, 200), (right, 200)]
        people = scene.show(*places)
        if k == 30:
            first = {p.track_id: p.landmarks[0, 0] for p in people}
    last = {p.track_id: p.landmarks[0, 0] for p in people}
    assert set(first) == set(last) == {0, 1}
    assert (first[0] < first[1]) == (last[0] > last[1])


def test_a_person_lost_for_half_a_second_keeps_the_identity(scene):
    for _ in range(20):
        scene.show((150, 200), (450, 200))
    assert [scene.ids((150, 200)) for _ in range(15)] == [[0]] * 15
    answers = [scene.ids((150, 200), (450, 200)) for _ in range(10)]
    assert answers[-1] == [0, 1]


def test_after_seconds_without_frames_everybody_gets_a_new_identity(scene):
    for k in range(5):
        assert scene.ids((300, 200), stamp=k / 30) == [0]
    assert scene.ids((300, 200), stamp=5.0) == [1]


def test_no_identity_is_reused_after_a_reset_or_a_new_image_size(scene):
    assert scene.ids((300, 200)) == [0]
    scene.tracker.reset()
    assert scene.ids((300, 200)) == [1]
    assert scene.ids((300, 200), size=(240, 640)) == [2]
    assert scene.ids((300, 200), size=(240, 640)) == [2]


def test_a_stamp_that_goes_back_or_repeats_changes_no_identity(scene):
    for k in range(20):
        assert scene.ids((200 + k, 200), stamp=100 + k / 30) == [0]
    assert scene.ids((220, 200), stamp=3.0) == [0]
    assert scene.ids((221, 200), stamp=3.0) == [0]
    assert scene.ids((222, 200), stamp=3.1) == [0]


def test_max_people_limits_answers_and_tracks():
    scene = Scene(PeopleTracker(landmarks="lite", max_people=2))
    crowd = [(80 + 120 * k, 200) for k in range(4)]
    answers = [scene.ids(*crowd) for _ in range(20)]
    assert answers[-1] == [0, 1]
    assert len(scene.tracker._tracker.tracks) == 2


@pytest.mark.parametrize("options", [{"detect_every": 0}, {"max_people": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        PeopleTracker(landmarks="lite", **options)


def test_two_people_in_two_photographs(networks):
    """Frames 80 and 84 of one video, shown a few times each: the same two people in both."""
    networks.reset()
    first, second = list(read_video(PHOTOS))
    at = dict.fromkeys(range(4), first) | dict.fromkeys(range(4, 8), second)
    answers = [
        networks(Frame(frame.image, k / 30, frame.camera)) for k, frame in sorted(at.items())
    ]
    assert [len(people) for people in answers] == [2] * 8
    assert len({p.track_id for people in answers for p in people}) == 2
    man, woman = sorted(answers[-1], key=lambda p: p.box[0])
    assert man.landmarks[0] == pytest.approx([319, 64], abs=10)
    assert woman.landmarks[0] == pytest.approx([580, 281], abs=10)


def test_nobody_is_found_in_blurred_noise(networks):
    networks.reset()
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8), (0, 0), 5
    )
    for k in range(4):
        assert networks(Frame(image, k / 30, Camera.assumed(640, 480))) == []


def test_two_people_of_a_video_keep_their_identities(real_video):
    """A man on a wall in every frame; a woman walks by from the second second on."""
    tracker = PeopleTracker()
    seen = {}
    for k, frame in zip(range(165), read_video(real_video), strict=False):
        for person in tracker(frame):
            seen.setdefault(person.track_id, []).append(k)
    assert len(seen) == 2, {i: (v[0], v[-1], len(v)) for i, v in seen.items()}
    man, woman = seen.values()
    assert len(man) >= 0.97 * 165
    assert woman[0] <= 60
    assert len(woman) >= 0.97 * (165 - woman[0])


def test_landmark_model_and_search_interval_change_without_a_change_of_identities():
    """On one photograph of two people, shown in every frame."""
    image = cv2.cvtColor(cv2.imread(str(PHOTOS / "two_people_80.jpg")), cv2.COLOR_BGR2RGB)
    tracker = PeopleTracker(landmarks="full", detect_every=2)
    camera = Camera.assumed(image.shape[1], image.shape[0])

    def show(frames):
        return [tracker(Frame(image, i / 30, camera)) for i in frames][-1]

    before = show(range(6))
    tracker.use("lite", detect_every=7)
    after = show(range(6, 9))
    assert len(before) == 2
    assert [p.track_id for p in after] == [p.track_id for p in before]
    assert tracker.detect_every == 7
    moved = np.abs(after[0].landmarks - before[0].landmarks).max()
    assert 0.1 < moved < 0.2 * np.ptp(before[0].landmarks[:, 1]), (
        "another network, but the same person"
    )
    tracker.use("full", detect_every=2)
    back = show(range(9, 12))
    assert np.abs(back[0].landmarks - before[0].landmarks).max() < 0.5 * moved


def test_a_landmark_model_that_was_loaded_is_not_loaded_again_when_it_is_used(monkeypatch):
    """So that a change of quality in the middle of a stream needs no file."""
    tracker = PeopleTracker(landmarks="lite")
    other_camera = tracker.clone()
    tracker.load("full")
    monkeypatch.setattr("stdformer_ros.perception.people.LandmarkDetector", None)
    tracker.use("full", detect_every=7)
    other_camera.use("full", detect_every=7)
