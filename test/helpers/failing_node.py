"""The node with the real pipeline, whose stages raise an exception where the image asks for it.

The upper left pixel: red = number of people, blue = the stage that fails, an index of `STAGES`.
The parameter `model` asks for more:

- `lite_fails`: lite landmarks can be loaded, but not be used; frames take 20 ms.
- `hostile`: people cannot be forgotten, windows not be reset, and diagnostics not be made.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from helpers.fake_pipeline import BOX_FACES, JOINTS, make_human
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import NodeSettings
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.multi_camera import MultiCameraPipeline
from stdformer_ros.pipeline import Pipeline, Seen
from stdformer_ros.ros.node import main
from stdformer_ros.types import Body, Frame, Person

STAGES = {
    "none": None,
    "perception": RuntimeError,
    "encode": ValueError,
    "decode": KeyError,
    "correction": ZeroDivisionError,
    "publication": AttributeError,  # nothing but a body's scores is missing
    "exit": SystemExit,
}


def fail(wanted: int, stage: str) -> None:
    """Raise the stage's exception if it is the wanted one."""
    error = STAGES[stage]
    if list(STAGES)[wanted] == stage and error is not None:
        raise error(f"in {stage}")


class Perception:
    """Finds as many people as the image says; the first landmark is the stage that fails."""

    def __init__(self, model: str) -> None:
        self._model = model

    def __call__(self, frame: Frame) -> list[Person]:
        people, _, stage = frame.image[0, 0].tolist()
        fail(stage, "perception")
        fail(stage, "exit")
        time.sleep(0.02 if self._model == "lite_fails" else 0.0)
        found = [make_human(i).person for i in range(people)]
        for person in found:
            person.landmarks[0] = stage
        return found

    def load(self, landmarks: str) -> None:
        """Nothing is missing as long as it is not used."""

    def use(self, landmarks: str, detect_every: int) -> None:
        if landmarks == "lite" and self._model == "lite_fails":
            raise RuntimeError("cannot use lite landmarks")

    def reset(self) -> None:
        if self._model == "hostile":
            raise RuntimeError("cannot forget")


class Bodies(Estimator):
    """Everybody is at the place of the first person of the fake pipeline."""

    name = "failing"
    window = 1
    joint_names = tuple(JOINTS)
    skeleton = ((0, 1), (0, 2), (0, 3), (3, 4))
    faces = BOX_FACES
    mesh_levels = (8,)

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        for person in people:
            fail(int(person.landmarks[0, 0]), "encode")
        return {"stage": torch.tensor([int(person.landmarks[0, 0]) for person in people])}

    def decode(self, windows: Features) -> list[Body]:
        stages = windows["stage"][:, -1].tolist()
        for stage in stages:
            fail(stage, "decode")
        unpublishable = list(STAGES).index("publication")
        body = make_human().body
        broken = replace(body, joint_scores=None)  # type: ignore[arg-type]
        return [broken if stage == unpublishable else body for stage in stages]

    def use_mesh_level(self, level: int) -> None:
        """All levels look alike."""


def correct(body: Body, person: Person, camera: Camera, seconds: float) -> Body:
    """A corrector that changes nothing."""
    fail(int(person.landmarks[0, 0]), "correction")
    return body


class Pipelines(MultiCameraPipeline):
    """If it is hostile, it cannot reset windows once a frame has come."""

    hostile = False
    seen = False

    def see(self, camera: str, frame: Frame) -> Seen:
        self.seen = True
        return super().see(camera, frame)

    def reset(self, camera: str) -> None:
        if self.hostile and self.seen:
            raise OSError("cannot reset")
        super().reset(camera)


class Unreadable(Bodies):
    """Its state cannot be read for the diagnostics."""

    @property
    def people_at_once(self) -> int | None:  # type: ignore[override]
        raise LookupError("cannot tell")


def build(settings: NodeSettings) -> MultiCameraPipeline:
    """In place of `stdformer_ros.ros.node.build`."""
    estimator = Unreadable() if settings.model == "hostile" else Bodies()
    pipeline = Pipeline(Perception(settings.model), estimator, make_corrector=lambda: correct)
    pipelines = Pipelines({"": pipeline})
    pipelines.hostile = settings.model == "hostile"
    return pipelines


if __name__ == "__main__":
    sys.exit(main(build=build))
