"""FastMETRO and STDFormer: crops in, joints and a mesh out.

FastMETRO (Cho et al., ECCV 2022) disentangles image encoding from mesh estimation: a backbone's
feature map and a camera token pass through two transformer encoders, and tokens of 14 joints and
431 vertices attend to them in two decoders. STDFormer adds SD and TD, which weight the feature map
by attention within a frame and over all frames of a window. STDFormer's authors published its
training code, a run log and a figure, but not where in the backbone SD and TD are; `disentangling`
says what is our interpretation. Without SD and TD this network is exactly FastMETRO, and its
parameters have the published names.

Order: the network, then FastMETRO's optional regressor from the mesh to SMPL's parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from stdformer_ros.body.mesh_levels import SAMPLING_LEVELS, MeshSampling, MeshUpsample
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.rotations import rotation_from_matrix
from stdformer_ros.models.transformer import (
    Transformer,
    mesh_visibility,
    sine_position_encoding_2d,
)

IMAGE_SIZE = 224
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
BACKBONE_CHANNELS = 2048
GRID = IMAGE_SIZE // 32
HEADS = 8
WIDE, WIDE_FEEDFORWARD = 512, 2048
NARROW, NARROW_FEEDFORWARD = 128, 512
JOINTS = 14
FINE, MIDDLE, COARSE = SAMPLING_LEVELS

REGRESSOR_WIDTH = 1024
ROTATIONS, BETAS = 24, 10
"""Numbers of SMPL's rotations and shape parameters."""

MAP = "map_{}"
"""Names of the backbone's maps among the features; SD and TD act on the first."""


class Backbone(Protocol):
    """The interface of a backbone for STDFormer: two halves, between which SD and TD act.

    Attributes:
        map_channels: number of channels of the first map.
    """

    map_channels: int

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps, the first (B, map_channels, H / 4, W / 4)."""

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps -> (B, 2048, H / 32, W / 32)."""


