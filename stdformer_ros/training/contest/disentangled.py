"""Candidate (d): the paper's SD and TD in the main path of the recurrent candidate.

A frame's landmarks are drawn on a map of 7 x 7 cells once, when it arrives; SD acts on the newest
map and TD on the newest eight. What they leave of it goes into the answer beside what the
recurrence remembers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stdformer_ros.models.default.network import CHANNELS, MAP_SIZE, SPOT, TEMPORAL_FRAMES
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.training.contest.answer import AnswerHead, Answers, Asked, Candidate, Step
from stdformer_ros.training.contest.recurrent import FrameEncoder
from stdformer_ros.training.contest.views import (
    FRAME_FEATURES,
    LANDMARKS,
    Seen,
    ViewMemory,
    see_frame,
)

MAP_FEATURES = 256
"""Numbers that are kept of the disentangled map."""


class DrawnLandmarks(nn.Module):
    """Landmarks as soft spots on a small map, mixed by convolutions."""

    cells: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(LANDMARKS, CHANNELS, 1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
        )
        centres = (torch.arange(MAP_SIZE) + 0.5) * (2.0 / MAP_SIZE) - 1.0
        self.register_buffer("cells", centres, persistent=False)

    def forward(self, points: Tensor, visibility: Tensor) -> Tensor:
        """(N, 21, 2) in the view and (N, 21) -> (N, 64, 7, 7)."""
        near = torch.exp(-0.5 * ((points[..., None] - self.cells) / SPOT).square())
        across, down = near.unbind(2)
        spots = torch.einsum("nly,nlx->nlyx", down, across) * visibility[..., None, None]
        return self.mix(spots)


class DisentangledCandidate(Candidate):
    """See the top of the file.

    Args:
        width: of the frames' features.
        answer_width: of the layers that answer.
        blocks: residual blocks before the first answer.
        disentangle: whether there are SD and TD, or the newest map as it is.
    """

    def __init__(
        self,
        width: int = 512,
        answer_width: int = 768,
        blocks: int = 2,
        disentangle: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = FrameEncoder(width)
        self.draw = DrawnLandmarks()
        self.disentangling = SpatioTemporalDisentangling(
            CHANNELS, frames=TEMPORAL_FRAMES, spatial=disentangle, temporal=disentangle
        )
        self.map = nn.Linear(CHANNELS * MAP_SIZE**2, MAP_FEATURES)
        inputs = width + MAP_FEATURES + FRAME_FEATURES
        self.head = AnswerHead(inputs, answer_width, blocks)

    def forward(self, seen: Seen, asked: Asked) -> Answers:
        """See `Candidate`."""
        feature = asked.of(self.encoder(seen)).float()
        frames = seen.seconds.shape[1]
        ages = torch.arange(TEMPORAL_FRAMES - 1, -1, -1, device=asked.frame.device)
        wanted = (asked.frame[:, None] - ages).clamp(min=0) + asked.row[:, None] * frames
        drawn, place = wanted.unique(return_inverse=True)
        maps = self.draw(
            seen.places[:, :, 0].flatten(0, 1)[drawn], seen.visibility.flatten(0, 1)[drawn]
        )
        newest = self.disentangling.newest(maps[place])
        told = self.map(newest.flatten(1)).float()
        feature = torch.cat([feature, told, asked.of(seen.features)], dim=-1)
        return self.head.answer(feature, seen, asked)

    def step(
        self,
        memory: tuple[ViewMemory, list[Tensor], Tensor] | None,
        rays: Tensor,
        visibility: Tensor,
        seconds: Tensor,
    ) -> Step:
        """See `Candidate`; the maps of the newest eight frames are remembered, too."""
        view, states, maps = memory or (None, None, None)
        view, frame = see_frame(view, rays, visibility, seconds)
        states, feature = self.encoder.step(states, frame.features, seconds)
        drawn = self.draw(frame.places[:, 0], visibility)[:, None]
        if maps is None:
            maps = drawn.repeat(1, TEMPORAL_FRAMES, 1, 1, 1)
        else:
            maps = torch.cat([maps[:, 1:], drawn], dim=1)
        told = self.map(self.disentangling.newest(maps).flatten(1))
        feature = torch.cat([feature, told, frame.features], dim=-1)
        return Step((view, states, maps), self.head.answer_frame(feature, frame, visibility))
