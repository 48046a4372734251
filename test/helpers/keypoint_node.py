"""The node with a real estimator and a scripted perception.

The image's upper left pixel says where the only person is: red / 100 metres to the camera's right,
four metres in front of it. If red is 255 nobody is there.
"""

from __future__ import annotations

import sys

import numpy as np

from stdformer_ros.config import EstimatorSettings, NodeSettings
from stdformer_ros.models.keypoints import H36M_FROM_LANDMARKS
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.multi_camera import MultiCameraPipeline
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.ros.node import main
from stdformer_ros.types import Frame, Person

NOBODY = 255
STANDING = np.float32(
    [
        (0.0, 0.0), (-0.13, 0.0), (-0.13, 0.44), (-0.13, 0.88), (0.13, 0.0), (0.13, 0.44),
        (0.13, 0.88), (0.0, -0.23), (0.0, -0.49), (0.0, -0.61), (0.0, -0.72), (0.15, -0.47),
        (0.2, -0.2), (0.22, 0.05), (-0.15, -0.47), (-0.2, -0.2), (-0.22, 0.05),
    ]
)  # fmt: skip
"""Human3.6M's joints of a standing person, metres."""


def place_of(red: int) -> np.ndarray:
    """Where the person is, metres."""
    return np.float32([red / 100, 0.0, 4.0])


def perceive(frame: Frame) -> list[Person]:
    """One person, whose keypoints are those of `STANDING`."""
    red = int(frame.image[0, 0, 0])
    if red == NOBODY:
        return []
    joints = np.pad(STANDING, ((0, 0), (0, 1))) + place_of(red)
    pixels = frame.camera.project(joints)
    landmarks = (np.linalg.pinv(H36M_FROM_LANDMARKS.numpy()) @ pixels).astype(np.float32)
    box = np.array([*pixels.min(0), *pixels.max(0)], np.float32)
    return [Person(1, 0.9, box, landmarks, np.ones(33, np.float32))]


def build(parameters: NodeSettings) -> MultiCameraPipeline:
    """In place of `stdformer_ros.ros.node.build`."""
    estimator = create_estimator(
        EstimatorSettings(
            parameters.model,
            delay_frames=parameters.delay_frames,
            checkpoint=parameters.checkpoint,
        )
    )
    return MultiCameraPipeline({"": Pipeline(perceive, estimator)})


if __name__ == "__main__":
    sys.exit(main(build=build))