class STDFormer(nn.Module):
    """FastMETRO without SD and TD, STDFormer with them.

    Images are RGB crops of 224 x 224, normalised by `IMAGE_MEAN` and `IMAGE_STD`. The output
    is a dict:

    - `pred_cam` (B, 3): s, tx, ty; a point X is seen at s (X + t), in [-1, 1] over the crop;
    - `pred_3d_joints` (B, 14, 3) metres, in the order of the published evaluation;
    - `pred_3d_vertices_coarse`, `_intermediate`, `_fine` (B, 431 / 1723 / 6890, 3) metres;
    - `pred_rotmat` (B, 24, 3, 3), `pred_betas` (B, 10): SMPL's, if there is a regressor.

    Args:
        backbone: a module that is a `Backbone`.
        layers: encoder and decoder layers in each transformer; S, M, L are 1, 2, 3.
        mesh: the topology of the vertex tokens and the upsampling to 6890 vertices. Without it
            the network can be built, counted and filled with weights, but not run.
        disentangling: SD and TD, or None for FastMETRO.
        smpl_regressor: whether there is the optional regressor of SMPL's parameters.

    Attributes:
        window: number of frames that `decode` sees.
    """

    visible: Tensor
    positions_1: Tensor
    positions_2: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        layers: int,
        mesh: MeshSampling | None = None,
        disentangling: SpatioTemporalDisentangling | None = None,
        smpl_regressor: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.disentangling = disentangling
        temporal = disentangling.td if disentangling is not None else None
        self.window = temporal.frames if temporal is not None else 1
        self.transformer_1 = Transformer(WIDE, HEADS, WIDE_FEEDFORWARD, layers, layers)
        self.transformer_2 = Transformer(NARROW, HEADS, NARROW_FEEDFORWARD, layers, layers)
        self.dim_reduce_enc_cam = nn.Linear(WIDE, NARROW)
        self.dim_reduce_enc_img = nn.Linear(WIDE, NARROW)
        self.dim_reduce_dec = nn.Linear(WIDE, NARROW)
        self.cam_token_embed = nn.Embedding(1, WIDE)
        self.joint_token_embed = nn.Embedding(JOINTS, WIDE)
        self.vertex_token_embed = nn.Embedding(COARSE, WIDE)
        self.xyz_regressor = nn.Linear(NARROW, 3)
        self.cam_predictor = nn.Linear(NARROW, 3)
        self.conv_1x1 = nn.Conv2d(BACKBONE_CHANNELS, WIDE, 1)
        self.coarse2intermediate_upsample = nn.Linear(COARSE, MIDDLE)
        self.intermediate2fine_upsample: MeshUpsample | None = None
        self.smpl_parameter_regressor = SmplParameterRegressor() if smpl_regressor else None
        for name, width in (("positions_1", WIDE), ("positions_2", NARROW)):
            positions = sine_position_encoding_2d(GRID, GRID, width)
            self.register_buffer(name, positions, persistent=False)
        if mesh is not None:
            self.intermediate2fine_upsample = MeshUpsample(mesh.upsampling[0])
            visible = mesh_visibility(mesh.coarse_adjacency(), JOINTS)
            self.register_buffer("visible", visible, persistent=False)

    def encode(self, images: Tensor) -> Features:
        """Compute the features of single frames.

        Args:
            images: (B, 3, 224, 224).

        Returns:
            The backbone's maps by name, (B, C, H, W) each.

        Raises:
            ValueError: if the images have another shape.
        """
        if images.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"crops must be (B, 3, {IMAGE_SIZE}, {IMAGE_SIZE}), not {tuple(images.shape)}"
            )
        return {MAP.format(i): m for i, m in enumerate(self._backbone.maps(images))}

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """Estimate joints and mesh in the newest frame of each window.

        Args:
            windows: the outputs of `encode`, (B, window, C, H, W) each, oldest frame first.

        Returns:
            See the top of the class.
        """
        first, *others = (windows[MAP.format(i)] for i in range(len(windows)))
        newest = self.disentangling.newest(first) if self.disentangling else first[:, -1]
        return self._regress([newest, *(m[:, -1] for m in others)])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Estimate joints and mesh in every frame.

        Args:
            images: (B, 3, 224, 224) if the window is one frame, else (B, window, 3, 224, 224).

        Returns:
            See the top of the class, with B, or B and window, as first dimensions.

        Raises:
            ValueError: if the images have another shape.
        """
        if self.window == 1 and images.ndim == 4:
            return {k: v.squeeze(1) for k, v in self.forward(images.unsqueeze(1)).items()}
        if images.ndim != 5 or images.shape[1] != self.window:
            raise ValueError(
                f"windows must be (B, {self.window}, 3, {IMAGE_SIZE}, {IMAGE_SIZE}), "
                f"not {tuple(images.shape)}"
            )
        batch = images.shape[:2]
        first, *others = self.encode(images.flatten(0, 1)).values()
        if self.disentangling is not None:
            first = self.disentangling(first.unflatten(0, batch)).flatten(0, 1)
        return {k: v.unflatten(0, batch) for k, v in self._regress([first, *others]).items()}

    @property
    def _backbone(self) -> Backbone:
        return cast(Backbone, self.backbone)

    def _regress(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Joints and mesh from the maps of single frames."""
        if self.intermediate2fine_upsample is None:
            raise RuntimeError(
                "this network was made without a mesh, so it does not know which vertices are "
                "neighbours; create it with mesh_sampling=PATH of mesh_downsampling.npz"
            )
        features = self._backbone.features(maps).to(self.conv_1x1.weight.dtype)
        features = self.conv_1x1(features).flatten(2).transpose(1, 2)
        batch = len(features)
        camera = self.cam_token_embed.weight.expand(batch, -1, -1)
        tokens = torch.cat([self.joint_token_embed.weight, self.vertex_token_embed.weight])
        camera, features, tokens = self.transformer_1(
            features, camera, tokens.expand(batch, -1, -1), self.positions_1, self.visible
        )
        camera, _, tokens = self.transformer_2(
            self.dim_reduce_enc_img(features),
            self.dim_reduce_enc_cam(camera),
            self.dim_reduce_dec(tokens),
            self.positions_2,
            self.visible,
        )
        joints, coarse = self.xyz_regressor(tokens).split([JOINTS, COARSE], dim=1)
        middle = self.coarse2intermediate_upsample(coarse.transpose(1, 2)).transpose(1, 2)
        output = {
            "pred_cam": self.cam_predictor(camera).squeeze(1),
            "pred_3d_joints": joints,
            "pred_3d_vertices_coarse": coarse,
            "pred_3d_vertices_intermediate": middle,
            "pred_3d_vertices_fine": self.intermediate2fine_upsample(middle),
        }
        if self.smpl_parameter_regressor is not None:
            # It is trained on the predicted mesh, but its gradients must not change that mesh.
            rotations, betas = self.smpl_parameter_regressor(middle.detach())
            output |= {"pred_rotmat": rotations, "pred_betas": betas}
        return output


class SmplParameterRegressor(nn.Module):
    """Regresses SMPL's rotations and shape from the mesh of 1723 vertices, without changing it."""

    def __init__(self) -> None:
        super().__init__()
        self.regressor = nn.Sequential(
            FullyConnectedBlock(MIDDLE * 3, REGRESSOR_WIDTH),
            FullyConnectedResidualBlock(REGRESSOR_WIDTH),
            FullyConnectedResidualBlock(REGRESSOR_WIDTH),
            nn.Linear(REGRESSOR_WIDTH, ROTATIONS * 9 + BETAS),
        )

    def forward(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Regress the parameters.

        Args:
            vertices: (B, 1723, 3) metres.

        Returns:
            (B, 24, 3, 3) rotations relative to the parents, and (B, 10) betas.
        """
        out = self.regressor(vertices.flatten(1))
        matrices, betas = out.split([ROTATIONS * 9, BETAS], dim=1)
        return rotation_from_matrix(matrices.unflatten(1, (ROTATIONS, 3, 3))), betas


class FullyConnectedBlock(nn.Module):
    """Linear layer, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc_block = nn.Sequential(*_linear_norm(inputs, outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return self.fc_block(x)


class FullyConnectedResidualBlock(nn.Module):
    """Two normalised linear layers with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc_block = nn.Sequential(
            *_linear_norm(width, width), nn.ReLU(inplace=True), *_linear_norm(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return torch.relu(x + self.fc_block(x))


def _linear_norm(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)]
