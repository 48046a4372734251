"""Bends an answered body, slowly, towards where its landmarks are seen and believed to be.

A network that looks at a window of landmarks answers smoothly, but a pose unlike those that it was
trained on comes out a little like them: arms too low, trunks too straight. Projected back into the
image its landmarks then miss those that were seen by the same few centimetres for many frames. A
correction of the joints' rotations that changes slowly takes that away, while the network's motion
passes through it without a lag.

What an image of landmarks cannot tell is which end of a limb is nearer. BlazePose guesses that from
the picture: by 0.10 to 0.14 m wrong (real people in four views, docs/accuracy.md), as the network
is, but in part otherwise wrong. So its depths pull too, gently.

The correction is found recursively: in each frame one Gauss-Newton step from the last correction
towards the least squares of reprojection errors and correction (as in Bogo et al., "Keep it SMPL",
ECCV 2016, but from the network's pose, with a prior around it and errors of depth beside), of which
only a part is taken. Where the landmarks tremble their misses are noise, which the network smooths
better: there nothing is corrected.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import exp

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stdformer_ros.body.body_model import LEVELS, level_index, load_body_arrays
from stdformer_ros.body.landmarks import BLAZEPOSE_INDEX, LANDMARK_NAMES, LIMB_ROWS, BodyLandmarks
from stdformer_ros.body.skeleton import JOINT_NAMES, PARENTS
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.runtime.cpu import one_thread
from stdformer_ros.types import Body, Person

Array = NDArray[np.float64]

CORRECTION_SECONDS = 0.1
"""Time constant with which the correction follows what the landmarks ask for."""
LANDMARK_SIGMA = 0.015
"""Error of a landmark that is seen, in parts of the body's extent in the image."""
OUTLIER = 2.0
"""Misses of more such errors count less and less: a landmark that jumps must not pull."""
LANDMARK_DEPTH_SIGMA = 0.15
"""Metres by which BlazePose's depths are off: a little more than they are, since they err together
and for many frames."""
ACROSS_SIGMA, DEPTH_SIGMA = 0.02, 0.01
"""By how much the place is off, in parts of the distance."""
ROOT_SIGMA, TRUNK_SIGMA, LIMB_SIGMA = 0.15, 0.08, 0.2
"""Radians by which answered rotations are off: of the pelvis, of spine and collars, of limbs."""
_SIGMA = {
    "pelvis": ROOT_SIGMA,
    **dict.fromkeys(("spine1", "spine2", "spine3", "left_collar", "right_collar"), TRUNK_SIGMA),
    **{
        f"{side}_{name}": LIMB_SIGMA
        for side in ("left", "right")
        for name in ("shoulder", "elbow", "hip", "knee")
    },
}
"""The joints that are corrected; feet, hands and head show too little."""

CALM, TREMBLING = 0.012, 0.02
"""Mean second difference of shoulders and hips in parts of the body's extent, up to which all is
corrected and from which on nothing. BlazePose's is 0.002 to 0.01, at 60 to 20 frames a second."""
TREMOR_SECONDS = 0.5
"""Time constant of its memory."""

_TURNED = [JOINT_NAMES.index(name) for name in _SIGMA]
_SEEN = [BLAZEPOSE_INDEX[row] for row in LIMB_ROWS]
_HIPS = [k for k, row in enumerate(LIMB_ROWS) if LANDMARK_NAMES[row].endswith("_hip")]
_TORSO = [
    k for k, row in enumerate(LIMB_ROWS) if LANDMARK_NAMES[row].endswith(("_shoulder", "_hip"))
]


