"""`stdformer_s_keypoints`: STDFormer on tracked landmarks, light enough for two CPU cores.

The window encoder estimates a first body. SD and TD act on a map of the landmarks, from which the
vertex transformer refines the first mesh. SD, TD and the transformer are the classes of the full
STDFormer. The front end, the window encoder and the residual form are ours, because a network that
starts from landmark maps alone learns too slowly.

Order: the front end (landmarks to a map), the refiner (map and first mesh to corrections of that
mesh), and the network that consists of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel, load_body_arrays, vertices_in
from stdformer_ros.body.mesh_levels import Upsample, upsampling_matrix
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.models.default.window_encoder import BodyParameters, WindowEncoder
from stdformer_ros.models.default.window_view import WindowView, view_window
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.transformer import (
    Transformer,
    mesh_visibility,
    sine_position_encoding_2d,
)

WINDOW = 24
"""Frames that the window encoder sees. Landmark noise is correlated over several frames, and depth
shows in motion: 24 frames are worth much more than 8, and cost nothing in a network that small."""
TEMPORAL_FRAMES = 8
"""The newest frames that TD sees, as many as STDFormer's."""
LEVEL_KEYS = {6890: "fine", 1723: "intermediate", 431: "coarse"}

CHANNELS = 64
MAP_SIZE = 7
SPOT = 0.2
"""Standard deviation of a landmark's spot, in units of the crop's half size: about two thirds of a
cell of the map."""

TOKEN_WIDTH = 128
HEADS = 4
FEEDFORWARD = 256
REFINED_LEVEL = 108
"""Vertices of the mesh that the vertex transformer refines."""
TOKEN_JOINTS = tuple(
    JOINT_NAMES.index(name)
    for name in (
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "neck",
        "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
        "right_wrist",
    )
)  # fmt: skip
"""The 14 joints that have a token of their own."""


class KeypointFrontEnd(nn.Module):
    """One frame's landmarks drawn on a small map, where STDFormer has HRNet.

    Every landmark has a channel with a Gaussian spot at its position in the person's crop, whose
    amplitude is its visibility. Convolutions mix them into the 64 channels that SD and TD act on.

    Args:
        landmarks: number of landmarks per frame.
    """

    cells: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(landmarks, CHANNELS, 1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
        )
        centres = (torch.arange(MAP_SIZE) + 0.5) * (2.0 / MAP_SIZE) - 1.0
        self.register_buffer("cells", centres, persistent=False)

    def forward(self, rays: Tensor, visibility: Tensor) -> Tensor:
        """Draw and mix the landmarks.

        Args:
            rays: (B, L, 2) landmarks of one frame as x/z, y/z.
            visibility: (B, L) 0..1.

        Returns:
            (B, 64, 7, 7).
        """
        points = view_window(rays[:, None], visibility[:, None]).points[:, 0]
        near = torch.exp(-0.5 * ((points[..., None] - self.cells) / SPOT).square())
        across, down = near.unbind(2)  # (B, L, 7) each
        spots = torch.einsum("bly,blx->blyx", down, across) * visibility[..., None, None]
        return self.mix(spots)


class Refinement(NamedTuple):
    """What to add to the first body.

    Attributes:
        joints: (B, 14, 3) metres, in the order of `TOKEN_JOINTS`.
        vertices: (B, 108, 3) metres.
        camera: (B, 3) what to add to log(s), tx, ty.
    """

    joints: Tensor
    vertices: Tensor
    camera: Tensor


class MeshRefiner(nn.Module):
    """The vertex transformer: from the first mesh and the map after SD and TD to a `Refinement`.

    Encoder, decoder, tokens and mask are FastMETRO's, only narrower and on the mesh of 108
    vertices. The queries start from the first mesh and from the window encoder's feature. The heads
    start at zero, so that an untrained refiner changes nothing.

    Args:
        feature_width: size of the window encoder's feature.
        layers: number of layers of the encoder, and of the decoder.
    """

    visible: Tensor
    positions: Tensor

    def __init__(self, feature_width: int, layers: int = 1) -> None:
        super().__init__()
        self.image = nn.Linear(CHANNELS, TOKEN_WIDTH)
        self.feature = nn.Linear(feature_width, 2 * TOKEN_WIDTH)
        self.place = nn.Linear(3, TOKEN_WIDTH)
        self.token_embed = nn.Embedding(len(TOKEN_JOINTS) + REFINED_LEVEL, TOKEN_WIDTH)
        self.transformer = Transformer(TOKEN_WIDTH, HEADS, FEEDFORWARD, layers, layers, dropout=0.0)
        self.xyz = nn.Linear(TOKEN_WIDTH, 3)
        self.camera = nn.Linear(TOKEN_WIDTH, 3)
        for head in (self.xyz, self.camera):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        adjacency = torch.zeros(REFINED_LEVEL, REFINED_LEVEL)
        faces = torch.from_numpy(BodyModel(REFINED_LEVEL).faces).long()
        for a, b in ((0, 1), (1, 2), (2, 0)):
            adjacency[faces[:, a], faces[:, b]] = 1.0
            adjacency[faces[:, b], faces[:, a]] = 1.0
        self.register_buffer(
            "visible", mesh_visibility(adjacency, len(TOKEN_JOINTS)), persistent=False
        )
        positions = sine_position_encoding_2d(MAP_SIZE, MAP_SIZE, TOKEN_WIDTH)
        self.register_buffer("positions", positions, persistent=False)

    def forward(
        self, features: Tensor, summary: Tensor, joints: Tensor, mesh: Tensor
    ) -> Refinement:
        """Compute the refinement.

        Args:
            features: (B, 64, 7, 7), the newest frame's map after SD and TD.
            summary: (B, feature_width), the window encoder's feature.
            joints: (B, 24, 3) of the first body, metres, in the view's coordinates.
            mesh: (B, 108, 3) of the first body, likewise.
        """
        image = self.image(features.flatten(2).transpose(1, 2))
        camera, start = self.feature(summary)[:, None].chunk(2, dim=-1)
        points = torch.cat([joints[:, TOKEN_JOINTS], mesh], dim=1)
        queries = self.token_embed.weight + self.place(points) + start
        camera, _, tokens = self.transformer(image, camera, queries, self.positions, self.visible)
        offsets = self.xyz(tokens)
        return Refinement(
            offsets[:, : len(TOKEN_JOINTS)],
            offsets[:, len(TOKEN_JOINTS) :],
            self.camera(camera)[:, 0],
        )


