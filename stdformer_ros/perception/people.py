"""Finds people in frames: the detector every few frames, each person's landmarks in every frame."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from math import hypot

import numpy as np

from stdformer_ros.perception.detector import PersonDetector, iou
from stdformer_ros.perception.landmarks import (
    LandmarkDetector,
    LandmarkModel,
    Pose,
    Roi,
    mean_pose,
)
from stdformer_ros.perception.tracking import (
    Sighting,
    Track,
    Tracker,
    clothing_colours,
    pose_distance,
    same_person,
)
from stdformer_ros.types import FloatArray, Frame, ImageArray, Person

MIN_NEW_SCORE = 0.6
"""The pose of a new person must score at least this."""
MIN_SCORE = 0.5
"""The pose of a tracked person may score less, since motion blur lowers the score."""
SURE_DETECTION = 0.6
"""If nobody is tracked, a box of this score is confirmed at once; others need further frames."""
EXPLAINED_IOU = 0.3
"""A box that overlaps this much with a tracked person is that person."""
SEARCH_EVERY = 3
"""Frames from one search of the whole image to the next while a person is lost."""
MAX_MIRROR_DISTANCE = 0.03
"""The mirrored pose is averaged with the first if their joints differ by less than this on average,
in units of the region's side."""
MAX_PREDICTION_ERROR = 0.05
"""Fraction of the person's size; if the joints are farther from their prediction on average, the
person's landmarks are detected again with changed inputs (retries)."""
RETRY_SIZES = (0.9, 1.1)
"""Sizes of the regions for retries, relative to the first region's size."""
REFINEMENTS = 2
"""In the region of a detector's box the pose's score is unreliable. It is used only after this many
further runs, each in the region of the previous landmarks."""
BOX_MARGIN = 0.08
"""Landmarks end at the eyes, wrists and toes; boxes are wider by this part of their longer side."""