class ReprojectionCorrection:
    """Corrects one person's bodies; its memory begins with the person's window."""

    def __init__(self) -> None:
        self._turns = np.zeros((len(_TURNED), 3))  # axis-angle, in the joints' own frames
        self._shift = np.zeros(3)
        self._tremor = _Tremor()

    def __call__(self, body: Body, person: Person, camera: Camera, seconds: float) -> Body:
        """The body, corrected.

        Args:
            body: an embedded body with its rotations.
            person: whom it was answered for.
            camera: of the frame.
            seconds: since the body before, 0 for the first one.
        """
        if body.rotations is None:
            return body
        answer = _Pose(body.rotations.astype(np.float64), body.joints.astype(np.float64))
        seen = camera.rays(person.landmarks[_SEEN]).astype(np.float64)
        strength = self._tremor.calm(seen, seconds)
        if strength <= 0.0:
            return body
        visibility = person.visibility[_SEEN].astype(np.float64)
        share = 1.0 - exp(-max(seconds, 0.0) / CORRECTION_SECONDS)
        self._step(answer, seen, visibility, _world(person), share)
        return _posed_as(body, answer, answer.bent(strength * self._turns, strength * self._shift))

    def _step(
        self, answer: _Pose, seen: Array, visibility: Array, world: Array | None, share: float
    ) -> None:
        """Go a part of the way to the best correction.

        Args:
            answer: what is to be corrected.
            seen: (L, 2) the landmarks as x/z, y/z.
            visibility: (L,) of them.
            world: (L, 3) where the detector believes them to be about the hips, metres.
            share: 0..1 of the Gauss-Newton step.
        """
        bent = answer.bent(self._turns, self._shift)
        points, moves = bent.limbs(), bent.limb_moves()
        rows, wanted = _reprojection_errors(points, moves, seen, visibility**2)
        if world is not None:
            further_rows, further_wanted = _depth_errors(points, moves, world, visibility)
            rows = np.concatenate([rows, further_rows])
            wanted = np.concatenate([wanted, further_wanted])
        distance = max(float(answer.joints[0, 2]), 0.1)
        place_sigma = distance * np.array([ACROSS_SIGMA, ACROSS_SIGMA, DEPTH_SIGMA])
        sigma = np.concatenate([np.repeat(list(_SIGMA.values()), 3), place_sigma])
        state = np.concatenate([self._turns.ravel(), self._shift])
        normal = rows.T @ rows + np.diag(sigma**-2)
        state -= share * np.linalg.solve(normal, rows.T @ wanted + state / sigma**2)
        self._turns, self._shift = state[:-3].reshape(-1, 3), state[-3:]


def _reprojection_errors(
    points: Array, moves: Array, seen: Array, weights: Array
) -> tuple[Array, Array]:
    """How far landmarks miss where they are seen, linearised; both in standard deviations.

    Args:
        points: (L, 3) metres.
        moves: (L, S, 3) how they move with the state.
        seen: (L, 2) where they are seen, x/z and y/z.
        weights: (L,) of them.

    Returns:
        Slopes (2 L, S) and errors (2 L,).
    """
    depth = np.maximum(points[:, 2:], 0.2)
    scale = LANDMARK_SIGMA * _extent(seen)
    error = (points[:, :2] / depth - seen) / scale
    root = np.sqrt(weights * _trust(np.linalg.norm(error, axis=1)))
    slopes = moves[..., :2] - (points[:, :2] / depth)[:, None] * moves[..., 2:]
    slopes = slopes * (root / (scale * depth[:, 0]))[:, None, None]
    return slopes.transpose(0, 2, 1).reshape(-1, slopes.shape[1]), (error * root[:, None]).ravel()


def _depth_errors(points: Array, moves: Array, world: Array, weights: Array) -> tuple[Array, Array]:
    """The same for how far landmarks lie behind the hips, along the line of sight to these.

    Args:
        points: (L, 3) metres.
        moves: (L, S, 3) how they move with the state.
        world: (L, 3) where they are believed to be, metres, in another size and at another place.
        weights: (L,) of them.

    Returns:
        Slopes (L, S) and errors (L,).
    """
    hips = points[_HIPS].mean(axis=0)
    sight = hips / max(float(np.linalg.norm(hips)), 0.1)
    ours, theirs = points - hips, world - world[_HIPS].mean(axis=0)
    size = np.sqrt((ours**2).sum() / max(float((theirs**2).sum()), 1e-6))
    error = (ours @ sight - size * theirs[:, 2]) / LANDMARK_DEPTH_SIGMA
    root = np.sqrt(weights * _trust(np.abs(error)))
    slopes = (moves - moves[_HIPS].mean(axis=0)) @ sight / LANDMARK_DEPTH_SIGMA
    return slopes * root[:, None], error * root


def _trust(size: Array) -> Array:
    """1 for errors of usual size, less and less for larger ones."""
    return OUTLIER / np.maximum(size, OUTLIER)


def _world(person: Person) -> Array | None:
    world = person.world_landmarks
    return None if world is None else world[_SEEN].astype(np.float64)


