"""The people of the contest: who is learnt from, who is held out, and endless filmed sequences."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from stdformer_ros.body.body_landmarks import BodyLandmarks
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.training.contest.motion import (
    MovingPeople,
    TimedMotion,
    read_archive,
    read_bvh_folder,
)
from stdformer_ros.training.contest.views import Seen, see
from stdformer_ros.training.people.landmark_noise import (
    FRAME_SECONDS,
    disturb,
    standing_height,
)
from stdformer_ros.training.people.posed_motion import MotionPoser, quaternion_to_matrix
from stdformer_ros.training.people.retarget import BodyMotion
from stdformer_ros.training.people.synthetic import camera_rotations, random_cameras

HELD_OUT = ("03", "07", "10", "12")
"""CMU's subjects that were always held out: walking, uneven ground, kicking a ball, tai chi."""
STEERING = ("16", "55", "127")
"""Further subjects that nothing is trained on: jumps and turns, dance, obstacles and rolls."""
SAME_PERSON = ("walking", "running", "soccer", "jumping")
"""Parts of names of clips whose subjects are not told, and some of which are of held-out people."""
WRONG = ("cmu_01_", "cmu_aux_salsa_")
"""Clips of the BVH conversion that are distorted or run too fast."""
ALIASES = {"aux_indian": "94", "aux_martial": "135"}
"""Subjects that the BVH conversion has under other names."""
IDLE_PART = 0.05
"""Part of the sequences in which somebody stands about."""
REUSE, POOL = 4, 8
"""How often a posed sequence is filmed on average, and batches in the pool of posed ones."""
NEAREST = 1.0
"""Metres: who would come nearer to the camera is moved back."""

DISTANCE, PITCH_DEGREES = (2.0, 6.0), 25.0
"""Of the protocol's cameras, metres and degrees: those of `cli evaluate --motion`."""
NOISE, CORRELATION = 0.015, 0.7
"""Standard deviation over the person's height, and its correlation over `FRAME_SECONDS`."""
LOST, LOST_SECONDS = 0.05, 10 * FRAME_SECONDS
"""Part of the landmarks that are lost at any time, and for how long."""
SHIFT, GROWTH = 0.004, 0.015
"""Standard deviations of what all landmarks do together: shift over the height, and growth."""


class Batch(NamedTuple):
    """Filmed sequences of F frames, camera coordinates.

    Attributes:
        seen: what the network is given.
        rotations: (B, F, 24, 3, 3), the pelvis' in the camera, the others relative to the parent.
        betas: (B, 10).
        pelvis: (B, F, 3) metres.
    """

    seen: Seen
    rotations: Tensor
    betas: Tensor
    pelvis: Tensor


class Posed(NamedTuple):
    """Posed sequences before they are filmed: landmarks (B, F, 21, 3) and the rest as above."""

    landmarks: Tensor
    rotations: Tensor
    pelvis: Tensor
    betas: Tensor
    seconds: Tensor


class People(NamedTuple):
    """Motion to learn from and to be judged by."""

    training: TimedMotion
    held_out: TimedMotion
    steering: TimedMotion


def subject_of(name: str) -> str:
    """CMU's number of the subject of a clip, or the clip's own name."""
    for alias, subject in ALIASES.items():
        if alias in name:
            return subject
    found = re.match(r"cmu_(\d+)_", name)
    return found[1] if found else name


def read_people(archives: Path, bvh: Path | None = None) -> People:
    """Everybody.

    Args:
        archives: folder of `cmu_more.npz`, `cmu_again.npz` and `idle.npz`.
        bvh: folder of the older conversion, for clips that the archives do not have.
    """
    clips = read_archive(archives / "cmu_more.npz") | read_archive(archives / "cmu_again.npz")
    idle = read_archive(archives / "idle.npz")
    known = {_canonical(name) for name in clips}
    if bvh is not None:
        clips |= {
            name: clip
            for name, clip in read_bvh_folder(bvh).items()
            if _canonical(name) not in known and not name.startswith(WRONG)
        }

    def of(subjects: Sequence[str]) -> TimedMotion:
        chosen = [clip for name, clip in clips.items() if subject_of(name) in subjects]
        return TimedMotion(chosen, [1.0] * len(chosen))

    apart = (*HELD_OUT, *STEERING)
    training: list[BodyMotion] = [
        clip
        for name, clip in clips.items()
        if subject_of(name) not in apart and not any(part in name for part in SAME_PERSON)
    ]
    share = IDLE_PART / (1 - IDLE_PART) * _frames(training) / _frames(list(idle.values()))
    weights = [1.0] * len(training) + [share] * len(idle)
    return People(TimedMotion([*training, *idle.values()], weights), of(HELD_OUT), of(STEERING))


def _canonical(name: str) -> str:
    """A clip's name without the aliases, and without which part of it this is."""
    for alias, subject in ALIASES.items():
        name = name.replace(alias, subject)
    return re.sub(r"_(cut|part)\d+$", "", name)


def _frames(clips: Sequence[BodyMotion]) -> int:
    return sum(len(clip.root) for clip in clips)


