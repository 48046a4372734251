"""The contest's protocol: which frames are taught, what an answer is worth, how far it is off."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.body.body_landmarks import BodyLandmarks
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.metrics import aligned_position_error, mean_position_error
from stdformer_ros.models.default.window_encoder import NEAR
from stdformer_ros.models.default.window_view import project
from stdformer_ros.training.contest.answer import Answers, Asked, Candidate
from stdformer_ros.training.contest.data import Batch

TRIPLE = 3
"""Neighbouring frames, for the losses on motion."""
FRAME_SECONDS = 1 / 30
"""Velocities are counted per frame at 30 Hz, as everywhere in the project."""
FASTEST = 1 / 60
"""Seconds: frames that are nearer count as so far apart, or their noise would be all."""
JUDGED = 8
"""The last frames of each sequence are judged."""
JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head",
)  # fmt: skip
"""The joints of `cli evaluate --motion`."""
_JUDGED_JOINTS = [JOINT_NAMES.index(name) for name in JOINTS]

Losses = dict[str, Tensor]


class Plan(NamedTuple):
    """Which frames of a sequence of F frames are taught.

    Attributes:
        moving: part of the sequences that are asked for `TRIPLE` neighbouring frames.
        singles: further frames of each sequence.
        newest: whether only the newest frames are asked for, but of people just found.
    """

    moving: float
    singles: int
    newest: bool = False


EVERY_FRAME = Plan(1.0, 3)
NEWEST_FRAME = Plan(1 / 3, 1, newest=True)
JUST_FOUND = 0.1
"""Part of the people who are asked for early when the plan is the newest frame."""


def draw_asked(plan: Plan, count: int, frames: int) -> tuple[Asked, int]:
    """Frames to teach in sequences (count, frames), and the number of triples.

    The triples come first, (triples, 3) flattened. Later frames are drawn more often: that is where
    people spend their time.
    """

    def drawn(rows: int, wanted: int, last: int) -> Tensor:
        some = (last * torch.rand(rows, wanted).sqrt()).long().clamp(max=last - 1)
        if plan.newest:
            early = torch.rand(rows, 1) < JUST_FOUND
            return torch.where(early, some, last - 1)
        return some

    moving = max(int(plan.moving * count), 1)
    first = drawn(moving, 1, frames - TRIPLE + 1)
    triples = first + torch.arange(TRIPLE)
    # what gives triples already need not give its newest frame once more
    rest = torch.arange(moving if plan.newest else 0, count)
    singles = drawn(len(rest), plan.singles, frames)
    row = torch.cat(
        [torch.arange(moving).repeat_interleave(TRIPLE), rest.repeat_interleave(plan.singles)]
    )
    return Asked(row, torch.cat([triples.flatten(), singles.flatten()])), moving


class Bodies(NamedTuple):
    """N bodies around their pelvis, metres.

    Attributes:
        joints: (N, 24, 3).
        landmarks: (N, 21, 3).
        place: (N, 3), where the pelvis is.
    """

    joints: Tensor
    landmarks: Tensor
    place: Tensor

    @property
    def points(self) -> Tensor:
        """(N, 45, 3)."""
        return torch.cat([self.joints, self.landmarks], dim=1)


class Protocol:
    """Losses and errors.

    Args:
        device: of bodies and answers.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._body = BodyModel(level=108).to(device)
        self._landmarks = BodyLandmarks().to(device)

    def _bodies(self, rotations: Tensor, betas: Tensor, place: Tensor) -> Bodies:
        skeleton = self._body.skeleton(rotations, betas)
        points = self._landmarks(skeleton.global_rotations, skeleton.joints, skeleton.rest, betas)
        return Bodies(skeleton.joints, points, place)

    def _answered(self, answers: Answers) -> Bodies:
        parameters = answers.parameters
        place = weak_perspective_to_metres(parameters.camera, answers.half_size)
        return self._bodies(parameters.rotations, parameters.betas, place)

    @torch.no_grad()
    def _true(self, batch: Batch, asked: Asked, turn: Tensor) -> tuple[Bodies, Tensor]:
        """The true bodies in the views, and their rotations (N, 24, 3, 3)."""
        rotations = asked.of(batch.rotations)
        rotations = torch.cat([turn[:, None] @ rotations[:, :1], rotations[:, 1:]], dim=1)
        place = torch.einsum("nij,nj->ni", turn, asked.of(batch.pelvis))
        return self._bodies(rotations, batch.betas[asked.row], place), rotations

    def losses(self, model: Candidate, batch: Batch, plan: Plan) -> Losses:
        """Weighted losses of a batch."""
        asked, moving = draw_asked(plan, *batch.seen.seconds.shape)
        device = batch.betas.device
        asked = Asked(asked.row.to(device), asked.frame.to(device))
        with torch.autocast(device.type, torch.bfloat16):
            answers = model(batch.seen, asked)
        ours = self._answered(answers)
        true, rotations = self._true(batch, asked, answers.turn)
        parameters, half_size = answers.parameters, answers.half_size
        off = torch.linalg.vector_norm(ours.joints - true.joints, dim=-1)
        seen = project(ours.points, ours.place, half_size)
        wanted = project(true.points, true.place, half_size)
        turned = (parameters.rotations - rotations).abs()
        landmarks = torch.linalg.vector_norm(ours.landmarks - true.landmarks, dim=-1)
        confidence = F.binary_cross_entropy_with_logits(
            parameters.confidence, (off.detach() < NEAR).float()
        )
        return {
            "rotations": turned.mean() + 0.2 * turned[:, 0].mean(),
            "joints": 6.0 * off.mean(),
            "landmarks": 6.0 * landmarks.mean(),
            "projection": 2.0 * (seen - wanted).clamp(-1, 1).abs().mean(),
            "distance": 0.3 * (ours.place[:, 2].log() - true.place[:, 2].log()).abs().mean(),
            "confidence": 0.05 * confidence,
            # row vectors: x @ turn is turn^T x, back to camera coordinates
            **_motion_losses(
                (ours.points - true.points) @ answers.turn,
                asked.of(batch.seen.seconds),
                moving,
            ),
        }

    @torch.no_grad()
    def errors(self, model: Candidate, batch: Batch, chunk: int = 100) -> dict[str, float]:
        """Mean errors in mm of the 14 joints, and of the 108 vertices, pelvis on pelvis, in the
        last `JUDGED` frames; `accel` in mm per frame squared of a steady camera.
        """
        count, frames = batch.seen.seconds.shape
        sums: dict[str, Tensor] = {}
        for begin in range(0, count, chunk):
            part = _rows(batch, slice(begin, begin + chunk))
            rows = len(part.betas)
            asked = Asked(
                torch.arange(rows).repeat_interleave(JUDGED),
                torch.arange(frames - JUDGED, frames).repeat(rows),
            )
            answers = model(part.seen, asked)
            parameters = answers.parameters
            _, rotations = self._true(part, asked, answers.turn)
            vertices, joints = self._body(parameters.rotations, parameters.betas)
            true_vertices, true_joints = self._body(rotations, part.betas[asked.row])
            joints, true_joints = joints[:, _JUDGED_JOINTS], true_joints[:, _JUDGED_JOINTS]
            off = ((joints - true_joints) @ answers.turn).unflatten(0, (rows, JUDGED))
            place = weak_perspective_to_metres(parameters.camera, answers.half_size)
            true_place = torch.einsum("nij,nj->ni", answers.turn, asked.of(part.pelvis))
            found = {
                "mpjpe": mean_position_error(joints, true_joints),
                "pa": aligned_position_error(joints, true_joints),
                "mpvpe": mean_position_error(vertices, true_vertices),
                "accel": 1e3 * torch.linalg.vector_norm(off.diff(n=2, dim=1), dim=-1),
                "place": 1e3 * torch.linalg.vector_norm(place - true_place, dim=-1),
            }
            for name, values in found.items():
                sums[name] = sums.get(name, torch.zeros(())) + rows / count * values.mean()
        return {name: float(value) for name, value in sums.items()}


def _motion_losses(off: Tensor, seconds: Tensor, moving: int) -> Losses:
    """Mean norms of errors of velocity and acceleration, per frame at 30 Hz.

    Args:
        off: (N, P, 3) errors in camera coordinates, the triples first.
        seconds: (N,) since the frame before.
        moving: number of triples.
    """
    off = off[: TRIPLE * moving].unflatten(0, (moving, TRIPLE))
    steps = seconds[: TRIPLE * moving].unflatten(0, (moving, TRIPLE))[:, 1:, None, None]
    velocity = off.diff(dim=1) * FRAME_SECONDS / steps.clamp(min=FASTEST)
    between = steps.mean(dim=1, keepdim=True).clamp(min=FASTEST)
    acceleration = velocity.diff(dim=1) * FRAME_SECONDS / between
    return {
        "velocity": 6.0 * torch.linalg.vector_norm(velocity, dim=-1).mean(),
        "acceleration": 6.0 * torch.linalg.vector_norm(acceleration, dim=-1).mean(),
    }


def _rows(batch: Batch, rows: slice) -> Batch:
    seen = type(batch.seen)(*(values[rows] for values in batch.seen))
    return Batch(seen, batch.rotations[rows], batch.betas[rows], batch.pelvis[rows])
