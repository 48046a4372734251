"""PointHMR (Kim et al., CVPR 2023): features are sampled where each vertex is found in the image.

Each of 431 vertices has a heatmap that weights a feature map. Four transformer encoders then mix
all tokens; in each of them a vertex attends to a narrower ring of its neighbours than before.
Names of parameters are those of the published checkpoints, two of whose embeddings are never used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stdformer_ros.body.mesh_levels import SAMPLING_LEVELS, MeshSampling, MeshUpsample
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.published.hrnet import HRNet
from stdformer_ros.models.published.resnet import BasicBlock
from stdformer_ros.models.transformer import Encoder, sine_position_encoding_2d

IMAGE_SIZE = 224
WIDTH = 32
MAP, GRID = IMAGE_SIZE // 4, IMAGE_SIZE // 32
CHANNELS, POSITION_CHANNELS, NARROW = 512, 128, 128
WIDE = CHANNELS + POSITION_CHANNELS
HEADS, LAYERS = 4, 2
WIDE_FEEDFORWARD, NARROW_FEEDFORWARD = 1024, 512
JOINTS = 14
RINGS = (7, 5, 3, 1)
"""For each encoder: how many edges away a vertex attends."""
VERTICES = SAMPLING_LEVELS[2]
OTHERS = 1 + GRID**2 + JOINTS
"""Tokens of the camera, of the grid and of the joints, before those of the vertices."""
TOKENS = "tokens"


class PointHMR(nn.Module):
    """The whole network: find the vertices in the image, then regress the mesh.

    Images are RGB crops of 224 x 224, normalised as for `STDFormer`. The output is a dict of
    `pred_cam`, `pred_3d_joints` and `pred_3d_vertices_coarse`, `_intermediate`, `_fine`, which are
    those of `STDFormer`, and `heatmap` (B, 431) int64: the index, row by row, of the cell of a
    112 x 112 map in which each vertex was found.

    Args:
        mesh: the topology of the vertices. Without it the network can be built, counted and
            filled with weights, but not run.

    Attributes:
        window: number of frames that `decode` sees, always 1.
    """

    window = 1
    map_positions: Tensor
    grid_positions: Tensor

    def __init__(self, mesh: MeshSampling | None = None) -> None:
        super().__init__()
        self.backbone = HRNet(WIDTH)
        self.feature_extract_layer = _head(WIDTH, CHANNELS, blocks=2)
        self.heatmap_layer = _head(WIDTH, VERTICES, blocks=2)
        self.grid_layer = _head(WIDTH * 8, CHANNELS, blocks=1)
        self.cam_layer = nn.Linear(VERTICES, 1)
        self.cam_token_embed = nn.Embedding(1, CHANNELS)  # never used
        self.joint_token_embed = nn.Embedding(JOINTS, CHANNELS)
        self.vertex_token_embed = nn.Embedding(VERTICES, CHANNELS)  # never used
        self.token_position_embed = nn.Embedding(OTHERS + VERTICES, POSITION_CHANNELS)
        self.transformer = MeshRegressor(mesh)
        for name, size in (("map_positions", MAP), ("grid_positions", GRID)):
            positions = sine_position_encoding_2d(size, size, CHANNELS)
            self.register_buffer(name, positions, persistent=False)

    def encode(self, images: Tensor) -> Features:
        """Find the vertices in single frames.

        Args:
            images: (B, 3, 224, 224).

        Returns:
            `tokens` (B, 495, 640) of camera, grid, joints and vertices, and `heatmap` (B, 431).

        Raises:
            ValueError: if the images have another shape.
        """
        if images.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"crops must be (B, 3, {IMAGE_SIZE}, {IMAGE_SIZE}), not {tuple(images.shape)}"
            )
        fine, _, _, coarse = self.backbone(images)
        heatmaps = self.heatmap_layer(fine).flatten(2)  # (B, 431, 56 * 56)
        features = _tokens(self.feature_extract_layer(fine)) + self.map_positions
        grid = _tokens(self.grid_layer(coarse)) + self.grid_positions
        vertices = heatmaps.softmax(dim=2) @ features
        camera = self.cam_layer(vertices.transpose(1, 2)).transpose(1, 2)
        joints = self.joint_token_embed.weight.expand(len(images), -1, -1)
        positions = self.token_position_embed.weight.expand(len(images), -1, -1)
        tokens = torch.cat([camera, grid, joints, vertices], dim=1)
        return {
            TOKENS: torch.cat([tokens, positions], dim=2),
            "heatmap": _on_doubled_map(heatmaps.argmax(dim=2)),
        }

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """Regress the mesh of each window's only frame.

        Args:
            windows: the outputs of `encode`, (B, 1, ...) each.

        Returns:
            See the top of the class.
        """
        heatmap = windows["heatmap"][:, -1]
        return {**self.transformer(windows[TOKENS][:, -1]), "heatmap": heatmap}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, 224, 224) to the output, see the top of the class."""
        return self.decode({k: v.unsqueeze(1) for k, v in self.encode(images).items()})


