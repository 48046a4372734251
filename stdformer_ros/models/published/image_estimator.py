"""FastMETRO, STDFormer and PointHMR behind the streaming interface: crops in, bodies out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.body.mesh_levels import SAMPLING_LEVELS, MeshSampling
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.body.smpl import LEFT_HIP, RIGHT_HIP, SmplBody
from stdformer_ros.models.estimator import (
    METRIC,
    SIGHT,
    Estimator,
    Features,
    concatenated,
    to_numpy,
)
from stdformer_ros.models.keypoints import sight_of_joints
from stdformer_ros.models.published.acceleration import CudaSTDFormer, OpenVinoSTDFormer
from stdformer_ros.models.published.crops import (
    VIEW,
    Square,
    crop,
    crop_on_device,
    crop_view,
    normalised,
    place_in_camera,
    square_around,
    upload,
)
from stdformer_ros.models.published.pointhmr import PointHMR
from stdformer_ros.models.published.stdformer import IMAGE_MEAN, IMAGE_SIZE, IMAGE_STD, STDFormer
from stdformer_ros.types import Body, Frame, Person

CROP_SCALE = 1.2
"""Side of the crop over the longer side of the keypoints' box, as in the published 3DPW crops."""

JOINT_NAMES = (
    "pelvis",
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head",
)  # fmt: skip
"""The pelvis and the 14 joints of the published evaluation; `head` is the top of the head."""

_BONES = (
    ("pelvis", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("pelvis", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("pelvis", "neck"), ("neck", "head"),
    ("neck", "right_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("neck", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
)  # fmt: skip

_HIPS = (JOINT_NAMES.index("right_hip") - 1, JOINT_NAMES.index("left_hip") - 1)
_LEVEL_KEYS = dict(zip(SAMPLING_LEVELS, ("fine", "intermediate", "coarse"), strict=True))


class ImageEstimator(Estimator):
    """A published mesh network on a stream.

    As in the published training, the network's camera refers to the body with its pelvis at the
    origin. With a regressor, joints and pelvis are regressed from the mesh, as in the published
    comparisons. Without one, the joints are those of the joint tokens, and the pelvis is the middle
    of their hips.

    Args:
        name: of the network in the registry.
        model: with its weights, in evaluation mode, on its device.
        mesh: the topology of its vertices.
        mesh_level: vertices of `Body.vertices`, one of 6890, 1723 and 431.
        joint_regressor: (17, 6890), Human3.6M's joints from SMPL's vertices.
        smpl: if given, `Body.vertices` is this body in the pose and shape that the network
            regresses, instead of the network's own vertices.
        device_crops: whether crops are cut on the model's device, not by OpenCV on the CPU.

    Raises:
        ValueError: if the options contradict each other.
    """

    reads_images = True
    joint_names = JOINT_NAMES
    skeleton = tuple((JOINT_NAMES.index(a), JOINT_NAMES.index(b)) for a, b in _BONES)

    def __init__(
        self,
        name: str,
        model: STDFormer | CudaSTDFormer | OpenVinoSTDFormer | PointHMR,
        mesh: MeshSampling,
        mesh_level: int = 6890,
        joint_regressor: Tensor | None = None,
        smpl: SmplBody | None = None,
        device_crops: bool = False,
    ) -> None:
        if smpl is not None and getattr(model, "smpl_parameter_regressor", None) is None:
            raise ValueError(
                f"smpl was given, but {name} regresses no SMPL parameters; leave it out and "
                "take the network's own mesh"
            )
        self.name = name
        self.model = model
        self.window = model.window
        self.mesh_levels = SAMPLING_LEVELS if smpl is None else SAMPLING_LEVELS[:1]
        self._faces = mesh.faces
        self._smpl = smpl
        self._device_crops = device_crops
        self.use_mesh_level(mesh_level)
        self.device = next(model.parameters()).device
        self._regressor = None
        if joint_regressor is not None:
            self._regressor = joint_regressor.to(self.device)

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`; the positions of the crops are features, too."""
        return self.encode_frames([(frame, people)])

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """See `Estimator.encode_frames`: the backbone runs once over all cameras' crops."""
        crops, views, visibility = [], [], []
        for frame, people in seen:
            squares = [square_around(p, frame.image.shape, CROP_SCALE) for p in people]
            crops.append(self._crops(frame, squares))
            views.append(crop_view(squares, frame.camera, self.device))
            visibility += [sight_of_joints(p.visibility, self.joint_names) for p in people]
        return {
            **self.model.encode(normalised(torch.cat(crops), IMAGE_MEAN, IMAGE_STD)),
            **concatenated(views),
            SIGHT: torch.from_numpy(np.stack(visibility)).to(self.device),
        }

    def decode(self, windows: Features) -> list[Body]:
        """See `Estimator.decode`."""
        maps = {k: v for k, v in windows.items() if k not in (VIEW, METRIC, SIGHT)}
        output = self.model.decode(maps)
        rotations, betas = self._smpl_parameters(output)
        joints, vertices = self._about_pelvis(output, rotations, betas)
        origin = place_in_camera(output["pred_cam"], windows[VIEW][:, -1])[:, None]
        joints, vertices = joints + origin, vertices + origin
        scores, metric = windows[SIGHT][:, -1], windows[METRIC][:, -1] > 0
        return [
            Body(
                to_numpy(joints[i]),
                to_numpy(scores[i]),
                to_numpy(vertices[i]),
                None if rotations is None else to_numpy(rotations[i]),
                None if betas is None else to_numpy(betas[i]),
                bool(metric[i]),
            )
            for i in range(len(joints))
        ]

    def use_mesh_level(self, level: int) -> None:
        """See `Estimator.use_mesh_level`; SMPL's own mesh has one level only."""
        if level not in self.mesh_levels:
            levels = " or ".join(map(str, self.mesh_levels))
            raise ValueError(f"{self.name} has meshes of {levels} vertices, not {level}")
        self.mesh_level = level
        self.faces = self._faces[SAMPLING_LEVELS.index(level)]

    def _crops(self, frame: Frame, squares: Sequence[Square]) -> Tensor:
        """(P, 3, 224, 224) in 0..255 on the device; to a GPU goes one image, not P crops."""
        if self._device_crops:
            return crop_on_device(upload(frame.image, self.device), squares, IMAGE_SIZE)
        crops = np.stack([crop(frame.image, square, IMAGE_SIZE) for square in squares])
        return torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float()

    def _smpl_parameters(self, output: dict[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
        if self._smpl is None:
            return None, None
        return output["pred_rotmat"], output["pred_betas"]

    def _about_pelvis(
        self, output: dict[str, Tensor], rotations: Tensor | None, betas: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Joints (B, 15, 3) and vertices (B, V, 3) in metres, the pelvis at the origin."""
        joints = output["pred_3d_joints"]
        pelvis = joints[:, list(_HIPS)].mean(dim=1, keepdim=True)
        joints = joints - pelvis
        fine = output["pred_3d_vertices_fine"]
        vertices = output[f"pred_3d_vertices_{_LEVEL_KEYS[self.mesh_level]}"]
        if self._smpl is not None and rotations is not None and betas is not None:
            fine, smpl_joints = self._smpl(rotations, betas)
            vertices = fine
            pelvis = smpl_joints[:, [LEFT_HIP, RIGHT_HIP]].mean(dim=1, keepdim=True)
        if self._regressor is not None:
            regressed = self._regressor @ fine
            pelvis = regressed[:, :1]
            joints = regressed[:, list(EVALUATION_ORDER)] - pelvis
        return torch.cat([torch.zeros_like(joints[:, :1]), joints], dim=1), vertices - pelvis
