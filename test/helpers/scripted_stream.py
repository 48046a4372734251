"""A pipeline with a scripted perception and an estimator that records its inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Body, Frame, Human, Person

CAMERA = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
STEP = 0.04


def frame_at(stamp: float) -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8), stamp, CAMERA)


def somebody(track_id: int, x: float = 0.0) -> Person:
    landmarks = np.full((33, 2), x, np.float32)
    return Person(track_id, 0.9, np.zeros(4, np.float32), landmarks, np.ones(33, np.float32))


class Script:
    """Perception that finds the people in `people`, and records the frames' stamps."""

    def __init__(self) -> None:
        self.people: list[Person] = []
        self.seen: list[float] = []

    def __call__(self, frame: Frame) -> list[Person]:
        self.seen.append(frame.stamp)
        return self.people


class Telling(Estimator):
    """Records its inputs. Its single joint is the person's place in the newest frame.

    The features of a frame are its stamp, the person's track id and the person's place.
    """

    name = "telling"
    window = 4
    joint_names = ("pelvis",)
    skeleton = ()
    faces = None

    def __init__(self) -> None:
        self.encoded: list[list[int]] = []
        self.windows: Features = {}

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        self.encoded.append([p.track_id for p in people])
        return {
            "stamp": torch.tensor([frame.stamp] * len(people), dtype=torch.float64),
            "who": torch.tensor([p.track_id for p in people]),
            "place": torch.tensor([[p.landmarks[0, 0], 0.0, 0.0] for p in people]),
        }

    def decode(self, windows: Features) -> list[Body]:
        assert torch.is_inference_mode_enabled()
        self.windows = windows
        places = windows["place"][:, -1:].numpy().astype(np.float32)
        return [Body(joints, np.ones(1), None, None, None, True) for joints in places]


class Stream:
    """The pipeline, and the perception and estimator inside it."""

    def __init__(self) -> None:
        self.perception, self.estimator = Script(), Telling()
        self.pipeline = Pipeline(self.perception, self.estimator)

    def show(self, stamp: float, *people: Person) -> list[Human]:
        self.perception.people = list(people)
        answer = self.pipeline(frame_at(stamp))
        assert answer is not None
        return answer.humans

    @property
    def stamps(self) -> list[list[float]]:
        """The stamps in each window of the last call."""
        return self.estimator.windows["stamp"].tolist()