class MeshRegressor(nn.Module):
    """Four encoders over all tokens, and the heads."""

    visible: Tensor

    def __init__(self, mesh: MeshSampling | None) -> None:
        super().__init__()
        wide, narrow = (WIDE, HEADS, WIDE_FEEDFORWARD), (NARROW, HEADS, NARROW_FEEDFORWARD)
        self.transformer_1 = Encoder(*wide, LAYERS, final_norm=False)
        self.transformer_2 = Encoder(*wide, LAYERS)
        self.transformer_3 = Encoder(*narrow, LAYERS, final_norm=False)
        self.transformer_4 = Encoder(*narrow, LAYERS)
        self.dim_reduce = nn.Linear(WIDE, NARROW)
        self.xyz_regressor = nn.Linear(NARROW, 3)
        self.cam_predictor = nn.Linear(NARROW, 3)
        self.upsample: nn.ModuleList | None = None
        if mesh is not None:
            fine, middle = mesh.upsampling
            self.upsample = nn.ModuleList([MeshUpsample(middle), MeshUpsample(fine)])
            visible = ring_visibility(mesh.coarse_adjacency(), RINGS, OTHERS)
            self.register_buffer("visible", visible, persistent=False)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens (B, 495, 640) to camera, joints and mesh, see `PointHMR`."""
        if self.upsample is None:
            raise RuntimeError(
                "this network was made without a mesh, so it does not know which vertices are "
                "neighbours; create it with mesh_sampling=PATH of mesh_downsampling.npz"
            )
        tokens = self.transformer_1(tokens, visible=self.visible[0])
        tokens = self.dim_reduce(self.transformer_2(tokens, visible=self.visible[1]))
        tokens = self.transformer_3(tokens, visible=self.visible[2])
        tokens = self.transformer_4(tokens, visible=self.visible[3])
        joints, coarse = self.xyz_regressor(tokens[:, -JOINTS - VERTICES :]).split(
            [JOINTS, VERTICES], dim=1
        )
        middle = self.upsample[0](coarse)
        return {
            "pred_cam": self.cam_predictor(tokens[:, 0]),
            "pred_3d_joints": joints,
            "pred_3d_vertices_coarse": coarse,
            "pred_3d_vertices_intermediate": middle,
            "pred_3d_vertices_fine": self.upsample[1](middle),
        }


def ring_visibility(adjacency: Tensor, rings: tuple[int, ...], others: int) -> Tensor:
    """Attention masks in which vertices attend only to vertices that are some edges away.

    All other tokens attend to all tokens, and all tokens attend to them.

    Args:
        adjacency: (V, V) bool with the diagonal.
        rings: for each mask, the largest number of edges.
        others: number of tokens before the vertices.

    Returns:
        (len(rings), others + V, others + V) bool, True where the row may attend to the column.
    """
    step = adjacency.float()
    masks = [torch.linalg.matrix_power(step, ring) > 0 for ring in rings]
    return F.pad(torch.stack(masks), (others, 0, others, 0), value=True)


def _head(inputs: int, channels: int, blocks: int) -> nn.Sequential:
    """Residual blocks and a 1x1 convolution."""
    rest = [BasicBlock(channels, channels) for _ in range(blocks - 1)]
    last = nn.Conv2d(channels, channels, 1, bias=False)
    return nn.Sequential(BasicBlock(inputs, channels), *rest, last)


def _tokens(feature_map: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C)."""
    return feature_map.flatten(2).transpose(1, 2)


def _on_doubled_map(cells: Tensor) -> Tensor:
    """Indices of cells of the 56 x 56 map to those on the map of twice the size.

    A cell becomes four there; the index is that of the upper left one.
    """
    row, column = cells // MAP, cells % MAP
    return 2 * row * (2 * MAP) + 2 * column
