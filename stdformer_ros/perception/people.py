"""Frame in, people out: detector now and then, landmarks for each person in every frame."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from math import hypot

import numpy as np

from stdformer_ros.perception.appearance import clothing
from stdformer_ros.perception.boxes import iou
from stdformer_ros.perception.detector import PersonDetector
from stdformer_ros.perception.expectation import Expectation
from stdformer_ros.perception.landmarks import (
    LandmarkDetector,
    LandmarkModel,
    Pose,
    Roi,
    mean_pose,
)
from stdformer_ros.perception.sides import SideKeeper
from stdformer_ros.perception.steady import LandmarkSteadier
from stdformer_ros.perception.tracking import Sighting, Track, Tracker, mean_gap, same_person
from stdformer_ros.types import FloatArray, Frame, ImageArray, Person

FOUND_SCORE = 0.6
"""A pose of somebody new must be so sure."""
KEPT_SCORE = 0.5
"""A pose of somebody who is followed already may be less sure, as in motion blur."""
SURE_DETECTION = 0.6
"""So sure a box is believed at once where nobody else is around; others need further frames."""
EXPLAINED_IOU = 0.3
"""A box that overlaps this much with a person who is followed is that person."""
SEARCH_EVERY = 3
"""Frames from one search of the whole image to the next while somebody is lost."""
SAME_READING = 0.03
"""The mirrored look must agree with the first one to so many sides of the region on average."""
SURPRISE = 0.05
"""Joints on average so far from where they were expected, in parts of the person's size, are
looked at again."""
SECOND_LOOKS = (0.9, 1.1)
"""Sizes of the regions for that, in parts of the first one's."""
REFINEMENTS = 2
"""On a region from a box the pose's score says little: it is judged on regions from landmarks."""
BOX_MARGIN = 0.08
"""Landmarks end at the eyes, wrists and toes; boxes are so much wider, in parts of their height."""