class PeopleTracker:
    """Finds the people of a stream of frames and keeps their identities.

    Args:
        landmarks: "lite" or "full" BlazePose. With "full", the person who is largest in the image
            is detected in the mirrored image too; "lite" is for when there is no time for that.
        detect_every: frames from one search of the whole image to the next. It is searched more
            often while a person is lost, and in every frame while nobody is seen.
        max_people: the largest number of people in a result; those seen first are kept.

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
        self._use_mirror = landmarks == "full"
        self._init_state()

    def clone(self) -> PeopleTracker:
        """A tracker for another camera: its own identities, the same networks.

        All clones must be called from one thread.
        """
        other = copy(self)
        other._init_state()
        return other

    def load(self, landmarks: LandmarkModel) -> None:
        """Load a landmark model that `use` may need later; clones share it.

        Raises:
            AssetError: if the network's file is missing or damaged.
        """
        if landmarks not in self._landmark_detectors:
            self._landmark_detectors[landmarks] = LandmarkDetector(landmarks)

    def use(self, landmarks: LandmarkModel, detect_every: int) -> None:
        """Change both settings while the stream runs; all identities stay."""
        self.load(landmarks)
        self._find_landmarks = self._landmark_detectors[landmarks]
        self._use_mirror = landmarks == "full"
        self.detect_every = detect_every

    def _init_state(self) -> None:
        self._tracker = Tracker()
        # Unfiltered landmarks (33, 2) of the tracks that were seen in the last frame.
        self._last_landmarks: dict[Track, FloatArray] = {}
        # Tracks whose retries in the last frame did not help; the next frame has no retries for
        # them, which would take too long in every frame.
        self._failed_retries: set[Track] = set()
        self._image_shape: tuple[int, ...] = ()
        self._stamp = -np.inf
        self._frames_since_detection = 0

    def __call__(self, frame: Frame) -> list[Person]:
        """The people of the next frame of the stream, in the order of their identities.

        A lost person is left out, and has the same identity if seen again within a second. An image
        of another size restarts the tracker; a stamp that goes back does not. In a frame that is
        `discontinuous` the landmarks' filters start anew and the whole image is searched, because
        everybody may be seen elsewhere (after a zoom, for example).
        """
        image, stamp = frame.image, frame.stamp
        if image.shape != self._image_shape:
            self.reset()
            self._image_shape = image.shape
        elif stamp < self._stamp:
            self._tracker.shift_time(stamp - self._stamp)
        self._stamp = stamp
        if frame.discontinuous:
            self._tracker.restart_motion()
            self._frames_since_detection = self.detect_every

        sightings = self._follow(image, stamp)
        self._frames_since_detection += 1
        if self._frames_since_detection >= self._detection_interval(len(sightings)):
            self._frames_since_detection = 0
            sightings += self._search(image, sightings)
        tracks = self._tracker.update(sightings, stamp)
        self._last_landmarks = {
            track: sighting.pose.landmarks
            for track, sighting in zip(tracks, sightings, strict=True)
        }
        self._failed_retries &= self._last_landmarks.keys()
        people = [
            track.filters(person_of(track.track_id, sighting.pose, image.shape), stamp)
            for track, sighting in zip(tracks, sightings, strict=True)
            if track.track_id is not None
        ]
        return sorted(people, key=lambda p: p.track_id)[: self.max_people]

    def reset(self) -> None:
        """Forget everybody; new people get new identities."""
        self._tracker.forget()
        self._last_landmarks.clear()
        self._failed_retries.clear()
        self._stamp = -np.inf

    def _follow(self, image: ImageArray, stamp: float) -> list[Sighting]:
        """The people in the regions where tracks expect them, each person once."""
        people: list[tuple[Pose, list[Track]]] = []
        expected, largest = self._tracker.expected(stamp), self._largest_track()
        for track in expected:
            pose = self._track_pose(image, track, stamp, mirror=track is largest)
            if pose.score < MIN_SCORE:
                continue
            for i, (other, tracks) in enumerate(people):
                if same_person(pose, other):
                    best = max(pose, other, key=lambda p: p.score)
                    people[i] = best, [*tracks, track]
                    break
            else:
                people.append((pose, [track]))
        return [
            Sighting(pose, clothing_colours(image, pose.landmarks), tuple(tracks))
            for pose, tracks in people
        ]

    def _largest_track(self) -> Track | None:
        """The confirmed track of the largest person, if the mirrored image is used."""
        if not self._use_mirror:
            return None
        confirmed = [track for track in self._tracker.tracks if track.track_id is not None]
        return max(confirmed, key=lambda track: track.roi.side, default=None)

    def _track_pose(self, image: ImageArray, track: Track, stamp: float, mirror: bool) -> Pose:
        """The pose of a tracked person.

        If the pose is far from its prediction or its score is too low, the landmarks are detected
        again with changed inputs (`_retries`), and the pose nearest to the prediction is taken.

        Args:
            image: (H, W, 3).
            track: the person's track.
            stamp: the frame's stamp, seconds.
            mirror: whether to detect in the mirrored image too. BlazePose's errors differ there, so
                that the mean of both poses is better than either.
        """
        roi = track.predicted(stamp)
        pose = self._find_landmarks(image, roi)

        def prediction_error(pose: Pose) -> float:
            return track.filters.prediction_error(pose.landmarks, stamp)

        if mirror and pose.score >= MIN_SCORE:
            mirrored = self._find_landmarks(image, roi, mirrored=True)
            if mirrored.score >= MIN_SCORE:
                if pose_distance(pose, mirrored) < MAX_MIRROR_DISTANCE * roi.side:
                    pose = mean_pose(pose, mirrored)
                else:
                    pose = min(pose, mirrored, key=prediction_error)
        if pose.score < MIN_SCORE:
            # a person who was not seen in the last frame has probably left the image
            retry = track.track_id is not None and track in self._last_landmarks
        else:
            retry = prediction_error(pose) >= MAX_PREDICTION_ERROR
        if not retry or track in self._failed_retries:
            self._failed_retries.discard(track)
            return pose
        best = min(self._retries(image, track, roi, mirror), key=prediction_error, default=pose)
        if prediction_error(best) >= MAX_PREDICTION_ERROR:
            self._failed_retries.add(track)
        if pose.score < MIN_SCORE:
            # a pose far from the prediction may be of another person
            return best if prediction_error(best) < MAX_PREDICTION_ERROR else pose
        return min(pose, best, key=prediction_error)

    def _retries(self, image: ImageArray, track: Track, roi: Roi, mirrored: bool) -> list[Pose]:
        """Other poses that BlazePose finds for one person.

        In motion blur, against the light, without a visible face or behind another person,
        BlazePose switches between interpretations of the image (front and back, one leg and the
        other, one person and the other); a small change of its input may give the right one.

        Args:
            image: (H, W, 3).
            track: the person's track.
            roi: the person's region.
            mirrored: whether the mirrored image was used already.
        """
        poses = [
            self._find_landmarks(image, replace(roi, side=roi.side * size)) for size in RETRY_SIZES
        ]
        if not mirrored:
            poses.append(self._find_landmarks(image, roi, mirrored=True))
        neighbours = self._neighbours(track, roi)
        if neighbours:
            poses.append(self._find_landmarks(image, roi, covered=neighbours))
        return [pose for pose in poses if pose.score >= MIN_SCORE]

    def _neighbours(self, track: Track, roi: Roi) -> list[FloatArray]:
        """The last frame's landmarks (33, 2) of the other people in this region."""
        return [
            landmarks
            for other, landmarks in self._last_landmarks.items()
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
            if pose.score < MIN_NEW_SCORE:
                continue
            if not any(same_person(pose, other.pose) for other in [*known, *found]):
                sure = bool(detections.scores[i] >= SURE_DETECTION) and not self._tracker.tracks
                colours = clothing_colours(image, pose.landmarks)
                found.append(Sighting(pose, colours, sure=sure))
        return found


def person_of(track_id: int, pose: Pose, shape: tuple[int, ...]) -> Person:
    """The person with this identity and pose in an image of this shape."""
    box = landmark_box(pose, shape)
    return Person(
        track_id, pose.score, box, pose.landmarks, pose.visibility, world_landmarks=pose.world
    )


def landmark_box(pose: Pose, shape: tuple[int, ...]) -> FloatArray:
    """The box (4,) around all landmarks, also hidden ones, with a margin; clipped to the image.

    It is x0, y0, x1, y1 in pixels. It is not the detector's box, because only the landmarks are
    there in every frame and include the hidden parts of a person.
    """
    low, high = pose.landmarks.min(axis=0), pose.landmarks.max(axis=0)
    margin = BOX_MARGIN * float((high - low).max())
    box = np.concatenate([low - margin, high + margin])
    limits = np.array([shape[1], shape[0]] * 2, np.float32) - 0.5
    return np.clip(box, -0.5, limits).astype(np.float32)
