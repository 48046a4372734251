"""The default estimator: `STDFormerKeypoints` behind the streaming interface.

People go in as landmarks in pixels, bodies come out in metres along the camera's axes. The network
works in the window's view; `CameraFrameDecoder` moves its output to the right position and rotates
it back into the camera's axes. It is a module with only tensors, so that TorchScript can run it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX, LIMB_ROWS, BodyLandmarks
from stdformer_ros.body.skeleton import BONES, JOINT_NAMES
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.models.default.network import LEVEL_KEYS, STDFormerKeypoints
from stdformer_ros.models.estimator import METRIC, Estimator, Features, to_numpy
from stdformer_ros.models.placement import place_by_landmarks
from stdformer_ros.models.runtime.cpu import one_thread
from stdformer_ros.models.runtime.torchscript import TensorFunction, torchscript
from stdformer_ros.types import Body, FloatArray, Frame, Person

_LIMB_ROWS = list(LIMB_ROWS)


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
        self._decoders: dict[int, TensorFunction] = {}

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`; whether the intrinsics are known is a feature, too."""
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
        decoded = self._decoder()(windows["rays"], windows["visibility"], windows["map"])
        joints, vertices, rotations, betas, scores = map(to_numpy, decoded)
        metric = windows[METRIC][:, -1] > 0
        return [
            Body(joints[i], scores[i], vertices[i], rotations[i], betas[i], bool(metric[i]))
            for i in range(len(joints))
        ]

    def _decoder(self) -> TensorFunction:
        """The decoder at the current mesh level; on a CPU as TorchScript."""
        level = self.model.body.level
        if level not in self._decoders:
            decoder = CameraFrameDecoder(self.model)
            on_cpu = self.device.type == "cpu"
            self._decoders[level] = torchscript(decoder, self._example) if on_cpu else decoder
        return self._decoders[level]

    def _example(self, people: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs of the decoder for this number of people, who stand still."""
        points = torch.linspace(-0.2, 0.2, len(BLAZEPOSE_INDEX))[:, None] * torch.tensor([0.3, 1.0])
        rays = points.expand(people, self.window, -1, -1).contiguous()
        visibility = torch.ones(rays.shape[:-1])
        maps = self.model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))["map"]
        return rays, visibility, maps.unflatten(0, rays.shape[:2])

    def use_mesh_level(self, level: int) -> None:
        """See `Estimator.use_mesh_level`."""
        if level not in self.mesh_levels:
            levels = " or ".join(map(str, self.mesh_levels))
            raise ValueError(f"{self.name} has meshes of {levels} vertices, not {level}")
        self.model.use_mesh_level(level)
        self.faces = self.model.body.faces

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


class CameraFrameDecoder(nn.Module):
    """Runs `STDFormerKeypoints.decode` and brings its output from the view to the camera frame.

    Args:
        model: on its device; it is not copied.
    """

    def __init__(self, model: STDFormerKeypoints) -> None:
        super().__init__()
        self.model = model
        self.landmarks = BodyLandmarks().to(model.joint_regressor.device)

    def forward(
        self, rays: Tensor, visibility: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Estimate the bodies in the newest frame.

        Args:
            rays: (B, window, 21, 2) landmarks as x/z, y/z in camera coordinates, undistorted.
            visibility: (B, window, 21) 0..1.
            maps: (B, window, 64, 7, 7), see `STDFormerKeypoints.encode`.

        Returns:
            Joints (B, 24, 3) and vertices (B, V, 3), metres, camera frame; rotations (B, 24, 3, 3),
            the pelvis' in the camera frame, the others relative to their parents; betas (B, 10);
            scores (B, 24), 0..1.
        """
        predicted = self.model.decode({"rays": rays, "visibility": visibility, "map": maps})
        view = predicted.view
        origin = place_by_landmarks(
            self.landmarks.limbs(predicted.global_rotations, predicted.joints),
            view.points[:, -1, _LIMB_ROWS],
            visibility[:, -1, _LIMB_ROWS],
            view.half_size,
            prior=weak_perspective_to_metres(predicted.camera, view.half_size),
        )[:, None]
        rotation = view.turn  # points are rows: x @ rotation goes from the view to the camera
        rotations = predicted.parameters.rotations.clone()
        rotations[:, 0] = rotation.transpose(1, 2) @ rotations[:, 0]
        return (
            (predicted.joints + origin) @ rotation,
            (predicted.vertices + origin) @ rotation,
            rotations,
            predicted.parameters.betas,
            predicted.parameters.confidence.sigmoid(),
        )
