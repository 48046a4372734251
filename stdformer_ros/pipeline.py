"""Frames to answers: perception, one window per person, the estimator. Independent of ROS.

A frame takes these steps: `Pipeline.see` finds its people; `answer` encodes them, appends the
features to the people's windows, decodes the windows of the frame to answer for (with a delay an
earlier one), and makes a `Human` of each body.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import torch

from stdformer_ros.camera.depth import torso_depth
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import PipelineSettings
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.postprocess.reprojection import ReprojectionCorrection
from stdformer_ros.postprocess.smoothing import (
    VELOCITY_SECONDS,
    BodyPostprocessor,
    BodySmoother,
    Corrector,
    OneEuro,
    Smoother,
    one_euro_filter,
)
from stdformer_ros.quality import Quality
from stdformer_ros.types import Answer, Body, Frame, Human, Person

if TYPE_CHECKING:
    from stdformer_ros.perception.landmarks import LandmarkModel

Perception = Callable[[Frame], list[Person]]


@runtime_checkable
class AdjustablePerception(Protocol):
    """Perception whose quality can change while the stream runs, as `PeopleTracker`'s can."""

    def load(self, landmarks: LandmarkModel) -> None:
        """Load a landmark model that `use` may need later."""

    def use(self, landmarks: LandmarkModel, detect_every: int) -> None:
        """Change the landmark model and the frames between two searches for new people."""


@runtime_checkable
class Forgetful(Protocol):
    """A perception that remembers people, and can forget them."""

    def reset(self) -> None:
        """Forget everybody; identities go on counting."""


MAX_GAP_SECONDS = 0.5
"""A person unseen for longer starts with a new window: the pose has changed in the meantime."""


@dataclass
class _Track:
    """The state of one person between frames.

    Attributes:
        window: the features of the person's newest frames.
        stamp: the stamp of the newest frame, seconds.
        postprocess: the steps after the estimator, with their state.
        count: the number of frames in which the person was seen so far.
    """

    window: deque[Features]
    stamp: float
    postprocess: BodyPostprocessor
    count: int = 0


@dataclass(frozen=True)
class Seen:
    """A frame and its people, before their bodies are estimated."""

    frame: Frame
    people: list[Person]


@dataclass(frozen=True)
class _Request:
    """A body to estimate: of one person, in the frame with index `number` of `track`."""

    person: Person
    camera: Camera
    track: _Track
    number: int
    stamp: float


@dataclass(frozen=True)
class _Pending:
    """A frame that is not answered yet, and its people."""

    frame: Frame
    requests: list[_Request]


