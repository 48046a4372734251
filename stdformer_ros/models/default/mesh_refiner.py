"""The vertex transformer of the default estimator: what a first mesh still lacks.

Encoder, decoder, tokens and mask are FastMETRO's, only narrower and on the 108-vertex level. The
queries start from the first mesh and from the window encoder's feature, and the heads start at
zero, so that an untrained refiner changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.models.default.keypoint_front_end import CHANNELS, MAP_SIZE
from stdformer_ros.models.published.position_encoding import sine_position_encoding_2d
from stdformer_ros.models.published.transformer import Transformer, mesh_visibility

WIDTH = 128
HEADS = 4
FEEDFORWARD = 256
LEVEL = 108

TOKEN_JOINTS = tuple(
    JOINT_NAMES.index(name)
    for name in (
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "neck",
        "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
        "right_wrist",
    )
)  # fmt: skip
"""The 14 joints that have a token of their own."""


class Refinement(NamedTuple):
    """What to add to the first answer.

    Attributes:
        joints: (B, 14, 3) metres, in the order of `TOKEN_JOINTS`.
        vertices: (B, 108, 3) metres.
        camera: (B, 3) to log s, tx, ty.
    """

    joints: Tensor
    vertices: Tensor
    camera: Tensor


class MeshRefiner(nn.Module):
    """Reads the disentangled map and the first mesh.

    Args:
        feature_width: of the window encoder's feature.
        layers: of encoder and of decoder.
    """

    visible: Tensor
    positions: Tensor

    def __init__(self, feature_width: int, layers: int = 1) -> None:
        super().__init__()
        self.image = nn.Linear(CHANNELS, WIDTH)
        self.feature = nn.Linear(feature_width, 2 * WIDTH)
        self.place = nn.Linear(3, WIDTH)
        self.token_embed = nn.Embedding(len(TOKEN_JOINTS) + LEVEL, WIDTH)
        self.transformer = Transformer(WIDTH, HEADS, FEEDFORWARD, layers, layers, dropout=0.0)
        self.xyz = nn.Linear(WIDTH, 3)
        self.camera = nn.Linear(WIDTH, 3)
        for head in (self.xyz, self.camera):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        adjacency = torch.zeros(LEVEL, LEVEL)
        faces = torch.from_numpy(BodyModel(LEVEL).faces).long()
        for a, b in ((0, 1), (1, 2), (2, 0)):
            adjacency[faces[:, a], faces[:, b]] = 1.0
            adjacency[faces[:, b], faces[:, a]] = 1.0
        self.register_buffer(
            "visible", mesh_visibility(adjacency, len(TOKEN_JOINTS)), persistent=False
        )
        self.register_buffer(
            "positions", sine_position_encoding_2d(MAP_SIZE, MAP_SIZE, WIDTH), persistent=False
        )

    def forward(
        self, features: Tensor, summary: Tensor, joints: Tensor, mesh: Tensor
    ) -> Refinement:
        """Refine.

        Args:
            features: (B, 64, 7, 7), the newest frame's map after SD and TD.
            summary: (B, feature_width), the window encoder's feature.
            joints: (B, 24, 3) and
            mesh: (B, 108, 3) of the first answer, metres, in the view's coordinates.
        """
        image = self.image(features.flatten(2).transpose(1, 2))
        camera, start = self.feature(summary)[:, None].chunk(2, dim=-1)
        places = torch.cat([joints[:, TOKEN_JOINTS], mesh], dim=1)
        queries = self.token_embed.weight + self.place(places) + start
        camera, _, tokens = self.transformer(image, camera, queries, self.positions, self.visible)
        moves = self.xyz(tokens)
        return Refinement(
            moves[:, : len(TOKEN_JOINTS)], moves[:, len(TOKEN_JOINTS) :], self.camera(camera)[:, 0]
        )
