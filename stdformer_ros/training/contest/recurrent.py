"""Candidate (b): a gated linear recurrence in seconds, taught in every frame.

Each unit h of a frame forgets at a rate of its own, which what is seen can quicken or slow down:
h = a h' + (1 - a) v with a = exp(-seconds * rate), v and rate linear in the frame's feature. Frames
need no order to be encoded in but for this one line.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stdformer_ros.models.default.window_encoder import ResidualBlock
from stdformer_ros.training.contest.answer import AnswerHead, Answers, Asked, Candidate, Step
from stdformer_ros.training.contest.views import FRAME_FEATURES, Seen, ViewMemory, see_frame

REMEMBERED = (0.03, 1.5)
"""Seconds in which the units forget before any training."""


class TimedRecurrence(nn.Module):
    """Pre-norm: x + out(memory of norm(x)).

    Args:
        width: units.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        low, high = REMEMBERED
        seconds = low * (high / low) ** torch.rand(width)
        with torch.no_grad():
            self.inputs.weight[width:] *= 0.1
            self.inputs.bias[width:] = (1 / seconds).expm1().log().clamp(max=40.0)

    def forward(self, x: Tensor, seconds: Tensor) -> Tensor:
        """(B, F, width), (B, F) since the frame before -> (B, F, width)."""
        value, keep = self._taken(x, seconds)
        return x + self.out(remembered(value, keep))

    def step(self, state: Tensor | None, x: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
        """The state (B, width) after a new frame (B, width), and what becomes of the frame."""
        value, keep = self._taken(x, seconds)
        state = value if state is None else torch.lerp(value, state, keep)
        return state, x + self.out(state)

    def _taken(self, x: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
        """What a frame says, and how much of what was before it is kept: (..., width) each."""
        value, rate = self.inputs(self.norm(x)).float().chunk(2, dim=-1)
        return value, torch.exp(-F.softplus(rate) * seconds[..., None])


def remembered(value: Tensor, keep: Tensor) -> Tensor:
    """Means over the past, (B, F, N), of which each frame keeps a part (B, F, N).

    What was before the first frame counts as what is seen in it.
    """
    fresh = (1 - keep) * value
    state = value[:, 0]
    states = [state]
    for kept, new in zip(keep.unbind(1)[1:], fresh.unbind(1)[1:], strict=True):
        state = torch.addcmul(new, kept, state)
        states.append(state)
    return torch.stack(states, dim=1)


class FrameEncoder(nn.Module):
    """Features of frames that remember what came before.

    Args:
        width: of the features.
        layers: recurrences, with a residual block between two of them.
    """

    def __init__(self, width: int, layers: int = 2) -> None:
        super().__init__()
        self.input = nn.Linear(FRAME_FEATURES, width)
        self.memories = nn.ModuleList(TimedRecurrence(width) for _ in range(layers))
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(layers - 1))
        self.norm = nn.LayerNorm(width)

    def forward(self, seen: Seen) -> Tensor:
        """(B, F, width)."""
        x = self.input(seen.features)
        for index, memory in enumerate(self.memories):
            if index:
                x = self.blocks[index - 1](x)
            x = memory(x, seen.seconds)
        return self.norm(x)

    def step(
        self, states: list[Tensor] | None, features: Tensor, seconds: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """States of the recurrences after a new frame (B, features), and its feature (B, width)."""
        x = self.input(features)
        after = []
        for index, memory in enumerate(self.memories):
            if index:
                x = self.blocks[index - 1](x)
            assert isinstance(memory, TimedRecurrence)
            state, x = memory.step(states[index] if states else None, x, seconds)
            after.append(state)
        return after, self.norm(x)


class RecurrentCandidate(Candidate):
    """See the top of the file.

    Args:
        width: of the frames' features.
        answer_width: of the layers that answer.
        blocks: residual blocks before the first answer.
        layers: recurrences.
    """

    def __init__(
        self, width: int = 512, answer_width: int = 768, blocks: int = 2, layers: int = 2
    ) -> None:
        super().__init__()
        self.encoder = FrameEncoder(width, layers)
        self.head = AnswerHead(width + FRAME_FEATURES, answer_width, blocks)

    def forward(self, seen: Seen, asked: Asked) -> Answers:
        """See `Candidate`."""
        feature = asked.of(self.encoder(seen))
        feature = torch.cat([feature.float(), asked.of(seen.features)], dim=-1)
        return self.head.answer(feature, seen, asked)

    def step(
        self,
        memory: tuple[ViewMemory, list[Tensor]] | None,
        rays: Tensor,
        visibility: Tensor,
        seconds: Tensor,
    ) -> Step:
        """See `Candidate`."""
        view, states = memory or (None, None)
        view, frame = see_frame(view, rays, visibility, seconds)
        states, feature = self.encoder.step(states, frame.features, seconds)
        feature = torch.cat([feature, frame.features], dim=-1)
        return Step((view, states), self.head.answer_frame(feature, frame, visibility))