class Pipeline:
    """Follows everybody in a stream of frames.

    Args:
        perception: finds and identifies the people of a frame; called once a frame, in order.
        estimator: see `Estimator`. A call answers for the frame `delay_frames` calls before. If
            the answer needs later frames in which the person was not seen, the newest frame with
            the person is repeated instead.
        make_smoother: called when a person's window begins; None for no smoothing.
        make_corrector: called at the same time; the corrector runs before the smoother.
        rotate: degrees (0, 90, 180, 270) by which each frame is turned clockwise first, because its
            camera is not mounted upright; answers have the turned frame and its coordinates.

    Attributes:
        velocity_seconds: time constant of the low-pass over joint velocities.
        one_euro: the filter over the answers, None for none; see `use_filter`.
    """

    def __init__(
        self,
        perception: Perception,
        estimator: Estimator,
        make_smoother: Callable[[], Smoother] | None = None,
        make_corrector: Callable[[], Corrector] | None = None,
        rotate: int = 0,
    ) -> None:
        self.perception = perception
        self.estimator = estimator
        self.make_smoother = make_smoother
        self.make_corrector = make_corrector
        self.rotate = rotate
        self.velocity_seconds = VELOCITY_SECONDS
        self.one_euro: OneEuro | None = None
        self._tracks: dict[int, _Track] = {}
        self._pending: deque[_Pending] = deque()
        self._newest_stamp = -np.inf

    def __call__(self, frame: Frame) -> Answer | None:
        """Take the next frame of a stream and answer for one; `follow` does so for a whole stream.

        A frame that is `discontinuous`, or older than the one before it (a bag that loops, a clock
        that jumps), restarts every window; identities are kept.

        Returns:
            All people of the answered frame: this one, or the one `delay_frames` calls before. None
            for the first `delay_frames` calls, which answer for no frame yet.
        """
        (answered,) = answer([(self, self.see(frame))])
        return answered

    def follow(self, frames: Iterable[Frame]) -> Iterator[Answer]:
        """An answer for every frame of a recording, in the order of the frames.

        The frames that a delay holds back are answered at the end, and before each frame that
        restarts the windows.
        """
        for frame in frames:
            if self.restarts(frame):
                yield from self.finish()
            answered = self(frame)
            if answered is not None:
                yield answered
        yield from self.finish()

    def finish(self) -> Iterator[Answer]:
        """Answers for the frames that a delay has held back; call it when the stream has ended."""
        while self._pending:
            with torch.inference_mode():
                (answered,) = _answers(self.estimator, [self._pending.popleft()])
            yield answered

    def restarts(self, frame: Frame) -> bool:
        """Whether a frame does not continue the stream, so that every window restarts."""
        return frame.discontinuous or frame.stamp < self._newest_stamp

    def see(self, frame: Frame) -> Seen:
        """The first half of a call: find the people of the frame.

        Windows of people who were not seen for `MAX_GAP_SECONDS` are dropped.
        """
        if self.restarts(frame):
            self.reset()
        self._newest_stamp = frame.stamp
        frame = frame.turned(self.rotate)
        people = [_with_depth(person, frame) for person in self.perception(frame)]
        self._tracks = {
            i: t for i, t in self._tracks.items() if frame.stamp - t.stamp <= MAX_GAP_SECONDS
        }
        return Seen(frame, people)

    def prepare_quality(self, quality: Quality) -> None:
        """Load the networks that `use_quality` needs for this quality, but do not use them yet."""
        if isinstance(self.perception, AdjustablePerception):
            self.perception.load(quality.landmarks)

    def use_quality(self, quality: Quality) -> None:
        """Use another quality from the next frame on; windows and identities stay.

        Perception or an estimator without such a setting stays as it is.
        """
        if isinstance(self.perception, AdjustablePerception):
            self.perception.use(quality.landmarks, quality.detect_every)
        if quality.mesh_level in self.estimator.mesh_levels:
            self.estimator.use_mesh_level(quality.mesh_level)

    def use_filter(self, one_euro: OneEuro | None) -> None:
        """Change the filter over all people, None for no filter; new settings keep its state."""
        self.one_euro = one_euro
        for track in self._tracks.values():
            track.postprocess.use_filter(one_euro)

    def reset(self) -> None:
        """Forget all windows and the frames not answered yet, but not perception's identities."""
        self._tracks.clear()
        self._pending.clear()
        self._newest_stamp = -np.inf

    def forget(self) -> None:
        """Forget everybody; identities go on counting."""
        self.reset()
        if isinstance(self.perception, Forgetful):
            self.perception.reset()

    def warm_up(self) -> None:
        """Run everything once on a made-up person, because the first call takes much longer.

        This leaves no state behind.
        """
        height, width = 480, 640
        frame = Frame(
            np.zeros((height, width, 3), np.uint8), -np.inf, Camera.assumed(width, height)
        )
        self.perception(frame)
        fractions = np.linspace(0.3, 0.7, 33, dtype=np.float32)[:, None]
        landmarks = fractions * np.array([width, height], np.float32)
        box = np.array([0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height], np.float32)
        person = Person(0, 1.0, box, landmarks, np.ones(33, np.float32))
        with torch.inference_mode():
            features = self.estimator.encode(frame, [person])
            self.estimator.decode(
                {k: torch.stack([v] * self.estimator.window, dim=1) for k, v in features.items()}
            )

    def remember(self, seen: Seen, rows: Sequence[Features]) -> None:
        """Append each person's features of a frame (one row a person) to the person's window."""
        stamp = seen.frame.stamp
        requests = []
        for person, row in zip(seen.people, rows, strict=True):
            track = self._tracks.get(person.track_id)
            if track is None:
                corrector = self.make_corrector() if self.make_corrector else None
                smoother = self.make_smoother() if self.make_smoother else None
                postprocess = BodyPostprocessor(self.estimator.joint_names, corrector, smoother)
                if self.one_euro is not None:
                    postprocess.use_filter(self.one_euro)
                track = _Track(deque(maxlen=self.estimator.window), stamp, postprocess)
                self._tracks[person.track_id] = track
            track.window.append(row)
            track.stamp = stamp
            track.postprocess.velocity_seconds = self.velocity_seconds
            requests.append(_Request(person, seen.frame.camera, track, track.count, stamp))
            track.count += 1
        self._pending.append(_Pending(seen.frame, requests))

    def due(self) -> _Pending | None:
        """The frame to answer for now; None as long as the delay holds back all frames."""
        if len(self._pending) <= self.estimator.delay_frames:
            return None
        return self._pending.popleft()


