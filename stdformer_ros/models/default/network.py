"""`stdformer_s_keypoints`: STDFormer on tracked landmarks, light enough for two CPU cores.

The window encoder makes a first body; SD and TD act on the landmarks' map, and the vertex
transformer refines the first mesh from it. SD, TD and the transformer are the classes of the full
STDFormer; the front end, the window encoder and the residual form are ours, because a network that
starts from landmark maps alone learns too slowly.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import BodyModel, load_body_arrays, places_in
from stdformer_ros.body.landmarks import LANDMARK_NAMES
from stdformer_ros.body.mesh_levels import Upsample, upsampling_matrix
from stdformer_ros.models.default.keypoint_front_end import CHANNELS, KeypointFrontEnd
from stdformer_ros.models.default.mesh_refiner import LEVEL, TOKEN_JOINTS, MeshRefiner
from stdformer_ros.models.default.window_encoder import BodyParameters, WindowEncoder
from stdformer_ros.models.default.window_view import WindowView, view_window
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.published.disentangling import SpatioTemporalDisentangling

WINDOW = 24
"""Frames that the window encoder sees. Landmark noise is correlated over several frames, and depth
shows in motion: 24 frames are worth much more than 8, and cost nothing in a network that small."""
TEMPORAL_FRAMES = 8
"""The newest frames that TD sees, as many as STDFormer's."""
LEVEL_KEYS = {6890: "fine", 1723: "intermediate", 431: "coarse"}


class Answer(NamedTuple):
    """The newest frame's bodies, in the coordinates of the window's view.

    Attributes:
        parameters: of the first body, before the refinement.
        turns: (B, 24, 3, 3) its global rotations.
        joints: (B, 24, 3) metres, pelvis at the origin, refined.
        vertices: (B, V, 3) metres, refined.
        camera: (B, 3) weak perspective (s, tx, ty) over the view, refined.
        view: how the view lies in the camera.
    """

    parameters: BodyParameters
    turns: Tensor
    joints: Tensor
    vertices: Tensor
    camera: Tensor
    view: WindowView


class STDFormerKeypoints(nn.Module):
    """See the top of the file.

    Args:
        spatial: whether there is SD.
        temporal: whether there is TD.
        layers: encoder and decoder layers of the vertex transformer.
        mesh_level: vertices of the meshes that `decode` gives: 6890, 1723, 431 or 108.
    """

    window = WINDOW
    joint_regressor: Tensor
    coarse: Tensor

    def __init__(
        self, spatial: bool = True, temporal: bool = True, layers: int = 1, mesh_level: int = 6890
    ) -> None:
        super().__init__()
        self.front_end = KeypointFrontEnd(len(LANDMARK_NAMES))
        self.disentangling = SpatioTemporalDisentangling(
            CHANNELS, frames=TEMPORAL_FRAMES, spatial=spatial, temporal=temporal
        )
        self.window_encoder = WindowEncoder(WINDOW, len(LANDMARK_NAMES))
        self.refiner = MeshRefiner(self.window_encoder.norm.normalized_shape[0], layers)
        self.register_buffer("joint_regressor", _refined_joint_regressor(), persistent=False)
        self.use_mesh_level(mesh_level)

    def use_mesh_level(self, level: int) -> None:
        """Let `decode` give meshes of so many vertices, see `mesh_level`; no weight changes."""
        device = self.joint_regressor.device
        self.body = BodyModel(level).to(device)
        self.upsample = Upsample(LEVEL, level).to(device)
        self.register_buffer("coarse", places_in(level, LEVEL).to(device), persistent=False)

    def encode(self, rays: Tensor, visibility: Tensor) -> Features:
        """What is kept of one frame.

        Args:
            rays: (B, 21, 2) landmarks as x/z, y/z in camera coordinates, undistorted.
            visibility: (B, 21) 0..1.

        Returns:
            `rays`, `visibility` and `map` (B, 64, 7, 7).
        """
        features = self.front_end(rays, visibility)
        return {"rays": rays, "visibility": visibility, "map": features}

    def decode(self, windows: Features) -> Answer:
        """The answer for the newest frame of windows of encoded frames, (B, 24, ...)."""
        view = view_window(windows["rays"], windows["visibility"])
        parameters = self.window_encoder(view.points, windows["visibility"], view.half_size)
        return self.refine(parameters, view, windows["map"][:, -TEMPORAL_FRAMES:])

    def refine(self, parameters: BodyParameters, view: WindowView, maps: Tensor) -> Answer:
        """From the first body and the newest maps (B, 8, 64, 7, 7) to the answer."""
        skeleton = self.body.skeleton(parameters.rotations, parameters.betas)
        first_mesh = self.body.skin(skeleton, parameters.betas)
        disentangled = self.disentangling.newest(maps)
        moves = self.refiner(
            disentangled,
            parameters.feature,
            skeleton.joints,
            first_mesh.index_select(1, self.coarse),
        )
        joint_moves = self.joint_regressor @ moves.vertices
        joint_moves = joint_moves.index_copy(
            1, torch.tensor(TOKEN_JOINTS, device=maps.device), moves.joints
        )
        # the pelvis stays the origin
        root = joint_moves[:, :1]
        camera = torch.cat(
            [
                parameters.camera[:, :1] * moves.camera[:, :1].exp(),
                parameters.camera[:, 1:] + moves.camera[:, 1:],
            ],
            dim=-1,
        )
        return Answer(
            parameters,
            skeleton.turns,
            skeleton.joints + joint_moves - root,
            first_mesh + self.upsample(moves.vertices) - root,
            camera,
            view,
        )

    def forward(self, rays: Tensor, visibility: Tensor) -> dict[str, Tensor]:
        """A whole window at once.

        Args:
            rays: (B, 24, 21, 2), oldest frame first, see `encode`.
            visibility: (B, 24, 21).

        Returns:
            For the newest frame `pred_cam` (B, 3), `pred_3d_joints` (B, 24, 3),
            `pred_3d_vertices_*` of the model's mesh level, `pred_rotmat` (B, 24, 3, 3) and
            `pred_betas` (B, 10); metres in the coordinates of the window's view.
        """
        features = self.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
        answer = self.decode({k: v.unflatten(0, rays.shape[:2]) for k, v in features.items()})
        level = LEVEL_KEYS.get(self.body.level, str(self.body.level))
        return {
            "pred_cam": answer.camera,
            "pred_3d_joints": answer.joints,
            f"pred_3d_vertices_{level}": answer.vertices,
            "pred_rotmat": answer.parameters.rotations,
            "pred_betas": answer.parameters.betas,
        }


def _refined_joint_regressor() -> Tensor:
    """(24, 108): how far the joints go when the coarsest vertices go."""
    regressor = torch.from_numpy(load_body_arrays()["joint_regressor_431"])
    return regressor @ torch.from_numpy(upsampling_matrix(LEVEL, 431))
