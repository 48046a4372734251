"""`STDFormerKeypoints` behind the streaming interface: people in, bodies in metres out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.body.landmarks import BLAZEPOSE_INDEX, LIMB_ROWS, BodyLandmarks
from stdformer_ros.body.skeleton import BONES, JOINT_NAMES
from stdformer_ros.camera import weak_perspective_to_metres
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.models.placement import place_by_landmarks
from stdformer_ros.models.stdformer_keypoints import LEVEL_KEYS, STDFormerKeypoints
from stdformer_ros.threads import one_thread
from stdformer_ros.types import Body, FloatArray, Frame, Person

METRIC = "metric"
_ROWS = list(LIMB_ROWS)


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
        self._landmarks = BodyLandmarks().to(self.device)

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
        answer = self.model.decode(windows)
        view = answer.view
        place = place_by_landmarks(
            self._landmarks.limbs(answer.turns, answer.joints),
            view.points[:, -1, _ROWS],
            windows["visibility"][:, -1, _ROWS],
            view.half_size,
            prior=weak_perspective_to_metres(answer.camera, view.half_size),
        )[:, None]
        turn = view.turn  # rows: x @ turn is turn^T x, from the view to the camera
        rotations = answer.parameters.rotations.clone()
        rotations[:, 0] = turn.transpose(1, 2) @ rotations[:, 0]
        joints = _array((answer.joints + place) @ turn)
        vertices = _array((answer.vertices + place) @ turn)
        scores = _array(answer.parameters.confidence.sigmoid())
        turns, betas = _array(rotations), _array(answer.parameters.betas)
        metric = windows[METRIC][:, -1] > 0
        return [
            Body(joints[i], scores[i], vertices[i], turns[i], betas[i], bool(metric[i]))
            for i in range(len(joints))
        ]

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
