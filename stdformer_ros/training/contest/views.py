"""Each frame as a camera sees it that looks straight at the person: computed once, as it arrives.

The view of a frame depends on that frame and on what is remembered of those before. So that frames
can be compared, the network is told how the view moves. All memories fade with seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.models.default.window_view import SEEN, SPREAD
from stdformer_ros.models.rotations import rotation_to_z

LANDMARKS = len(LANDMARK_NAMES)
TIME_CONSTANTS = (1 / 30, 2 / 30, 4 / 30, 8 / 30)
"""Seconds in which what is remembered of a landmark's place fades to a third."""
SIZE_FADES = (0.3,)
"""Seconds in which the size of the view follows the person's."""
DIRECTION_TIME_CONSTANTS = (0.13, 0.5)
"""Seconds in which directions that the view looked to are forgotten."""
AGE_FADES = 0.2
"""Seconds after which a lost landmark's place is no longer believed."""
NEW_FADES = 0.5
"""Seconds in which a person stops being new."""
LONG_AGO = 10.0
"""Seconds since a landmark was seen that never was."""
STEP_GAIN = 5.0
"""Differences between memories are small numbers; the network sees them so many times larger."""
LANDMARK_FEATURES = 2 + 2 * len(TIME_CONSTANTS) + 2
"""How many of a frame's features are of each landmark; they come first."""
FRAME_FEATURES = LANDMARKS * LANDMARK_FEATURES + 2 * len(DIRECTION_TIME_CONSTANTS) + 4


class ViewMemory(NamedTuple):
    """What is kept of B people between two frames.

    Attributes:
        held: (B, 21, 2) rays, where the landmarks are believed to be.
        seen: (B, 21) bool, which of them were seen in the newest frame.
        ever: (B, 21) bool, which were seen at all.
        since: (B, 21) seconds since each was seen.
        size: (B, 1, 1) logarithm of the view's half size, fading.
        direction: (B, 2, 3) where the view looked, fading.
        places: (B, memories, 42) landmarks in the view, fading.
        known: (B,) seconds since the first frame.
    """

    held: Tensor
    seen: Tensor
    ever: Tensor
    since: Tensor
    size: Tensor
    direction: Tensor
    places: Tensor
    known: Tensor


class SeenFrame(NamedTuple):
    """One frame of B people.

    Attributes:
        turn: (B, 3, 3) from camera coordinates to the frame's view.
        half_size: (B,) tangent of half the view's angle.
        places: (B, 1 + memories, 21, 2) landmarks in the view, about [-1, 1]: of this frame, and
            as remembered for `TIME_CONSTANTS`.
        features: (B, `FRAME_FEATURES`): of each landmark its place, the steps between its memories,
            visibility and age; then motion and size of the view, and of time.
    """

    turn: Tensor
    half_size: Tensor
    places: Tensor
    features: Tensor


class Seen(NamedTuple):
    """What a network may know of sequences of F frames.

    Attributes:
        rays: (B, F, 21, 2) detected x/z, y/z.
        visibility: (B, F, 21) 0..1.
        seconds: (B, F) since the frame before.
        turn, half_size, places, features: of `SeenFrame`, (B, F, ...).
    """

    rays: Tensor
    visibility: Tensor
    seconds: Tensor
    turn: Tensor
    half_size: Tensor
    places: Tensor
    features: Tensor


@torch.no_grad()
def see(rays: Tensor, visibility: Tensor, seconds: Tensor) -> Seen:
    """Whole sequences, frame by frame.

    Args:
        rays: (B, F, 21, 2).
        visibility: (B, F, 21).
        seconds: (B, F).
    """
    memory: ViewMemory | None = None
    frames = []
    for ray, visible, step in zip(
        rays.unbind(1), visibility.unbind(1), seconds.unbind(1), strict=True
    ):
        memory, frame = see_frame(memory, ray, visible, step)
        frames.append(frame)
    stacked = (torch.stack(tensors, dim=1) for tensors in zip(*frames, strict=True))
    return Seen(rays, visibility, seconds, *stacked)