class PeopleTracker:
    """Finds the people of a stream and tells them apart.

    Args:
        landmarks: "lite" or "full" BlazePose. Who is largest in the image is seen in the mirror
            too with "full"; "lite" is for when there is no time for that.
        detect_every: frames from one search of the whole image to the next. It is searched more
            often while somebody is lost, and in every frame while nobody is in sight.
        max_people: so many are answered at most; of more, those seen first.

    Raises:
        AssetError: if a network's file is missing or damaged.
        ValueError: if an argument is out of range.
    """

    def __init__(
        self, landmarks: LandmarkModel = "full", detect_every: int = 10, max_people: int = 8
    ) -> None:
        if detect_every < 1 or max_people < 1:
            raise ValueError(
                f"detect_every and max_people must be at least 1, not {detect_every}, {max_people}"
            )
        self.detect_every = detect_every
        self.max_people = max_people
        self._find_boxes = PersonDetector()
        self._landmark_detectors = {landmarks: LandmarkDetector(landmarks)}
        self._find_landmarks = self._landmark_detectors[landmarks]
        self._mirrors = landmarks == "full"
        self._begin()

    def sibling(self) -> PeopleTracker:
        """A tracker for another camera: identities of its own, the same networks.

        Siblings must be called from one thread.
        """
        other = copy(self)
        other._begin()
        return other

    def use(self, landmarks: LandmarkModel, detect_every: int) -> None:
        """Change these two while the stream runs; everybody stays who they are."""
        if landmarks not in self._landmark_detectors:
            self._landmark_detectors[landmarks] = LandmarkDetector(landmarks)
        self._find_landmarks = self._landmark_detectors[landmarks]
        self._mirrors = landmarks == "full"
        self.detect_every = detect_every

    def _begin(self) -> None:
        self._tracker = Tracker()
        self._keep_sides = SideKeeper()
        self._expectation = Expectation()
        self._steady = LandmarkSteadier()
        self._last: dict[Track, FloatArray] = {}
        # Whom no other look has solved: in the next frame there is no time for more of them.
        self._riddles: set[Track] = set()
        self._size: tuple[int, ...] = ()
        self._stamp = -np.inf
        self._frames_since_detection = 0

    def __call__(self, frame: Frame) -> list[Person]:
        """The people of the next frame of the stream, in the order of their identities.

        Somebody who is lost is left out while lost, and comes back under the same identity within
        a second. An image of another size starts anew; a stamp that goes back does not.
        """
        image, stamp = frame.image, frame.stamp
        if image.shape != self._size:
            self.reset()
            self._size = image.shape
        elif stamp < self._stamp:
            self._tracker.shift_time(stamp - self._stamp)
        self._stamp = stamp

        sightings = self._follow(image, stamp)
        self._frames_since_detection += 1
        if self._frames_since_detection >= self._detection_interval(len(sightings)):
            self._frames_since_detection = 0
            sightings += self._search(image, sightings)
        tracks = self._tracker.update(sightings, stamp)
        self._last = {t: s.pose.landmarks for t, s in zip(tracks, sightings, strict=True)}
        self._riddles &= self._last.keys()
        people = [
            self._in_time(person(track.track_id, sighting.pose, image.shape), stamp)
            for track, sighting in zip(tracks, sightings, strict=True)
            if track.track_id is not None
        ]
        return sorted(people, key=lambda p: p.track_id)[: self.max_people]

    def reset(self) -> None:
        """Forget everybody; identities go on counting."""
        self._tracker.forget()
        self._keep_sides.forget()
        self._expectation.forget()
        self._steady.forget()
        self._last.clear()
        self._riddles.clear()
        self._stamp = -np.inf

    def _in_time(self, person: Person, stamp: float) -> Person:
        """A person as the frames before let see them: with their sides, and without tremor."""
        person = self._keep_sides(person, stamp)
        self._expectation.take(person, stamp)
        return self._steady(person, stamp)

    def _follow(self, image: ImageArray, stamp: float) -> list[Sighting]:
        """The people in the regions where they are expected, each one once."""
        people: list[tuple[Pose, list[Track]]] = []
        expected, foremost = self._tracker.expected(stamp), self._foremost()
        for track in expected:
            pose = self._look(image, track, stamp, twice=track is foremost)
            if pose.score < KEPT_SCORE:
                continue
            for i, (other, tracks) in enumerate(people):
                if same_person(pose, other):
                    best = max(pose, other, key=lambda p: p.score)
                    people[i] = best, [*tracks, track]
                    break
            else:
                people.append((pose, [track]))
        return [Sighting(p, clothing(image, p.landmarks), tuple(tracks)) for p, tracks in people]

    def _foremost(self) -> Track | None:
        """Who is largest in the image of those who are believed, if there is time for more."""
        if not self._mirrors:
            return None
        believed = [track for track in self._tracker.tracks if track.track_id is not None]
        return max(believed, key=lambda track: track.roi.side, default=None)

    def _look(self, image: ImageArray, track: Track, stamp: float, twice: bool) -> Pose:
        """Somebody who is followed.

        Args:
            image: (H, W, 3).
            track: of the person.
            stamp: of the frame.
            twice: whether to look into the mirror too. BlazePose's errors there are others, so that
                the mean of both is better than either.
        """
        roi = track.predicted(stamp)
        pose = self._find_landmarks(image, roi)

        def surprise(pose: Pose) -> float:
            return self._expectation.surprise(track.track_id, pose.landmarks, stamp)

        if twice and pose.score >= KEPT_SCORE:
            reflection = self._find_landmarks(image, roi, mirrored=True)
            if reflection.score >= KEPT_SCORE:
                same = mean_gap(pose, reflection) < SAME_READING * roi.side
                pose = mean_pose(pose, reflection) if same else min(pose, reflection, key=surprise)
        if pose.score < KEPT_SCORE:
            again = track.track_id is not None and track in self._last  # the others have left
        else:
            again = surprise(pose) >= SURPRISE
        if not again or track in self._riddles:
            self._riddles.discard(track)
            return pose
        best = min(self._other_looks(image, track, roi, twice), key=surprise, default=pose)
        if surprise(best) >= SURPRISE:
            self._riddles.add(track)
        if pose.score < KEPT_SCORE:
            return best if surprise(best) < SURPRISE else pose  # not somebody else
        return min(pose, best, key=surprise)

    def _other_looks(self, image: ImageArray, track: Track, roi: Roi, mirrored: bool) -> list[Pose]:
        """What else somebody's region may show.

        In motion blur, against the light, without a face or behind somebody BlazePose is torn
        between readings (front and back, one leg and the other, one person and the other).

        Args:
            image: (H, W, 3).
            track: of the person.
            roi: where they are.
            mirrored: whether the mirror has been looked into.
        """
        looks = [
            self._find_landmarks(image, replace(roi, side=roi.side * size)) for size in SECOND_LOOKS
        ]
        if not mirrored:
            looks.append(self._find_landmarks(image, roi, mirrored=True))
        beside = self._beside(track, roi)
        if beside:
            looks.append(self._find_landmarks(image, roi, covered=beside))
        return [pose for pose in looks if pose.score >= KEPT_SCORE]

    def _beside(self, track: Track, roi: Roi) -> list[FloatArray]:
        """The landmarks (33, 2) in the last frame of those who stand in somebody's region."""
        return [
            landmarks
            for other, landmarks in self._last.items()
            if other is not track and hypot(other.roi.x - roi.x, other.roi.y - roi.y) < roi.side / 2
        ]

    def _detection_interval(self, seen: int) -> int:
        """Frames from the last search of the whole image to the next."""
        if seen == 0:
            return 1
        lost = seen < len(self._tracker.tracks)
        return min(SEARCH_EVERY, self.detect_every) if lost else self.detect_every

    def _search(self, image: ImageArray, known: list[Sighting]) -> list[Sighting]:
        """People whom the detector finds in the whole image and who are not known yet."""
        detections = self._find_boxes(image)
        boxes = [landmark_box(s.pose, image.shape) for s in known]
        overlap = iou(detections.boxes, np.array(boxes, np.float32).reshape(-1, 4))
        found: list[Sighting] = []
        for i in np.flatnonzero(overlap.max(axis=1, initial=0.0) < EXPLAINED_IOU):
            if len(known) + len(found) >= self.max_people:
                break
            roi = Roi.around_box(detections.boxes[i])
            for _ in range(1 + REFINEMENTS):
                pose = self._find_landmarks(image, roi)
                roi = pose.roi
            if pose.score < FOUND_SCORE:
                continue
            if not any(same_person(pose, other.pose) for other in [*known, *found]):
                sure = bool(detections.scores[i] >= SURE_DETECTION) and not self._tracker.tracks
                found.append(Sighting(pose, clothing(image, pose.landmarks), sure=sure))
        return found


def person(track_id: int, pose: Pose, size: tuple[int, ...]) -> Person:
    """What is known of one person of an image of this shape."""
    box = landmark_box(pose, size)
    return Person(
        track_id, pose.score, box, pose.landmarks, pose.visibility, world_landmarks=pose.world
    )


def landmark_box(pose: Pose, size: tuple[int, ...]) -> FloatArray:
    """The box (4,) around all landmarks with a margin, hidden ones too, clipped to the image.

    Landmarks rather than the detector give it: they are there in every frame, and they complete a
    person whom something hides.
    """
    low, high = pose.landmarks.min(axis=0), pose.landmarks.max(axis=0)
    margin = BOX_MARGIN * float((high - low).max())
    box = np.concatenate([low - margin, high + margin])
    limits = np.array([size[1], size[0]] * 2, np.float32) - 0.5
    return np.clip(box, -0.5, limits).astype(np.float32)
