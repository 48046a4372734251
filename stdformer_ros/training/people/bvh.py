"""Read motion capture files in the Biovision hierarchy format (BVH)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

_AXES = {"Xrotation": "X", "Yrotation": "Y", "Zrotation": "Z"}
_POSITIONS = ("Xposition", "Yposition", "Zposition")


@dataclass(frozen=True)
class Motion:
    """A clip of N frames and J joints.

    Attributes:
        names: of the joints, parents before children; end sites are called `JOINT_end`.
        parents: index of each joint's parent, -1 for the root.
        offsets: (J, 3) from the parent joint, in the file's unit.
        rotations: (N, J, 3, 3) relative to the parent joint.
        root: (N, 3) position of the root joint, in the file's unit.
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
        ValueError: naming the file and its fault.
    """
    try:
        return _parse(path.read_text().split())
    except IndexError as error:
        raise ValueError(
            f"{path} is not a complete BVH file: it ends early, or its brackets do not match"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is not a complete BVH file: {error}") from error


@dataclass
class _Hierarchy:
    """The skeleton of a file; its joints are in the order of the file."""

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)


def _parse_hierarchy(words: list[str]) -> _Hierarchy:
    """Parse the words between HIERARCHY and MOTION."""
    result = _Hierarchy()
    stack: list[int] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word in ("ROOT", "JOINT", "End"):
            if (word == "ROOT") == bool(result.names) or len(result.offsets) < len(result.names):
                raise ValueError(f"unexpected {word} in the hierarchy")
            name = f"{result.names[stack[-1]]}_end" if word == "End" else words[position + 1]
            result.parents.append(stack[-1] if word != "ROOT" else -1)
            result.names.append(name)
            result.channels.append([])
            position += 2
        elif word == "{":
            stack.append(len(result.names) - 1)
            position += 1
        elif word == "}":
            stack.pop()
            position += 1
        elif word == "OFFSET":
            if len(result.offsets) != stack[-1]:
                raise ValueError(f"a second OFFSET of {result.names[stack[-1]]}")
            result.offsets.append([float(w) for w in words[position + 1 : position + 4]])
            position += 4
        elif word == "CHANNELS":
            count = int(words[position + 1])
            channels = words[position + 2 : position + 2 + max(count, 0)]
            if count < 0 or not set(channels) <= {*_AXES, *_POSITIONS}:
                raise ValueError(f"CHANNELS {count} {' '.join(channels)}")
            result.channels[stack[-1]] = channels
            position += 2 + count
        else:
            raise ValueError(f"unexpected {word!r} in the hierarchy")
    if not result.names:
        raise ValueError("there is no ROOT")
    if stack:
        raise ValueError(f"{result.names[stack[-1]]} is not closed")
    if len(result.offsets) < len(result.names):
        raise ValueError(f"{result.names[-1]} has no OFFSET")
    if not np.isfinite(result.offsets).all():
        raise ValueError("there are offsets that are not finite")
    return result


def _parse(words: list[str]) -> Motion:
    middle = words.index("MOTION")
    skeleton = _parse_hierarchy(words[words.index("HIERARCHY") + 1 : middle])
    names, parents, channels = skeleton.names, skeleton.parents, skeleton.channels
    frames = int(words[middle + 2])
    frame_time = float(words[middle + 5])
    if not 0.0 < frame_time < np.inf:
        raise ValueError(f"the frame time is {frame_time} s")
    width = sum(len(c) for c in channels)
    values = np.array(words[middle + 6 :], dtype=np.float64)
    if width == 0 or values.size != frames * width:
        raise ValueError(f"expected {frames} frames of {width} numbers, found {values.size}")
    values = values.reshape(frames, width)
    if not np.isfinite(values).all():
        raise ValueError("there are numbers that are not finite")

    rotations = np.tile(np.eye(3), (frames, len(names), 1, 1))
    root = np.zeros((frames, 3))
    column = 0
    for joint, joint_channels in enumerate(channels):
        own = values[:, column : column + len(joint_channels)]
        column += len(joint_channels)
        angles = [i for i, c in enumerate(joint_channels) if c in _AXES]
        if angles and frames:
            order = "".join(_AXES[joint_channels[i]] for i in angles)
            rotations[:, joint] = Rotation.from_euler(
                order, own[:, angles], degrees=True
            ).as_matrix()
        if parents[joint] < 0:
            for i, channel in enumerate(joint_channels):
                if channel in _POSITIONS:
                    root[:, _POSITIONS.index(channel)] = own[:, i]
    return Motion(
        tuple(names), tuple(parents), np.array(skeleton.offsets), rotations, root, frame_time
    )