def see_frame(
    memory: ViewMemory | None, rays: Tensor, visibility: Tensor, seconds: Tensor
) -> tuple[ViewMemory, SeenFrame]:
    """The next frame.

    Args:
        memory: of the frames before; None if these are the first.
        rays: (B, 21, 2).
        visibility: (B, 21).
        seconds: (B,) since the frame before.
    """
    seen = visibility > SEEN
    if memory is None:
        held, since = rays, torch.zeros_like(visibility)
        ever, known = seen, torch.zeros_like(seconds)
    else:
        both = (seen & memory.seen)[..., None].float()
        moved = _mean(rays - memory.held, both)  # lost landmarks move along with what is seen
        held = torch.where(seen[..., None], rays, memory.held + moved[:, None])
        since = torch.where(seen, 0.0, memory.since + seconds[:, None])
        ever, known = memory.ever | seen, memory.known + seconds

    counted = (ever | ~ever.any(1, keepdim=True))[..., None].float()
    # one that was never seen lies in the middle of the others
    filled = torch.where(counted > 0, held, _mean(held, counted)[:, None])
    directions = F.normalize(F.pad(filled, (0, 1), value=1.0), dim=-1)
    middle = F.normalize((counted * directions).sum(1), dim=-1)
    turn = rotation_to_z(middle)
    turned = directions @ turn.transpose(1, 2)
    points = turned[..., :2] / turned[..., 2:].clamp(min=0.1)
    squares = (points - _mean(points, counted)[:, None]).square().sum(-1, keepdim=True)
    size = (SPREAD * _mean(squares, counted).sqrt()).clamp(min=1e-3).log()  # (B, 1)

    steady = _faded(memory and memory.size, size, seconds, SIZE_FADES)
    half_size = steady[:, 0].exp()  # (B, 1)
    points = (points / half_size[..., None]).clamp(-4.0, 4.0)
    remembered = _faded(memory and memory.places, points.flatten(1), seconds, TIME_CONSTANTS)
    looked = _faded(memory and memory.direction, middle, seconds, DIRECTION_TIME_CONSTANTS)

    places = torch.cat([points[:, None], remembered.unflatten(-1, (LANDMARKS, 2))], dim=1)
    steps = (STEP_GAIN * places.diff(dim=1)).transpose(1, 2).flatten(2)  # (B, 21, 2 memories)
    age = 1 - torch.exp(-torch.where(counted[..., 0] > 0, since, LONG_AGO) / AGE_FADES)
    of_landmarks = torch.cat([points, steps, visibility[..., None], age[..., None]], dim=-1)
    features = torch.cat(
        [
            of_landmarks.flatten(1),
            (looked @ turn.transpose(1, 2))[..., :2].flatten(1) / half_size,
            steady[:, 0] + 2.0,
            STEP_GAIN * (size - steady[:, 0]),
            (30 * seconds[:, None]).clamp(0.1, 30).log(),
            torch.exp(-known[:, None] / NEW_FADES),
        ],
        dim=-1,
    )
    memory = ViewMemory(held, seen, ever, since, steady, looked, remembered, known)
    return memory, SeenFrame(turn, half_size[:, 0], places, features)


def _faded(
    before: Tensor | None, values: Tensor, seconds: Tensor, memories: tuple[float, ...]
) -> Tensor:
    """Means over the past that fade, as if the first frame had always been.

    Args:
        before: (B, memories, N) up to the frame before.
        values: (B, N) of this frame.
        seconds: (B,) since the frame before.
        memories: seconds in which they fade to a third.
    """
    if before is None:
        return values[:, None].expand(-1, len(memories), -1)
    keep = torch.exp(-seconds[:, None] / torch.tensor(memories, device=values.device))
    return torch.lerp(values[:, None], before, keep[..., None])


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """(B, 21, N) over the landmarks, weighted (B, 21, 1): (B, N)."""
    return (weight * values).sum(1) / weight.sum(1).clamp(min=1e-6)
