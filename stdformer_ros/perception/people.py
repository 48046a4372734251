"""Frame in, people out: detector now and then, landmarks for each person in every frame."""

from __future__ import annotations

import numpy as np

from stdformer_ros.perception.boxes import iou
from stdformer_ros.perception.detector import Detections, PersonDetector
from stdformer_ros.perception.landmarks import LandmarkDetector, LandmarkModel, Pose, Roi
from stdformer_ros.perception.tracking import Sighting, Tracker, same_person
from stdformer_ros.types import FloatArray, Frame, ImageArray, Person

FOUND_SCORE = 0.6
"""A pose of somebody new must be so sure."""
KEPT_SCORE = 0.3
"""A pose of somebody who is followed already may be less sure, as in motion blur."""
SURE_DETECTION = 0.6
"""So sure a box needs no further frames to be believed."""
EXPLAINED_IOU = 0.3
"""A box that overlaps this much with a person who is followed is that person."""
REFINEMENTS = 2
"""On a region from a box the pose's score says little: it is judged on regions from landmarks."""
BOX_MARGIN = 0.08
"""Landmarks end at the eyes, wrists and toes; boxes are so much wider, in parts of their height."""


class PeopleTracker:
    """Finds the people of a stream and tells them apart.

    Args:
        landmarks: "lite" or "full" BlazePose.
        detect_every: frames from one search of the whole image to the next. The whole image is
            also searched when a person is lost and while nobody is in sight.
        max_people: so many are followed at most; of more, those seen first.

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
        self._find_landmarks = LandmarkDetector(landmarks)
        self._tracker = Tracker()
        self._size: tuple[int, ...] = ()
        self._stamp = -np.inf
        self._frames_since_detection = 0
        self._followed = 0

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

        poses = self._follow(image, stamp)
        sightings = merge(poses)
        if self._detection_due(len(sightings)):
            detections = self._find_boxes(image)
            sightings = merge(poses, self._search(image, detections, [s.pose for s in sightings]))
            self._frames_since_detection = 0
        self._frames_since_detection += 1
        self._followed = len(sightings)
        tracks = self._tracker.update(sightings, stamp)
        people = [
            person(track.track_id, sighting.pose, image.shape)
            for track, sighting in zip(tracks, sightings, strict=True)
            if track.track_id is not None
        ]
        return sorted(people, key=lambda p: p.track_id)

    def reset(self) -> None:
        """Forget everybody; identities go on counting."""
        self._tracker.forget()
        self._stamp = -np.inf
        self._followed = 0

    def _follow(self, image: ImageArray, stamp: float) -> list[Pose]:
        """The poses in the regions where people are expected."""
        poses = [self._find_landmarks(image, t.predicted(stamp)) for t in self._tracker.tracks]
        return [pose for pose in poses if pose.score >= KEPT_SCORE]

    def _detection_due(self, seen: int) -> bool:
        lost_or_alone = seen < self._followed or seen == 0
        return lost_or_alone or self._frames_since_detection >= self.detect_every

    def _search(
        self, image: ImageArray, detections: Detections, known: list[Pose]
    ) -> list[Sighting]:
        """People in boxes that no known pose explains."""
        boxes = np.array([landmark_box(p, image.shape) for p in known], np.float32).reshape(-1, 4)
        explained = (iou(detections.boxes, boxes) > EXPLAINED_IOU).any(axis=1)
        found: list[Sighting] = []
        for i in np.flatnonzero(~explained):
            if len(known) + len(found) >= self.max_people:
                break
            roi = Roi.around_box(detections.boxes[i])
            for _ in range(1 + REFINEMENTS):
                pose = self._find_landmarks(image, roi)
                roi = pose.roi
            if pose.score >= FOUND_SCORE:
                found.append(Sighting(pose, sure=bool(detections.scores[i] >= SURE_DETECTION)))
        return found


def merge(followed: list[Pose], found: list[Sighting] | None = None) -> list[Sighting]:
    """One sighting per person from poses of which several may show the same person.

    Args:
        followed: poses in the regions of tracks. Two of the same person make a shared sighting.
        found: sightings in boxes; one of a person who is followed already is left out.
    """
    groups: list[list[Pose]] = []
    for pose in followed:
        for group in groups:
            if same_person(group[0], pose):
                group.append(pose)
                break
        else:
            groups.append([pose])
    merged = [Sighting(max(g, key=lambda p: p.score), shared=len(g) > 1) for g in groups]
    for sighting in found or []:
        if not any(same_person(sighting.pose, other.pose) for other in merged):
            merged.append(sighting)
    return merged


def person(track_id: int, pose: Pose, size: tuple[int, ...]) -> Person:
    """What is known of one person of an image of this shape."""
    box = landmark_box(pose, size)
    return Person(track_id, pose.score, box, pose.landmarks, pose.visibility)


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