def answer(seen: Sequence[tuple[Pipeline, Seen]]) -> list[Answer | None]:
    """The second half of a call, for one frame of each of several cameras.

    Encoding and decoding run once over everybody of all cameras.

    Args:
        seen: pipelines that share one estimator, each with the result of its `see`.

    Returns:
        One answer per pipeline, or None, see `Pipeline.__call__`.
    """
    if not seen:
        return []
    estimator = seen[0][0].estimator
    with torch.inference_mode():
        rows = iter(_encoded(estimator, [s for _, s in seen]))
        for pipeline, frame in seen:
            pipeline.remember(frame, [next(rows) for _ in frame.people])
        due = [pipeline.due() for pipeline, _ in seen]
        answers = iter(_answers(estimator, [pending for pending in due if pending is not None]))
        return [None if pending is None else next(answers) for pending in due]


def _encoded(estimator: Estimator, seen: Sequence[Seen]) -> list[Features]:
    """The features of all frames' people, one row a person."""
    occupied = [(s.frame, s.people) for s in seen if s.people]
    if not occupied:
        return []
    features = estimator.encode_frames(occupied)
    people = range(sum(len(people) for _, people in occupied))
    return [{name: tensor[row] for name, tensor in features.items()} for row in people]


def _answers(estimator: Estimator, due: Sequence[_Pending]) -> list[Answer]:
    """The answers for these frames; all their people are decoded in one batch."""
    everybody = [request for pending in due for request in pending.requests]
    if not everybody:
        return [Answer(pending.frame, []) for pending in due]
    windows = [_window(request, estimator) for request in everybody]
    names = windows[0][0][0]
    bodies = iter(
        estimator.decode(
            {
                n: torch.stack([torch.stack([frame[n] for frame in w]) for w, _ in windows])
                for n in names
            }
        )
    )
    fills = iter(fill for _, fill in windows)
    return [
        Answer(
            pending.frame,
            [_human(request, next(bodies), next(fills)) for request in pending.requests],
        )
        for pending in due
    ]


def _with_depth(person: Person, frame: Frame) -> Person:
    """The person, with the distance to their torso where the frame has depth."""
    if frame.depth is None:
        return person
    size = frame.camera.width, frame.camera.height
    distance = torso_depth(frame.depth, person.landmarks, person.visibility, size)
    return replace(person, torso_depth=distance)


def _window(request: _Request, estimator: Estimator) -> tuple[list[Features], float]:
    """The person's window for the requested frame, and the fraction of real frames in it.

    Missing frames before it are copies of the oldest one, missing frames after it of the newest.
    """
    later = request.track.count - 1 - request.number
    after = estimator.delay_frames - later
    frames = list(request.track.window)[-(estimator.window - after) :]
    before = estimator.window - after - len(frames)
    padded = [frames[0]] * before + frames + [frames[-1]] * after
    return padded, len(frames) / estimator.window


def _human(request: _Request, body: Body, fill: float) -> Human:
    """The person of a request with their postprocessed body."""
    person, stamp = request.person, request.stamp
    body, velocities = request.track.postprocess(body, person, request.camera, stamp)
    return Human(person, body, velocities, fill)


def build_pipeline(settings: PipelineSettings | str | None = None, **changes: Any) -> Pipeline:
    """A pipeline ready to run.

    Args:
        settings: what it is made from, or the name of a model; the defaults if left out.
        changes: single settings by their names, as in `build_pipeline(landmarks="lite")`.

    Raises:
        ValueError: if a setting has an impossible value.
        TypeError: if there is no such setting.
        FileNotFoundError: if a file is missing; the message says which, and how to get it.
    """
    # Imported here: the tests of the pipeline itself need neither models nor OpenVINO.
    from stdformer_ros.models.registry import create_estimator
    from stdformer_ros.perception import PeopleTracker

    if isinstance(settings, str):
        settings = PipelineSettings(model=settings)
    settings = replace(settings or PipelineSettings(), **changes)
    estimator = create_estimator(settings)
    tracker = PeopleTracker(
        landmarks=cast("LandmarkModel", settings.landmarks),
        detect_every=settings.detect_every,
        max_people=settings.max_people,
    )
    make_smoother = partial(BodySmoother, estimator.joint_names)
    make_corrector = ReprojectionCorrection if estimator.embedded_body else None
    pipeline = Pipeline(tracker, estimator, make_smoother, make_corrector, settings.rotate)
    pipeline.velocity_seconds = settings.velocity_smoothing
    pipeline.use_filter(one_euro_filter(settings))
    pipeline.warm_up()
    return pipeline
