"""From a feature of each asked frame to a body, with two looks at the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.models.default.window_encoder import (
    BETAS,
    CORRECTIONS,
    JOINTS,
    BodyCorrector,
    BodyParameters,
    RawParameters,
    ResidualBlock,
)
from stdformer_ros.training.contest.views import TIME_CONSTANTS, Seen, SeenFrame


class Asked(NamedTuple):
    """Which frames of which sequences are to be answered for: indices (N,) each."""

    row: Tensor
    frame: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Those of sequences (B, F, ...): (N, ...)."""
        return values[self.row, self.frame]


class Answers(NamedTuple):
    """One body for each asked frame.

    Attributes:
        parameters: in the coordinates of the view.
        turn: (N, 3, 3) from camera coordinates to the view's.
        half_size: (N,) tangent of half the view's angle.
    """

    parameters: BodyParameters
    turn: Tensor
    half_size: Tensor


class Step(NamedTuple):
    """What comes of a new frame: what to remember for the next, and the answers (B)."""

    memory: Any
    answers: Answers


class Candidate(nn.Module, ABC):
    """A network of the contest: causal, it may look at an asked frame and at what came before."""

    @abstractmethod
    def forward(self, seen: Seen, asked: Asked) -> Answers:
        """The bodies in the asked frames."""

    @abstractmethod
    def step(self, memory: Any, rays: Tensor, visibility: Tensor, seconds: Tensor) -> Step:
        """The bodies in a new frame of B people: the same as `forward` for it.

        Args:
            memory: of the frames before, from the step before; None at the first.
            rays: (B, 21, 2).
            visibility: (B, 21) 0..1.
            seconds: (B,) since the frame before.
        """


class AnswerHead(nn.Module):
    """Residual blocks, linear heads, two corrections.

    Args:
        inputs: size of the feature.
        width: of the hidden layers.
        blocks: residual blocks before the first answer.
    """

    def __init__(self, inputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.rotations = nn.Linear(width, JOINTS * 6)
        self.betas = nn.Linear(width, BETAS)
        self.camera = nn.Linear(width, 3)
        self.confidence = nn.Linear(width, JOINTS)
        self.corrector = BodyCorrector(width, len(TIME_CONSTANTS) + 1)
        self._start_at_rest()

    def _start_at_rest(self) -> None:
        """Begin with a standing person who faces the camera."""
        for head in (self.rotations, self.betas, self.camera):
            nn.init.normal_(head.weight, std=1e-3)
            nn.init.zeros_(head.bias)
        upright = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(JOINTS, 1)
        upright[0, 4] = -1.0  # y points down in camera coordinates
        with torch.no_grad():
            self.rotations.bias.copy_(upright.flatten())

    def forward(
        self, feature: Tensor, places: Tensor, visible: Tensor, half_size: Tensor
    ) -> BodyParameters:
        """Answer.

        Args:
            feature: (N, inputs).
            places: (N, 1 + memories, 21, 2), where the landmarks are in the view.
            visible: (N, 21) 0..1.
            half_size: (N,).
        """
        x = self.input(feature)
        for block in self.blocks:
            x = block(x)
        feature = self.norm(x)
        raw = RawParameters(
            self.rotations(feature).float().unflatten(-1, (JOINTS, 6)),
            self.betas(feature).float(),
            self.camera(feature).float(),
        )
        for _ in range(CORRECTIONS):
            raw, feature = self.corrector(raw, feature, places, visible, half_size)
        return BodyParameters(
            raw.rotations,
            raw.betas,
            raw.weak_perspective,
            self.confidence(feature).float(),
            feature.float(),
        )

    def answer(self, feature: Tensor, seen: Seen, asked: Asked) -> Answers:
        """The same from what is seen in the asked frames and a feature (N, inputs) of each."""
        half_size = asked.of(seen.half_size)
        parameters = self(feature, asked.of(seen.places), asked.of(seen.visibility), half_size)
        return Answers(parameters, asked.of(seen.turn), half_size)

    def answer_frame(self, feature: Tensor, frame: SeenFrame, visibility: Tensor) -> Answers:
        """The same for a new frame of B people."""
        parameters = self(feature, frame.places, visibility, frame.half_size)
        return Answers(parameters, frame.turn, frame.half_size)
