"""The pre-norm transformer of FastMETRO (Cho et al., ECCV 2022), batch first.

The encoder mixes a camera token with the image's tokens. The decoder's queries, tokens of joints
and mesh vertices, attend to each other as a mask allows, and to the encoded image. Names of
parameters are those of the published checkpoints.

Order: attention, the layers, encoder and decoder, the whole transformer, the decoder's mask, and
the sine position encodings. Masks are boolean with True where the token of the row may attend to
the token of the column.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 10000.0
"""Ratio of the longest to the shortest period of the position encodings."""


class Attention(nn.Module):
    """Multi-head attention with the parameters of `nn.MultiheadAttention`, fused where possible.

    Args:
        width: size of the tokens, a multiple of `heads`.
        heads: number of attention heads.
        dropout: dropout of the attention weights in training.

    Raises:
        ValueError: if the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention: a width of {width} cannot be split into {heads} heads")
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, width).
            key: (B, K, width).
            value: (B, K, width).
            visible: (Q, K) bool, True where the query may attend to the key; None: everywhere.

        Returns:
            (B, Q, width).
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, w, b).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Tensor, positions: Tensor | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """Mix the tokens.

        Args:
            tokens: (B, N, width).
            positions: broadcastable to (B, N, width), added to queries and keys only.
            visible: (N, N) bool, see the top of the file.

        Returns:
            (B, N, width).
        """
        x = self.norm1(tokens)
        placed = x if positions is None else x + positions
        tokens = tokens + self.dropout(self.self_attn(placed, placed, x, visible))
        x = self.dropout(F.relu(self.linear1(self.norm2(tokens))))
        return tokens + self.dropout(self.linear2(x))


class DecoderLayer(nn.Module):
    """Self-attention of the queries, attention to the memory, feed-forward; pre-norm."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.multihead_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        positions: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Let the queries attend to each other and to the memory.

        Args:
            queries: (B, Q, width).
            memory: (B, M, width).
            positions: broadcastable to (B, M, width), added to the memory's keys only.
            visible: (Q, Q) bool for the queries among themselves.

        Returns:
            (B, Q, width).
        """
        x = self.norm1(queries)
        queries = queries + self.dropout(self.self_attn(x, x, x, visible))
        keys = memory if positions is None else memory + positions
        x = self.multihead_attn(self.norm2(queries), keys, memory)
        queries = queries + self.dropout(x)
        x = self.dropout(F.relu(self.linear1(self.norm3(queries))))
        return queries + self.dropout(self.linear2(x))


class Encoder(nn.Module):
    """A stack of `EncoderLayer`, and a last normalisation unless `final_norm` is False."""

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        layers: int,
        dropout: float = 0.1,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if final_norm else nn.Identity()

    def forward(
        self, tokens: Tensor, positions: Tensor | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """(B, N, width) -> (B, N, width); see `EncoderLayer`."""
        for layer in self.layers:
            tokens = layer(tokens, positions, visible)
        return self.norm(tokens)


class Decoder(nn.Module):
    """A stack of `DecoderLayer` with a last normalisation."""

    def __init__(
        self, width: int, heads: int, feedforward: int, layers: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        positions: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """(B, Q, width) and (B, M, width) -> (B, Q, width); see `DecoderLayer`."""
        for layer in self.layers:
            queries = layer(queries, memory, positions, visible)
        return self.norm(queries)


class Transformer(nn.Module):
    """Encoder over camera and image tokens, decoder over joint and vertex tokens.

    Args:
        width: size of all tokens.
        heads: number of heads of every attention.
        feedforward: width inside the feed-forward layers.
        encoder_layers, decoder_layers: numbers of layers.
        dropout: dropout in training.
    """

    def __init__(
        self,
        width: int = 512,
        heads: int = 8,
        feedforward: int = 2048,
        encoder_layers: int = 3,
        decoder_layers: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(width, heads, feedforward, encoder_layers, dropout)
        self.decoder = Decoder(width, heads, feedforward, decoder_layers, dropout)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        image: Tensor,
        camera: Tensor,
        queries: Tensor,
        positions: Tensor,
        visible: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode camera and image tokens, decode the queries from the encoded image.

        Args:
            image: (B, M, width) tokens of the feature map.
            camera: (B, 1, width).
            queries: (B, Q, width) joint and vertex tokens.
            positions: (M, width) or (B, M, width) of the image tokens. The camera token has none.
            visible: (Q, Q) bool, which queries may attend to which, see `mesh_visibility`.

        Returns:
            camera (B, 1, width), image (B, M, width) and queries (B, Q, width), all normalised.
        """
        placed = F.pad(positions, (0, 0, 1, 0))  # a zero position for the camera token
        encoded = self.encoder(torch.cat([camera, image], dim=1), placed)
        camera, image = encoded[:, :1], encoded[:, 1:]
        return camera, image, self.decoder(queries, image, positions, visible)


def mesh_visibility(adjacency: Tensor, joints: int) -> Tensor:
    """The decoder's mask.

    Joints attend to all tokens, and all tokens attend to joints. Vertices attend to themselves and
    to their neighbours on the mesh.

    Args:
        adjacency: (V, V), non-zero where two vertices share an edge; the diagonal is added here.
        joints: number of joint tokens before the vertices.

    Returns:
        (joints + V, joints + V) bool, True where the row may attend to the column.
    """
    vertices = adjacency.shape[0]
    neighbours = (adjacency != 0) | torch.eye(vertices, dtype=torch.bool, device=adjacency.device)
    return F.pad(neighbours, (joints, 0, joints, 0), value=True)


def sine_position_encoding_2d(height: int, width: int, channels: int) -> Tensor:
    """The encoding of DETR (Carion et al., ECCV 2020): half the channels encode y, half x.

    Coordinates count from 1 and are scaled so that the last row and column are 2 pi.

    Args:
        height: of the feature map.
        width: of the feature map.
        channels: a multiple of 4.

    Returns:
        (height * width, channels), row by row.
    """
    half = channels // 2
    pairs = torch.arange(half, dtype=torch.float32).div(2, rounding_mode="floor")
    periods = TEMPERATURE ** (2 * pairs / half)

    def along(length: int) -> Tensor:
        steps = torch.arange(1, length + 1, dtype=torch.float32)
        angles = (steps / (length + 1e-6) * 2 * math.pi).unsqueeze(1) / periods
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)

    rows = along(height).unsqueeze(1).expand(height, width, half)
    columns = along(width).unsqueeze(0).expand(height, width, half)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def sine_position_encoding_1d(length: int, channels: int) -> Tensor:
    """The encoding of "Attention Is All You Need" (2017): (length, channels), sine, cosine, ..."""
    steps = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    even = torch.arange(0, channels, 2, dtype=torch.float32)
    angles = steps * torch.exp(even * (-math.log(TEMPERATURE) / channels))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :channels]