class FilmedPeople:
    """Endless supply of `Batch`, for training.

    Posing costs more than filming: a posed sequence is filmed `REUSE` times on average.

    Args:
        motion: of the people.
        frames: F, of a sequence.
        count: B, sequences of a batch.
        device: where to make them.
    """

    def __init__(
        self, motion: TimedMotion, frames: int, count: int, device: torch.device | str = "cpu"
    ) -> None:
        self._motion, self._frames, self._count = motion, frames, count
        self._device = torch.device(device)
        self._poser = MotionPoser(None, frames, self._device)
        parts = [self._pose(count) for _ in range(POOL)]
        self._kept = Posed(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        self._oldest = 0

    @torch.no_grad()
    def sample(self) -> Batch:
        """A batch, after the oldest of the pool were replaced."""
        size, fresh = POOL * self._count, max(self._count // REUSE, 1)
        rows = (self._oldest + torch.arange(fresh, device=self._device)) % size
        self._oldest = (self._oldest + fresh) % size
        for kept, new in zip(self._kept, self._pose(fresh), strict=True):
            kept[rows] = new
        drawn = torch.randperm(size, device=self._device)[: self._count]
        return film(
            Posed(*(kept[drawn] for kept in self._kept)),
            random_cameras(self._count, self._device),
            disturb,
        )

    def _pose(self, count: int) -> Posed:
        moving = self._motion.sample(count, self._frames)
        posed = self._poser.vary(moving.quaternions, moving.root)
        return Posed(posed.landmarks, posed.rotations, posed.pelvis, posed.betas, moving.seconds)


Noise = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From true rays (B, F, 21, 2), points (B, F, 21, 3) and seconds (B, F) to what is detected."""


def film(posed: Posed, cameras: tuple[Tensor, Tensor], noise: Noise) -> Batch:
    """Each sequence before a camera of its own.

    Args:
        posed: people around the world's origin.
        cameras: rotations (B, 3, 3) and where they put the origin (B, 3) metres.
        noise: of the landmark detector.
    """
    turn, place = cameras
    points = torch.einsum("bij,bflj->bfli", turn, posed.landmarks)
    nearest = points[..., 2].flatten(1).amin(1) + place[:, 2]
    place = place * (1 + (NEAREST - nearest).clamp(min=0.0) / place[:, 2])[:, None]
    points = points + place[:, None, None]
    pelvis = torch.einsum("bij,bfj->bfi", turn, posed.pelvis) + place[:, None]
    rotations = posed.rotations.clone()
    rotations[:, :, 0] = turn[:, None] @ posed.rotations[:, :, 0]
    rays, visibility = noise(points[..., :2] / points[..., 2:], points, posed.seconds)
    return Batch(see(rays, visibility, posed.seconds), rotations, posed.betas, pelvis)


@torch.no_grad()
def fixed_batch(
    motion: TimedMotion, count: int, frames: int, rate: float, noisy: bool, seed: int = 1234
) -> Batch:
    """The same people at every call: as they moved, before the protocol's cameras.

    Args:
        motion: of the people.
        count: sequences.
        frames: of each.
        rate: images a second.
        noisy: whether the protocol's detector sees them, or one that makes no mistakes.
        seed: of people and cameras.
    """
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(seed)
        posed = _as_they_moved(motion.steady(count, frames, rate))
        low, high = DISTANCE
        distance = low + (high - low) * torch.rand(count)
        pitch = torch.deg2rad(PITCH_DEGREES * (2 * torch.rand(count) - 1))
        turn = camera_rotations(2 * torch.pi * torch.rand(count), pitch, torch.zeros(count))
        place = torch.stack([torch.zeros(count), torch.zeros(count), distance], dim=-1)
        return film(posed, (turn, place), protocol_noise if noisy else _no_noise)


def _as_they_moved(moving: MovingPeople) -> Posed:
    """Bodies of random shapes in the poses of the motion capture."""
    count, frames = moving.root.shape[:2]
    body, landmarks = BodyModel(level=108), BodyLandmarks()
    betas = torch.randn(count, 10)
    every = betas.repeat_interleave(frames, dim=0)
    rotations = quaternion_to_matrix(moving.quaternions)
    skeleton = body.skeleton(rotations.flatten(0, 1), every)
    points = landmarks(skeleton.global_rotations, skeleton.joints, skeleton.rest, every)
    points = points.unflatten(0, (count, frames)) + moving.root[:, :, None]
    return Posed(points, rotations, moving.root, betas, moving.seconds)


def _no_noise(rays: Tensor, points: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
    return rays, torch.ones_like(rays[..., 0])


def protocol_noise(rays: Tensor, points: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor]:
    """The detector of `cli evaluate --motion` in tensors, for sequences at any frame rate.

    Args:
        rays: (B, F, 21, 2) true x/z, y/z.
        points: (B, F, 21, 3) metres.
        seconds: (B, F) since the frame before.

    Returns:
        Disturbed rays (B, F, 21, 2) and visibility (B, F, 21); sides are not exchanged.
    """
    height = standing_height(points)[..., None, None]
    noise, lost = torch.randn_like(rays[:, 0]), torch.rand_like(rays[:, 0, :, 0]) < LOST
    noises, losses = [noise], [lost]
    for frame in range(1, rays.shape[1]):
        steps = seconds[:, frame, None]
        kept = (CORRELATION ** (steps / FRAME_SECONDS))[..., None]
        noise = kept * noise + (1 - kept.square()).sqrt() * torch.randn_like(noise)
        stay = torch.exp(-steps / LOST_SECONDS)
        draw = torch.rand_like(noise[..., 0])
        lost = torch.where(lost, draw < LOST + (1 - LOST) * stay, draw < LOST * (1 - stay))
        noises.append(noise)
        losses.append(lost)
    middle = 0.5 * (rays.amax(2, keepdim=True) + rays.amin(2, keepdim=True))
    growth = GROWTH * torch.randn_like(rays[:, :, :1, :1])
    shift = SHIFT * torch.randn_like(rays[:, :, :1])
    seen = rays + growth * (rays - middle) + (shift + NOISE * torch.stack(noises, 1)) * height
    return seen, 1.0 - torch.stack(losses, 1).float()