class Prediction(NamedTuple):
    """The newest frame's bodies, in the coordinates of the window's view.

    Attributes:
        parameters: those of the first body, before the refinement.
        global_rotations: (B, 24, 3, 3) of the first body, in the view's axes.
        joints: (B, 24, 3) metres, pelvis at the origin, refined.
        vertices: (B, V, 3) metres, pelvis at the origin, refined.
        camera: (B, 3) weak perspective (s, tx, ty) over the view, refined.
        view: how the view lies in the camera.
    """

    parameters: BodyParameters
    global_rotations: Tensor
    joints: Tensor
    vertices: Tensor
    camera: Tensor
    view: WindowView


class STDFormerKeypoints(nn.Module):
    """The whole network: encode single frames, decode windows of them.

    Args:
        spatial: whether there is SD.
        temporal: whether there is TD.
        layers: encoder and decoder layers of the vertex transformer.
        mesh_level: number of vertices of `decode`'s meshes: 6890, 1723, 431 or 108.
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
        """Change the meshes that `decode` gives; the weights stay the same.

        Args:
            level: number of vertices: 6890, 1723, 431 or 108.
        """
        device = self.joint_regressor.device
        self.body = BodyModel(level).to(device)
        self.upsample = Upsample(REFINED_LEVEL, level).to(device)
        self.register_buffer(
            "coarse", vertices_in(level, REFINED_LEVEL).to(device), persistent=False
        )

    def encode(self, rays: Tensor, visibility: Tensor) -> Features:
        """Compute the features of single frames.

        Args:
            rays: (B, 21, 2) landmarks as x/z, y/z in camera coordinates, undistorted.
            visibility: (B, 21) 0..1.

        Returns:
            `rays`, `visibility` and `map` (B, 64, 7, 7).
        """
        features = self.front_end(rays, visibility)
        return {"rays": rays, "visibility": visibility, "map": features}

    def decode(self, windows: Features) -> Prediction:
        """Estimate the bodies in the newest frame of windows of encoded frames (B, 24, ...)."""
        view = view_window(windows["rays"], windows["visibility"])
        parameters = self.window_encoder(view.points, windows["visibility"], view.half_size)
        return self.refine(parameters, view, windows["map"][:, -TEMPORAL_FRAMES:])

    def refine(self, parameters: BodyParameters, view: WindowView, maps: Tensor) -> Prediction:
        """Refine the first body from the newest maps (B, 8, 64, 7, 7)."""
        skeleton = self.body.skeleton(parameters.rotations, parameters.betas)
        first_mesh = self.body.skin(skeleton, parameters.betas)
        disentangled = self.disentangling.newest(maps)
        refinement = self.refiner(
            disentangled,
            parameters.feature,
            skeleton.joints,
            first_mesh.index_select(1, self.coarse),
        )
        joint_offsets = self.joint_regressor @ refinement.vertices
        joint_offsets = joint_offsets.index_copy(
            1, torch.tensor(TOKEN_JOINTS, device=maps.device), refinement.joints
        )
        root = joint_offsets[:, :1]  # the pelvis stays the origin
        camera = torch.cat(
            [
                parameters.camera[:, :1] * refinement.camera[:, :1].exp(),
                parameters.camera[:, 1:] + refinement.camera[:, 1:],
            ],
            dim=-1,
        )
        return Prediction(
            parameters,
            skeleton.global_rotations,
            skeleton.joints + joint_offsets - root,
            first_mesh + self.upsample(refinement.vertices) - root,
            camera,
            view,
        )

    def forward(self, rays: Tensor, visibility: Tensor) -> dict[str, Tensor]:
        """Encode and decode whole windows at once.

        Args:
            rays: (B, 24, 21, 2), oldest frame first, see `encode`.
            visibility: (B, 24, 21).

        Returns:
            For the newest frame `pred_cam` (B, 3), `pred_3d_joints` (B, 24, 3),
            `pred_3d_vertices_*` of the model's mesh level, `pred_rotmat` (B, 24, 3, 3) and
            `pred_betas` (B, 10); metres in the coordinates of the window's view.
        """
        features = self.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
        predicted = self.decode({k: v.unflatten(0, rays.shape[:2]) for k, v in features.items()})
        level = LEVEL_KEYS.get(self.body.level, str(self.body.level))
        return {
            "pred_cam": predicted.camera,
            "pred_3d_joints": predicted.joints,
            f"pred_3d_vertices_{level}": predicted.vertices,
            "pred_rotmat": predicted.parameters.rotations,
            "pred_betas": predicted.parameters.betas,
        }


def _refined_joint_regressor() -> Tensor:
    """(24, 108): from offsets of the coarsest mesh's vertices to offsets of the joints."""
    regressor = torch.from_numpy(load_body_arrays()["joint_regressor_431"])
    return regressor @ torch.from_numpy(upsampling_matrix(REFINED_LEVEL, 431))
