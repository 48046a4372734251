"""Read Biovision hierarchy (BVH) motion capture files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

_AXES = {"Xrotation": "X", "Yrotation": "Y", "Zrotation": "Z"}
_POSITIONS = ("Xposition", "Yposition", "Zposition")


@dataclass(frozen=True)
class Motion:
    """One clip.

    Attributes:
        names: joints, parents before children; end sites are called `JOINT_end`.
        parents: index of each joint's parent, -1 for the root.
        offsets: (J, 3) from the parent, in the file's unit.
        rotations: (N, J, 3, 3) relative to the parent.
        root: (N, 3) position of the root in the file's unit.
        frame_time: seconds between frames.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: NDArray[np.float64]
    rotations: NDArray[np.float64]
    root: NDArray[np.float64]
    frame_time: float


def read_bvh(path: Path) -> Motion:
    """Read a BVH file.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    try:
        return _parse(path.read_text().split())
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a complete BVH file: {error}") from error


def _parse(words: list[str]) -> Motion:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    position = words.index("HIERARCHY") + 1
    while words[position] != "MOTION":
        word = words[position]
        if word in ("ROOT", "JOINT", "End"):
            name = f"{names[stack[-1]]}_end" if word == "End" else words[position + 1]
            names.append(name)
            parents.append(stack[-1] if stack else -1)
            channels.append([])
            position += 2
        elif word == "{":
            stack.append(len(names) - 1)
            position += 1
        elif word == "}":
            stack.pop()
            position += 1
        elif word == "OFFSET":
            offsets.append([float(w) for w in words[position + 1 : position + 4]])
            position += 4
        elif word == "CHANNELS":
            count = int(words[position + 1])
            channels[stack[-1]] = words[position + 2 : position + 2 + count]
            position += 2 + count
        else:
            raise ValueError(f"unexpected {word!r} in the hierarchy")
    frames = int(words[position + 2])
    frame_time = float(words[position + 5])
    width = sum(len(c) for c in channels)
    values = np.array(words[position + 6 :], dtype=np.float64)
    if values.size != frames * width:
        raise ValueError(f"expected {frames} frames of {width} numbers, found {values.size}")
    values = values.reshape(frames, width)
    if not np.isfinite(values).all():
        raise ValueError("numbers that are not finite")

    rotations = np.tile(np.eye(3), (frames, len(names), 1, 1))
    root = np.zeros((frames, 3))
    column = 0
    for joint, joint_channels in enumerate(channels):
        own = values[:, column : column + len(joint_channels)]
        column += len(joint_channels)
        turns = [i for i, c in enumerate(joint_channels) if c in _AXES]
        if turns and frames:
            order = "".join(_AXES[joint_channels[i]] for i in turns)
            rotations[:, joint] = Rotation.from_euler(
                order, own[:, turns], degrees=True
            ).as_matrix()
        if parents[joint] < 0:
            for i, channel in enumerate(joint_channels):
                if channel in _POSITIONS:
                    root[:, _POSITIONS.index(channel)] = own[:, i]
    return Motion(tuple(names), tuple(parents), np.array(offsets), rotations, root, frame_time)
