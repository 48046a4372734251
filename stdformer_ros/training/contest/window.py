"""The window encoder as a candidate, its successor, and how candidates start from its weights."""

from __future__ import annotations

import torch
from safetensors import safe_open
from torch import Tensor, nn

from stdformer_ros.assets import asset
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.models.default.window_encoder import WindowEncoder
from stdformer_ros.models.default.window_view import view_window
from stdformer_ros.training.contest.answer import AnswerHead, Answers, Asked, Candidate, Step
from stdformer_ros.training.contest.views import (
    FRAME_FEATURES,
    LANDMARK_FEATURES,
    LANDMARKS,
    STEP_GAIN,
    TIME_CONSTANTS,
    Seen,
    ViewMemory,
    see_frame,
)

_SIZE = FRAME_FEATURES - 4
"""Index of the feature of a frame that gives the size of its view."""


class WindowCandidate(Candidate):
    """Candidate (a): the window encoder as it ships. It sees a window of frames, and no seconds.

    Each window is rotated and scaled as a whole, so that nothing of it is kept for the next frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = WindowEncoder(WINDOW, len(LANDMARK_NAMES))

    def forward(self, seen: Seen, asked: Asked) -> Answers:
        """See `Candidate`; where there are too few frames the first stands for those before it."""
        ages = torch.arange(WINDOW - 1, -1, -1, device=asked.frame.device)
        frames = (asked.frame[:, None] - ages).clamp(min=0)
        rays = seen.rays[asked.row[:, None], frames]
        visibility = seen.visibility[asked.row[:, None], frames]
        return self._answer(rays, visibility)

    def step(
        self,
        memory: tuple[Tensor, Tensor] | None,
        rays: Tensor,
        visibility: Tensor,
        seconds: Tensor,
    ) -> Step:
        """See `Candidate`; what is remembered is the window."""
        if memory is None:
            windows = (
                rays[:, None].repeat(1, WINDOW, 1, 1),
                visibility[:, None].repeat(1, WINDOW, 1),
            )
        else:
            windows = (
                torch.cat([memory[0][:, 1:], rays[:, None]], dim=1),
                torch.cat([memory[1][:, 1:], visibility[:, None]], dim=1),
            )
        return Step(windows, self._answer(*windows))

    def _answer(self, rays: Tensor, visibility: Tensor) -> Answers:
        """For the newest frames of windows (N, 24, 21, 2) and (N, 24, 21)."""
        view = view_window(rays, visibility)
        parameters = self.encoder(view.points, visibility, view.half_size)
        return Answers(parameters, view.turn, view.half_size)


class FadingCandidate(Candidate):
    """Candidate (b1): the window encoder's successor, which encodes a frame once and knows seconds.

    It remembers exponential means of the landmarks over seconds; a residual MLP answers from them.
    A new frame costs only that MLP, and any frame of a sequence can be taught.

    Args:
        width: of the hidden layers.
        blocks: residual blocks before the first answer.
    """

    def __init__(self, width: int = 1024, blocks: int = 3) -> None:
        super().__init__()
        self.head = AnswerHead(FRAME_FEATURES, width, blocks)

    def forward(self, seen: Seen, asked: Asked) -> Answers:
        """See `Candidate`."""
        return self.head.answer(asked.of(seen.features), seen, asked)

    def step(
        self, memory: ViewMemory | None, rays: Tensor, visibility: Tensor, seconds: Tensor
    ) -> Step:
        """See `Candidate`."""
        memory, frame = see_frame(memory, rays, visibility, seconds)
        return Step(memory, self.head.answer_frame(frame.features, frame, visibility))


def shipped() -> WindowCandidate:
    """The window encoder that ships."""
    model = WindowCandidate()
    prefix = "window_encoder."
    with safe_open(asset("stdformer_s_keypoints.safetensors"), "pt") as file:
        names = [name for name in list(file.keys()) if name.startswith(prefix)]
        weights = {name[len(prefix) :]: file.get_tensor(name).float() for name in names}
    model.encoder.load_state_dict(weights)
    return model.eval()


@torch.no_grad()
def inherit(head: AnswerHead, shipped: WindowEncoder) -> None:
    """Start a candidate with the weights of the shipped window encoder.

    Both see landmarks as exponential means; at 30 images a second a candidate's features are the
    shipped network's except for how a view is placed. The layers that answer take its weights; the
    weights of what is new (the memory of a frame encoder) are zero.

    Args:
        head: whose inputs end with a frame's features; as wide and as deep as the shipped network.
        shipped: of as many memories.
    """
    head.input.weight.zero_()
    head.input.weight[:, -FRAME_FEATURES:] = shipped.input.weight @ _as_shipped()
    head.input.bias.copy_(shipped.input.bias)
    for name in ("blocks", "norm", "rotations", "betas", "camera", "confidence"):
        getattr(head, name).load_state_dict(getattr(shipped, name).state_dict())
    ours, theirs = head.corrector, shipped.corrector
    for name in ("feature", "blocks", "norm", "change"):
        getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
    _copy_with_more_places(ours.input, theirs.input)


def _as_shipped() -> Tensor:
    """The shipped network's inputs as linear functions (inputs, `FRAME_FEATURES`) of a frame's."""
    count = len(TIME_CONSTANTS)
    matrix = torch.zeros(count * LANDMARKS * 3 + 1, FRAME_FEATURES)
    for memory in range(count):
        base = memory * LANDMARKS * 3
        for landmark in range(LANDMARKS):
            begin = landmark * LANDMARK_FEATURES
            for axis in range(2):
                row = base + 2 * landmark + axis
                matrix[row, begin + axis] = 1.0
                # a place, and the steps from it to the memory that is meant
                for step in range(memory + 1):
                    matrix[row, begin + 2 + 2 * step + axis] = 1 / STEP_GAIN
            visibility = begin + 2 + 2 * count
            matrix[base + 2 * LANDMARKS + landmark, visibility] = 1.0
    matrix[-1, _SIZE] = 1.0
    return matrix


def _copy_with_more_places(ours: nn.Linear, theirs: nn.Linear) -> None:
    """The corrector's input, which now sees the places of the frame itself, too."""
    more = 2 * LANDMARKS
    ours.weight[:, :more] = 0.0
    ours.weight[:, more:] = theirs.weight
    ours.bias.copy_(theirs.bias)
