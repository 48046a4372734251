"""Motion from archives and BVH files, read as sequences at any frame rate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stdformer_ros.body.skeleton import MIRROR
from stdformer_ros.training.people.bvh import read_bvh
from stdformer_ros.training.people.retarget import BodyMotion, retarget

SOURCE_RATE = 30.0
"""Frames a second of every clip."""
RATES = (8.0, 60.0)
"""Images a second that cameras deliver, drawn on a logarithmic scale."""
USUAL_RATES, USUAL = (24.0, 31.0), 0.4
"""What most cameras deliver, and which part of the sequences is drawn there."""
SPEEDS = (0.7, 1.4)
"""How much faster people move than those of the motion capture."""
JITTER = 0.1
"""Standard deviation of the time between two images, relative."""
DROPPING, DROPPED = 0.4, 0.1
"""Part of the sequences that miss images, and the chance of each image to be missing there."""
SHORTEST = 30
"""Frames of the shortest clip that is used."""


class MovingPeople(NamedTuple):
    """Sequences of F frames.

    Attributes:
        quaternions: (B, F, 24, 4) x, y, z, w, the pelvis' in the world (y up).
        root: (B, F, 3) metres, around the middle frame's.
        seconds: (B, F) since the frame before; of the first, the sequence's usual step.
    """

    quaternions: Tensor
    root: Tensor
    seconds: Tensor


def read_archive(path: Path) -> dict[str, BodyMotion]:
    """The clips of an archive of motion on the embedded body, by name.

    Args:
        path: `.npz` with `quaternions` (F, 24, 4) int16, `root` (F, 3), `lengths` (C,), `names`.
    """
    with np.load(path, allow_pickle=False) as archive:
        quaternions = archive["quaternions"].astype(np.float32) / 32767
        root, ends = archive["root"], np.cumsum(archive["lengths"])
        names, step = archive["names"], float(archive["frame_time"])
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    return {
        str(name): BodyMotion(quaternions[end - length : end], root[end - length : end], step)
        for name, end, length in zip(names, ends, np.diff(ends, prepend=0), strict=True)
    }


def read_bvh_folder(folder: Path) -> dict[str, BodyMotion]:
    """The clips of a folder of BVH files, by the files' names."""
    return {
        path.stem: retarget(read_bvh(path), straight_arms=True)
        for path in sorted(folder.glob("*.bvh"))
    }


class TimedMotion:
    """Clips from which sequences are drawn whose frames are seconds apart, not source frames.

    Args:
        clips: at 30 Hz.
        weights: how often each clip is taken, per frame of it.
        device: where the motion lies.
    """

    def __init__(
        self,
        clips: Iterable[BodyMotion],
        weights: Iterable[float],
        device: torch.device | str = "cpu",
    ) -> None:
        kept = [(c, w) for c, w in zip(clips, weights, strict=True) if len(c.root) >= SHORTEST]
        self._quaternions = torch.cat([torch.from_numpy(c.quaternions) for c, _ in kept]).to(device)
        self._root = torch.cat([torch.from_numpy(c.root) for c, _ in kept]).to(device)
        lengths = torch.tensor([len(c.root) for c, _ in kept])
        self._lengths = lengths.to(device)
        self._begins = (lengths.cumsum(0) - lengths).to(device)
        self._chances = (lengths * torch.tensor([w for _, w in kept])).to(device)
        self._mirror = torch.tensor(MIRROR, device=device)

    @property
    def minutes(self) -> float:
        """Of all clips."""
        return float(self._lengths.sum()) / SOURCE_RATE / 60

    def sample(self, count: int, frames: int) -> MovingPeople:
        """Sequences as many cameras would see them, half of them mirrored."""
        device = self._root.device
        seconds = _seconds(count, frames, device)
        low, high = SPEEDS
        speed = low * (high / low) ** torch.rand(count, 1, device=device)
        clip = torch.multinomial(self._chances.float(), count, replacement=True)
        moving = self.at(clip, SOURCE_RATE * speed * seconds)
        flip = torch.rand(count, device=device) < 0.5
        sign = torch.tensor([1.0, -1.0, -1.0, 1.0], device=device)
        other = moving.quaternions[:, :, self._mirror] * sign
        across = torch.tensor([-1.0, 1.0, 1.0], device=device)
        return MovingPeople(
            torch.where(flip[:, None, None, None], other, moving.quaternions),
            torch.where(flip[:, None, None], moving.root * across, moving.root),
            seconds,
        )

    def steady(self, count: int, frames: int, rate: float) -> MovingPeople:
        """Sequences at a constant rate in images a second, neither faster nor mirrored."""
        seconds = torch.full((count, frames), 1 / rate, device=self._root.device)
        clip = torch.multinomial(self._chances.float(), count, replacement=True)
        return self.at(clip, SOURCE_RATE * seconds)._replace(seconds=seconds)

    def at(self, clip: Tensor, steps: Tensor) -> MovingPeople:
        """Sequences of clips (B,) from random starts, `steps` (B, F) source frames apart.

        What reaches beyond a clip's end goes back from there.
        """
        along = steps.cumsum(1) - steps[:, :1]
        last = (self._lengths[clip] - 1.001)[:, None]
        start = torch.rand_like(last) * (last - along[:, -1:]).clamp(min=0.0)
        place = torch.remainder(start + along, 2 * last)
        place = torch.minimum(place, 2 * last - place) + self._begins[clip][:, None]
        before = place.floor().long()
        part = (place - before)[..., None]
        a, b = self._quaternions[before], self._quaternions[before + 1]
        b = torch.where((a * b).sum(-1, keepdim=True) < 0, -b, b)
        quaternions = F.normalize(torch.lerp(a, b, part[..., None]), dim=-1)
        root = torch.lerp(self._root[before], self._root[before + 1], part)
        middle = root[:, root.shape[1] // 2, None]
        return MovingPeople(quaternions, root - middle, steps)


def _seconds(count: int, frames: int, device: torch.device) -> Tensor:
    """(count, frames) between the images of cameras that are not quite regular."""

    def drawn(low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(count, 1, device=device)

    usual = torch.rand(count, 1, device=device) < USUAL
    rate = torch.where(usual, drawn(*USUAL_RATES), drawn(*RATES))
    jitter = 1 + (JITTER * torch.randn(count, frames, device=device)).clamp(-0.4, 0.4)
    dropping = torch.rand(count, 1, device=device) < DROPPING
    dropped = (torch.rand(2, count, frames, device=device) < DROPPED).sum(0)
    return (jitter + torch.where(dropping, dropped, 0)) / rate
