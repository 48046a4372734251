"""Candidate (c): a causal spatio-temporal transformer over landmark tokens, taught in every frame.

SD is attention among the tokens of a frame, TD attention of each token over its past, whose keys
and values are those of frames that were encoded before. How long ago that was counts in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.training.contest.answer import AnswerHead, Answers, Asked, Candidate, Step
from stdformer_ros.training.contest.views import (
    FRAME_FEATURES,
    LANDMARK_FEATURES,
    LANDMARKS,
    Seen,
    ViewMemory,
    see_frame,
)

PAST = 1.6
"""Seconds that TD looks back."""
CACHED = 96
"""Frames at most whose keys and values are kept: 1.6 seconds at 60 images a second."""
HEADS = 4
SLOPES = (0.0, 2.0, 6.0, 20.0)
"""How fast a head's attention falls before any training, in logits per second of age."""


class Attention(nn.Module):
    """Pre-norm self-attention and a residual MLP, over groups of n tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(G, n, width) -> the same; bias (G or 1, heads, n, n) is added to the logits."""
        query, key, value = self.parts(x)
        return self.attend(x, query, key, value, bias)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (G, heads, n, width / heads)."""
        parts = self.inputs(self.norm(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        return query, key, value

    def attend(
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> Tensor:
        """What becomes of tokens (G, n, width) that look at m keys; bias (.., heads, n, m)."""
        # for so few and so narrow tokens several times as fast as torch's own attention
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        if bias is not None:
            logits = logits + bias
        mixed = logits.softmax(dim=-1).to(value.dtype) @ value
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class TransformerMemory(NamedTuple):
    """What is kept between two frames.

    Attributes:
        view: see there.
        ages: (B, m) seconds since each of the cached frames.
        keys, values: for each TD, of all tokens, (B * 22, heads, m, width / heads).
    """

    view: ViewMemory
    ages: Tensor
    keys: list[Tensor]
    values: list[Tensor]


class TransformerCandidate(Candidate):
    """See the top of the file.

    Args:
        width: of the tokens.
        layers: pairs of SD and TD.
        answer_width: of the layers that answer.
        blocks: residual blocks before the first answer.
    """

    def __init__(
        self, width: int = 64, layers: int = 2, answer_width: int = 768, blocks: int = 2
    ) -> None:
        super().__init__()
        self._rest = FRAME_FEATURES - LANDMARKS * LANDMARK_FEATURES
        self.landmark = nn.Linear(LANDMARK_FEATURES, width)
        self.view = nn.Linear(self._rest, width)
        self.names = nn.Parameter(0.5 * torch.randn(LANDMARKS + 1, width))
        self.spatial = nn.ModuleList(Attention(width) for _ in range(layers))
        self.temporal = nn.ModuleList(Attention(width) for _ in range(layers))
        self.slopes = nn.Parameter(torch.tensor(SLOPES).repeat(layers, 1))
        self.head = AnswerHead((LANDMARKS + 1) * width + FRAME_FEATURES, answer_width, blocks)

    def _tokens(self, features: Tensor) -> Tensor:
        """(..., features) -> (..., 22, width)."""
        of_landmarks = features[..., : -self._rest].unflatten(-1, (LANDMARKS, -1))
        view = self.view(features[..., -self._rest :]).unsqueeze(-2)
        return torch.cat([self.landmark(of_landmarks), view], dim=-2) + self.names

    def encode(self, seen: Seen) -> Tensor:
        """(B, F, 22, width): the tokens of each frame, which know its past."""
        people, frames = seen.seconds.shape
        x = self._tokens(seen.features)
        time = seen.seconds.cumsum(1)
        age = time[:, :, None] - time[:, None]  # (B, F, F): row frame sees column frame
        future = torch.ones(frames, frames, dtype=torch.bool, device=x.device).triu(1)
        hidden = torch.where(future | (age > PAST), -torch.inf, 0.0)
        for spatial, temporal, slopes in zip(self.spatial, self.temporal, self.slopes, strict=True):
            x = spatial(x.flatten(0, 1)).unflatten(0, (people, frames))
            bias = hidden[:, None] - slopes[:, None, None] * age.clamp(min=0.0)[:, None]
            bias = bias.to(x.dtype).repeat_interleave(x.shape[2], dim=0)
            x = temporal(x.transpose(1, 2).flatten(0, 1), bias)
            x = x.unflatten(0, (people, -1)).transpose(1, 2)
        return x

    def forward(self, seen: Seen, asked: Asked) -> Answers:
        """See `Candidate`."""
        feature = asked.of(self.encode(seen)).flatten(1)
        feature = torch.cat([feature.float(), asked.of(seen.features)], dim=-1)
        return self.head.answer(feature, seen, asked)

    def step(
        self,
        memory: TransformerMemory | None,
        rays: Tensor,
        visibility: Tensor,
        seconds: Tensor,
    ) -> Step:
        """See `Candidate`."""
        view, frame = see_frame(memory and memory.view, rays, visibility, seconds)
        x = self._tokens(frame.features)
        people, tokens, width = x.shape
        ages = torch.zeros_like(seconds)[:, None]
        if memory is not None:
            ages = torch.cat([memory.ages + seconds[:, None], ages], dim=1)[:, -CACHED:]
        hidden = torch.where(ages > PAST, -torch.inf, 0.0)
        keys, values = [], []
        for layer, (spatial, temporal) in enumerate(zip(self.spatial, self.temporal, strict=True)):
            assert isinstance(temporal, Attention)
            x = spatial(x).reshape(-1, 1, width)
            query, key, value = temporal.parts(x)
            if memory is not None:
                key = torch.cat([memory.keys[layer], key], dim=2)[:, :, -CACHED:]
                value = torch.cat([memory.values[layer], value], dim=2)[:, :, -CACHED:]
            bias = hidden[:, None] - self.slopes[layer][:, None] * ages[:, None]  # (B, heads, m)
            bias = bias.repeat_interleave(tokens, dim=0)[:, :, None]
            x = temporal.attend(x, query, key, value, bias).unflatten(0, (people, tokens))[:, :, 0]
            keys.append(key)
            values.append(value)
        feature = torch.cat([x.flatten(1), frame.features], dim=-1)
        answers = self.head.answer_frame(feature, frame, visibility)
        return Step(TransformerMemory(view, ages, keys, values), answers)
