"""Small skeletons with known motion, as arrays and as BVH text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stdformer_ros.training.people.bvh import Motion

# Joint, parent, offset from the parent: a T-pose that faces +z, y up, with 2 units to the metre,
# and with the names of the CMU clips' skeleton.
_LEFT_HALF: tuple[tuple[str, str, tuple[float, float, float]], ...] = (
    ("lThigh", "hip", (0.2, -0.1, 0.0)),
    ("lShin", "lThigh", (0.02, -0.8, 0.0)),
    ("lFoot", "lShin", (0.0, -0.8, -0.04)),
    ("lFoot_end", "lFoot", (0.04, -0.12, 0.3)),
    ("lCollar", "chest", (0.1, 0.3, 0.0)),
    ("lShldr", "lCollar", (0.2, 0.0, 0.0)),
    ("lForeArm", "lShldr", (0.56, 0.0, 0.02)),
    ("lHand", "lForeArm", (0.5, 0.02, 0.06)),
    ("lMid1", "lHand", (0.18, 0.0, 0.04)),
)
_TRUNK: tuple[tuple[str, str, tuple[float, float, float]], ...] = (
    ("hip", "", (0.0, 0.0, 0.0)),
    ("abdomen", "hip", (0.0, 0.25, 0.0)),
    ("chest", "abdomen", (0.0, 0.3, 0.0)),
    ("neck", "chest", (0.0, 0.45, 0.0)),
    ("head", "neck", (0.0, 0.15, 0.05)),
)


def other_side(name: str) -> str:
    """The joint of the other side: lShin <-> rShin, hip -> hip."""
    if name[0] in "lr" and name[1].isupper():
        return "rl"["lr".index(name[0])] + name[1:]
    return name


_JOINTS = (
    *_TRUNK,
    *_LEFT_HALF,
    *((other_side(n), other_side(p), (-x, y, z)) for n, p, (x, y, z) in _LEFT_HALF),
)
NAMES = tuple(name for name, _, _ in _JOINTS)
PARENTS = tuple(NAMES.index(parent) if parent else -1 for _, parent, _ in _JOINTS)


def still(frames: int = 2) -> Motion:
    """The T-pose, one metre above the ground."""
    return Motion(
        NAMES,
        PARENTS,
        np.array([offset for _, _, offset in _JOINTS]),
        np.tile(np.eye(3), (frames, len(NAMES), 1, 1)),
        np.tile([0.0, 2.0, 0.0], (frames, 1)),
        1 / 30,
    )


def moving(
    turns: Mapping[str, NDArray[np.float64]], root: NDArray[np.float64] | None = None
) -> Motion:
    """The T-pose with joints rotated, each by its rotation vectors (N, 3) in degrees."""
    motion = still(len(next(iter(turns.values()))))
    for name, vectors in turns.items():
        matrices = Rotation.from_rotvec(vectors, degrees=True).as_matrix()
        motion.rotations[:, NAMES.index(name)] = matrices
    if root is not None:
        motion.root[:] = root
    return motion


def lively(frames: int, seed: int = 0) -> Motion:
    """Every joint swings, the root walks; smooth, and different for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None]
    turns = {
        name: 35.0
        * rng.normal(size=3)
        * np.sin(rng.uniform(0.05, 0.3, 3) * time + rng.uniform(0, 6, 3))
        for name in NAMES
        if not name.endswith("_end")
    }
    root = np.concatenate([0.02 * time, 2 + 0.1 * np.sin(0.3 * time), 0.01 * time], axis=1)
    return moving(turns, root)


def bone_directions(motion: Motion, joint: str, child: str) -> NDArray[np.float64]:
    """(N, 3) unit vectors from a joint to its child in the world."""
    index = motion.names.index(joint)
    turn = np.eye(3)[None]
    while index >= 0:
        turn = motion.rotations[:, index] @ turn
        index = motion.parents[index]
    bone = turn @ motion.offsets[motion.names.index(child)]
    return np.asarray(bone / np.linalg.norm(bone, axis=-1, keepdims=True))


def bvh_text(motion: Motion, order: str = "ZXY") -> str:
    """The motion as a BVH file, rotation channels in the given order."""
    lines: list[str] = ["HIERARCHY"]
    written: list[int] = []

    def write(joint: int, depth: int) -> None:
        written.append(joint)
        pad = "  " * depth
        is_end = motion.names[joint].endswith("_end")
        kind = "ROOT" if motion.parents[joint] < 0 else "JOINT"
        lines.append(pad + ("End Site" if is_end else f"{kind} {motion.names[joint]}"))
        lines.append(pad + "{")
        lines.append(f"{pad}  OFFSET {' '.join(repr(float(x)) for x in motion.offsets[joint])}")
        if not is_end:
            turns = " ".join(f"{axis}rotation" for axis in order)
            places = "Xposition Yposition Zposition " if kind == "ROOT" else ""
            lines.append(f"{pad}  CHANNELS {6 if kind == 'ROOT' else 3} {places}{turns}")
        for child, parent in enumerate(motion.parents):
            if parent == joint:
                write(child, depth + 1)
        lines.append(pad + "}")

    write(0, 0)
    lines += ["MOTION", f"Frames: {len(motion.root)}", f"Frame Time: {motion.frame_time!r}"]
    for frame in range(len(motion.root)):
        numbers = list(motion.root[frame])
        for joint in written:
            if not motion.names[joint].endswith("_end"):
                turn = Rotation.from_matrix(motion.rotations[frame, joint])
                numbers += list(turn.as_euler(order, degrees=True))
        lines.append(" ".join(repr(float(x)) for x in numbers))
    return "\n".join(lines) + "\n"