class _Pose:
    """A body's pose.

    Attributes:
        rotations: (24, 3, 3) relative to the parents.
        turns: (24, 3, 3) of them in the camera's axes.
        joints: (24, 3) metres.
    """

    def __init__(self, rotations: Array, joints: Array) -> None:
        self.rotations = rotations
        self.joints = joints
        self.turns = rotations.copy()
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                self.turns[joint] = self.turns[parent] @ rotations[joint]

    def bent(self, turns: Array, shift: Array) -> _Pose:
        """With joints turned further by axis-angles (T, 3) and everything shifted by metres (3,).

        The bones keep their lengths.
        """
        rotations = self.rotations.copy()
        rotations[_TURNED] = rotations[_TURNED] @ Rotation.from_rotvec(turns).as_matrix()
        pose = _Pose(rotations, self.joints + shift)
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                bone = self.turns[parent].T @ (self.joints[joint] - self.joints[parent])
                pose.joints[joint] = pose.joints[parent] + pose.turns[parent] @ bone
        return pose

    def limbs(self) -> Array:
        """The landmarks (L, 3) in the order of `LIMB_ROWS`, metres."""
        marked, frames, offsets = _rigid()
        return self.joints[marked] + (self.turns[frames] @ offsets[..., None])[..., 0]

    def limb_moves(self) -> Array:
        """(L, 3 T + 3, 3) how they move with a turn about each axis of each of the joints that are
        corrected, and with the place.
        """
        points = self.limbs()
        axes = self.turns[_TURNED].transpose(0, 2, 1)
        arms = points[:, None] - self.joints[_TURNED]
        turned = np.cross(axes, arms[:, :, None]) * _carried()[..., None, None]
        place = np.broadcast_to(np.eye(3), (len(points), 3, 3))
        return np.concatenate([turned.reshape(len(points), -1, 3), place], axis=1)


class _Tremor:
    """How much somebody's landmarks tremble."""

    def __init__(self) -> None:
        self._before: list[Array] = []
        self._square = 0.0
        self._frames = 0

    def calm(self, seen: Array, seconds: float) -> float:
        """1 as long as landmarks (L, 2) are calm, 0 while they tremble or are not known yet."""
        torso = seen[_TORSO]
        if len(self._before) == 2:
            older, old = self._before
            bend = (torso - 2 * old + older) / _extent(seen)
            self._frames += 1
            share = max(1.0 - exp(-max(seconds, 0.0) / TREMOR_SECONDS), 1.0 / self._frames)
            self._square += share * (float((bend**2).sum(axis=1).mean()) - self._square)
        self._before = [*self._before[-1:], torso]
        if not self._frames:
            return 0.0
        tremor = self._square**0.5
        return float(np.clip((TREMBLING - tremor) / (TREMBLING - CALM), 0.0, 1.0))


def _extent(seen: Array) -> float:
    return max(float(np.ptp(seen, axis=0).max()), 1e-3)


def _posed_as(body: Body, before: _Pose, after: _Pose) -> Body:
    """The body in another pose. Its mesh is skinned from where it was, which between two bones is a
    few millimetres from skinning it anew, but keeps what the estimator refined.
    """
    vertices = body.vertices
    if vertices is not None and len(vertices) in LEVELS:
        turn = after.turns @ before.turns.transpose(0, 2, 1)
        shift = after.joints - (turn @ before.joints[..., None])[..., 0]
        transforms = np.concatenate([turn, shift[..., None]], axis=2).astype(np.float32)
        with one_thread():  # NumPy's product would wait for the other core, milliseconds if busy
            blended = _skinning(len(vertices)) @ torch.from_numpy(transforms).flatten(1)
        carried = blended.numpy().reshape(-1, 3, 4)
        vertices = (carried[..., :3] @ vertices[..., None])[..., 0] + carried[..., 3]
    return replace(
        body,
        joints=after.joints.astype(np.float32),
        rotations=after.rotations.astype(np.float32),
        vertices=vertices,
    )


@lru_cache(maxsize=1)
def _rigid() -> tuple[list[int], list[int], Array]:
    """Of each limb landmark the joint that it lies near, the joint that carries it, and how far it
    lies from the first in the frame of the second (L, 3), metres.
    """
    names = [LANDMARK_NAMES[row].replace("index", "hand") for row in LIMB_ROWS]
    marked = [JOINT_NAMES.index(name) for name in names]
    upright = torch.eye(3).expand(1, len(JOINT_NAMES), 3, 3)
    offsets = BodyLandmarks().limbs(upright, torch.zeros(1, len(JOINT_NAMES), 3))[0]
    return marked, [PARENTS[joint] for joint in marked], offsets.double().numpy()


@lru_cache(maxsize=1)
def _carried() -> Array:
    """(L, T) 1 where a turn of the joint moves the landmark."""
    _, frames, _ = _rigid()
    table = np.zeros((len(frames), len(_TURNED)))
    for row, frame in enumerate(frames):
        joint = frame
        while joint >= 0:
            if joint in _TURNED:
                table[row, _TURNED.index(joint)] = 1.0
            joint = PARENTS[joint]
    return table


@lru_cache(maxsize=len(LEVELS))
def _skinning(level: int) -> torch.Tensor:
    """(level, 24) weights."""
    data = load_body_arrays()
    weights = np.zeros((len(data["v_template"]), len(JOINT_NAMES)), np.float32)
    index = data["weights_index"].astype(np.int64)
    np.put_along_axis(weights, index, data["weights_value"].astype(np.float32), axis=1)
    return torch.from_numpy(weights[level_index(data, level)])
