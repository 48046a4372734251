"""A pipeline without networks, controlled by the image: for tests of the node and `cli run`.

The upper left pixel says what happens: red = number of people, green = 255 raises an error, 254 is
Ctrl-C, blue = hundredths of a second that the frame takes. Person i stands at x = i, z = 2 m + i
and has track_id i + 1. Errors and delays need the grey of `FILL` beside that pixel, so that random
images do not ask for them.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from stdformer_ros.postprocess.smoothing import OneEuro
from stdformer_ros.quality import Quality
from stdformer_ros.types import Answer, Body, Frame, Human, Person

FILL = 90
"""Value of the other pixels of an image that tells this pipeline what to do."""
JOINTS = {
    "pelvis": (0.0, 0.0, 0.0),
    "left_hip": (0.1, 0.05, 0.0),
    "right_hip": (-0.1, 0.05, 0.0),
    "neck": (0.0, -0.5, 0.0),
    "head": (0.0, -0.7, 0.0),
}
BOX = np.array(
    [[x, y, z] for x in (-0.2, 0.2) for y in (-0.8, 0.9) for z in (-0.1, 0.1)], np.float32
)
BOX_FACES = np.array(
    [
        *[[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]],
        *[[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]],
    ],
    np.int32,
)
"""A box around a person; seen from outside, corners are counter-clockwise."""


def make_human(i: int = 0, known: bool = True, first: int = 0) -> Human:
    """Person i, who stands upright and faces the camera; `first` is added to the track id."""
    place = np.array([i, 0.0, 2.0 + i], np.float32)
    joints = np.array(list(JOINTS.values()), np.float32) + place
    person = Person(
        track_id=i + 1 + first,
        score=0.75,
        box=np.array([10, 20, 110, 220], np.float32),
        landmarks=np.zeros((33, 2), np.float32),
        visibility=np.ones(33, np.float32),
    )
    body = Body(
        joints=joints,
        joint_scores=np.linspace(0.5, 1.0, len(joints), dtype=np.float32),
        vertices=BOX + place,
        rotations=None,
        betas=None,
        metric_depth=known,
    )
    return Human(person, body, np.full_like(joints, 0.25), window_fill=0.5)


def _measured(human: Human, frame: Frame) -> Human:
    """The human at the depth of the image's middle, if that is near enough to be the human's."""
    if frame.depth is None:
        return human
    size = frame.camera.width, frame.camera.height
    middle = np.array([[size[0] / 2, size[1] / 2]], np.float32)
    depth = float(frame.depth.at(middle, size)[0])
    body = human.body
    if abs(depth - body.joints[0, 2]) < 1.0:
        joints = body.joints + np.array([0, 0, depth - body.joints[0, 2]], np.float32)
        body = replace(body, joints=joints, measured_depth=True)
    return replace(human, body=body, person=replace(human.person, torso_depth=depth))


class FakePipeline:
    """Behaves as `stdformer_ros.pipeline.Pipeline` does."""

    def __init__(self, delay_frames: int = 0, rotate: int = 0) -> None:
        self.resets = 0
        self.rotate = rotate
        self._first = 0
        self._pending: deque[Frame] = deque()
        self.estimator = SimpleNamespace(
            name="fake",
            window=1,
            delay_frames=delay_frames,
            joint_names=tuple(JOINTS),
            skeleton=((0, 1), (0, 2), (0, 3), (3, 4)),
            faces=BOX_FACES,
            mesh_levels=(8, 4),
            people_at_once=None,
        )

    def restarts(self, frame: Frame) -> bool:
        return frame.discontinuous

    def __call__(self, frame: Frame) -> Answer | None:
        if self.restarts(frame):
            self.reset()
        _, fails, hundredths = frame.image[0, 0].tolist()
        if not np.array_equal(frame.image[0, 1:2], [[FILL] * 3]):  # an image may be 1 pixel wide
            fails = hundredths = 0
        time.sleep(1e-2 * hundredths)
        if fails == 255:
            raise RuntimeError("the image asked for it")
        if fails == 254:
            raise KeyboardInterrupt
        self._pending.append(frame.turned(self.rotate))
        return self._answer() if len(self._pending) > self.estimator.delay_frames else None

    def follow(self, frames: Iterable[Frame]) -> Iterator[Answer]:
        from stdformer_ros.pipeline import Pipeline  # imports torch, which the node need not do

        return Pipeline.follow(self, frames)  # type: ignore[arg-type]

    def finish(self) -> Iterator[Answer]:
        while self._pending:
            yield self._answer()

    def _answer(self) -> Answer:
        frame = self._pending.popleft()
        people = int(frame.turned(-frame.turn).image[0, 0, 0])
        humans = [make_human(i, frame.camera.known, self._first) for i in range(people)]
        return Answer(frame, [_measured(human, frame) for human in humans])

    def forget(self) -> None:
        """The track ids of everybody who comes from now on are higher by a hundred."""
        self.reset()
        self._first += 100

    def reset(self) -> None:
        self.resets += 1
        self._pending.clear()


class FakeMultiCameraPipeline:
    """Behaves as `stdformer_ros.multi_camera.MultiCameraPipeline` does towards the node."""

    def __init__(self, delay_frames: int = 0, rotate: int = 0) -> None:
        self.velocity_seconds = 0.1
        self.one_euro: OneEuro | None = None
        self._pipelines = defaultdict(lambda: FakePipeline(delay_frames, rotate))
        self.estimator = FakePipeline(delay_frames).estimator

    def see(self, camera: str, frame: Frame) -> Answer | None:
        return self._pipelines[camera](frame)

    def answer(self, seen: dict[str, Answer | None]) -> dict[str, Answer]:
        return {camera: answer for camera, answer in seen.items() if answer is not None}

    def reset(self, camera: str) -> None:
        self._pipelines[camera].reset()

    def prepare_quality(self, quality: Quality) -> None:
        pass

    def use_quality(self, quality: Quality) -> None:
        self.estimator.faces = BOX_FACES if quality.mesh_level > 4 else BOX_FACES[:6]

    def use_filter(self, one_euro: OneEuro | None) -> None:
        self.one_euro = one_euro

    def forget(self) -> None:
        for pipeline in self._pipelines.values():
            pipeline.forget()

    def rest(self) -> None:
        pass

    def resume(self) -> None:
        pass


def build(parameters: object) -> FakeMultiCameraPipeline:
    """In place of `stdformer_ros.ros.node.build`."""
    if parameters.model == "missing":  # type: ignore[attr-defined]
        raise FileNotFoundError("missing.bin was looked for in /nowhere")
    return FakeMultiCameraPipeline(parameters.delay_frames, parameters.rotate)  # type: ignore[attr-defined]


if __name__ == "__main__":
    import sys

    from stdformer_ros.ros.node import main

    sys.exit(main(build=build))
