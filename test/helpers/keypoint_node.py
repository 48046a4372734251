"""The node with a real estimator and a scripted perception.

The image's upper left pixel says where the only person is: red / 100 metres to the camera's right,
four metres in front of it. If red is 255 nobody is there. Blue, if not 0, is the lens' true focal
length in pixels, whatever CameraInfo says.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from stdformer_ros.config import EstimatorSettings, NodeSettings
from stdformer_ros.models import create_model
from stdformer_ros.models.keypoints import H36M_FROM_LANDMARKS
from stdformer_ros.models.lifting.weights import describe
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


def poseformer_checkpoint(folder: Path, **metadata: int) -> str:
    """The weights of a PoseFormer that gives the pose `STANDING` for any input."""
    torch.manual_seed(0)
    network = create_model("poseformer_9", **metadata)
    with torch.no_grad():
        network.head[1].weight.zero_()
        standing = torch.from_numpy(np.pad(STANDING, ((0, 0), (0, 1))))
        network.head[1].bias.copy_(standing.flatten())
    path = folder / "poseformer_9.safetensors"
    state = {name: value.clone() for name, value in network.state_dict().items()}
    save_file(state, path, describe("poseformer_9", **metadata) if metadata else None)
    return str(path)


def place_of(red: int) -> np.ndarray:
    """Where the person is, metres."""
    return np.float32([red / 100, 0.0, 4.0])


def perceive(frame: Frame) -> list[Person]:
    """One person, whose keypoints are those of `STANDING`."""
    red, _, blue = frame.image[0, 0].tolist()
    if red == NOBODY:
        return []
    lens = replace(frame.camera, fx=blue, fy=blue) if blue else frame.camera
    pixels = lens.project(np.pad(STANDING, ((0, 0), (0, 1))) + place_of(red))
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
