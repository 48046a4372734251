"""Training motion: read clips, keep them in memory, and draw windows from them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from stdformer_ros.body.skeleton import MIRROR
from stdformer_ros.training.people.bvh import read_bvh
from stdformer_ros.training.people.retarget import BodyMotion, retarget

HELD_OUT = ("cmu_03_", "cmu_07_", "cmu_10_", "cmu_12_")
"""Validation subjects: no network is trained on them."""
SPEEDS = (0.5, 2.0)
"""Range of source frames (30 Hz) per window frame: for cameras of 15 to 60 Hz, and for people who
move slower or faster."""


class MotionLibrary:
    """Clips of the embedded body on one device.

    Args:
        clips: retargeted motion; clips that are too short for a window are left out.
        frames: length of the windows that `sample` draws.
        device: that holds the clips.

    Raises:
        ValueError: if no clip is long enough.
    """

    def __init__(
        self, clips: Iterable[BodyMotion], frames: int, device: torch.device | str = "cpu"
    ) -> None:
        self.frames = frames
        reach = int((frames - 1) * SPEEDS[1]) + 2
        kept = [c for c in clips if len(c.root) >= reach]
        if not kept:
            raise ValueError(f"no clip has the {reach} frames that one window may need")
        self._quaternions = torch.cat([torch.from_numpy(c.quaternions) for c in kept]).to(device)
        self._root = torch.cat([torch.from_numpy(c.root) for c in kept]).to(device)
        lengths = torch.tensor([len(c.root) for c in kept])
        ends = lengths.cumsum(0)
        # Every start from which the fastest window stays inside its clip.
        starts = [
            torch.arange(int(end - length), int(end) - reach + 1)
            for end, length in zip(ends, lengths, strict=True)
        ]
        self._starts = torch.cat(starts).to(device)
        self._mirror = torch.tensor(MIRROR, device=device)

    def __len__(self) -> int:
        """Number of frames at which a window can start."""
        return len(self._starts)

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Random windows at random speeds, half of them mirrored.

        Returns:
            Quaternions (count, frames, 24, 4) as x, y, z, w, and positions of the pelvis
            (count, frames, 3) in metres, relative to the last frame's, in the world (y up).
        """
        device = self._starts.device
        start = self._starts[torch.randint(len(self._starts), (count, 1), device=device)]
        low, high = SPEEDS
        speed = low * (high / low) ** torch.rand(count, 1, device=device)
        time = start + speed * torch.arange(self.frames, device=device)
        before = time.floor().long()
        part = (time - before)[..., None]
        a, b = self._quaternions[before], self._quaternions[before + 1]
        b = torch.where((a * b).sum(-1, keepdim=True) < 0, -b, b)
        quaternions = torch.nn.functional.normalize(torch.lerp(a, b, part[..., None]), dim=-1)
        root = torch.lerp(self._root[before], self._root[before + 1], part)
        root = root - root[:, -1:]
        return self._mirrored(quaternions, root)

    def _mirrored(self, quaternions: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        flip = torch.rand(len(root), device=root.device) < 0.5
        sign = torch.tensor([1.0, -1.0, -1.0, 1.0], device=root.device)
        other = quaternions[:, :, self._mirror] * sign
        quaternions = torch.where(flip[:, None, None, None], other, quaternions)
        across = torch.tensor([-1.0, 1.0, 1.0], device=root.device)
        return quaternions, torch.where(flip[:, None, None], root * across, root)


def read_motion(
    folder: Path, *, exclude: Iterable[str] = (), only: Iterable[str] = ("",)
) -> list[BodyMotion]:
    """Read and retarget the BVH clips of a folder.

    Args:
        folder: of the .bvh files.
        exclude: clips whose file name contains one of these are left out.
        only: clips whose file name contains none of these are left out.

    Raises:
        ValueError: if there is no clip.
    """
    excluded, wanted = tuple(exclude), tuple(only)
    paths = [
        path
        for path in sorted(folder.glob("*.bvh"))
        if any(w in path.name for w in wanted) and not any(e in path.name for e in excluded)
    ]
    if not paths:
        raise ValueError(f"there is no BVH file of the requested subjects in {folder}")
    return [retarget(read_bvh(path)) for path in paths]


def read_split(folder: Path) -> tuple[list[BodyMotion], list[BodyMotion]]:
    """The clips of the training subjects, and those of the validation subjects (`HELD_OUT`).

    Raises:
        ValueError: if one of the two has no clips.
    """
    return read_motion(folder, exclude=HELD_OUT), read_motion(folder, only=HELD_OUT)
