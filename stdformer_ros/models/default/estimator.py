"""`STDFormerKeypoints` behind the streaming interface: people in, bodies in metres out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.body.landmarks import BLAZEPOSE_INDEX
from stdformer_ros.body.skeleton import BONES, JOINT_NAMES
from stdformer_ros.models.default.answer_in_camera import AnswerInCamera
from stdformer_ros.models.default.network import LEVEL_KEYS, STDFormerKeypoints
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.models.runtime.threads import one_thread
from stdformer_ros.models.runtime.torchscript import Network, recorded
from stdformer_ros.types import Body, FloatArray, Frame, Person

METRIC = "metric"


class KeypointEstimator(Estimator):
    """The default estimator.

    Args:
        model: with its weights, in evaluation mode, on its device.
    """

    name = "stdformer_s_keypoints"
    joint_names = JOINT_NAMES
    skeleton = BONES
    embedded_body = True

    def __init__(self, model: STDFormerKeypoints) -> None:
        self.model = model
        self.window = model.window
        self.mesh_levels = tuple(LEVEL_KEYS)
        self.faces = model.body.faces
        self.device = next(model.parameters()).device
        self._answers: dict[int, Network] = {}

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`; whether the intrinsics are known travels along."""
        return self.encode_frames([(frame, people)])

    @one_thread()
    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """See `Estimator.encode_frames`: one batch over all cameras."""
        index = list(BLAZEPOSE_INDEX)
        rays = [
            frame.camera.rays(np.stack([p.landmarks[index] for p in people]))
            for frame, people in seen
        ]
        everybody = [(frame, person) for frame, people in seen for person in people]
        visibility = np.stack([p.visibility[index] for _, p in everybody]).astype(np.float32)
        features = self.model.encode(self._tensor(np.concatenate(rays)), self._tensor(visibility))
        known = np.array([frame.camera.known for frame, _ in everybody], np.float32)
        return features | {METRIC: self._tensor(known)}

    @one_thread()
    def decode(self, windows: Features) -> list[Body]:
        """See `Estimator.decode`."""
        answer = self._answer()(windows["rays"], windows["visibility"], windows["map"])
        joints, vertices, rotations, betas, scores = map(_array, answer)
        metric = windows[METRIC][:, -1] > 0
        return [
            Body(joints[i], scores[i], vertices[i], rotations[i], betas[i], bool(metric[i]))
            for i in range(len(joints))
        ]

    def _answer(self) -> Network:
        """The network at its present mesh level, recorded where that helps."""
        level = self.model.body.level
        if level not in self._answers:
            answer = AnswerInCamera(self.model)
            on_cpu = self.device.type == "cpu"
            self._answers[level] = recorded(answer, self._example) if on_cpu else answer
        return self._answers[level]

    def _example(self, people: int) -> tuple[Tensor, Tensor, Tensor]:
        """A window of so many people who stand still."""
        places = torch.linspace(-0.2, 0.2, len(BLAZEPOSE_INDEX))[:, None] * torch.tensor([0.3, 1.0])
        rays = places.expand(people, self.window, -1, -1).contiguous()
        visibility = torch.ones(rays.shape[:-1])
        maps = self.model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))["map"]
        return rays, visibility, maps.unflatten(0, rays.shape[:2])

    def use_mesh_level(self, level: int) -> None:
        """See `Estimator.use_mesh_level`."""
        if level not in self.mesh_levels:
            there = " or ".join(map(str, self.mesh_levels))
            raise ValueError(f"{self.name} has meshes of {there} vertices, not {level}")
        self.model.use_mesh_level(level)
        self.faces = self.model.body.faces

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _array(tensor: Tensor) -> FloatArray:
    return tensor.float().cpu().numpy()
