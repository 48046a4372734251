"""Slowly corrects an estimated body so that it projects to where its landmarks are seen.

The output of a network whose input is a window of landmarks is smooth. But a pose unlike those of
its training is estimated too similar to them: arms too low, trunks too straight. Projected into the
image, the body's landmarks then miss the detected ones by the same few centimetres for many frames.
A slowly changing correction of the joints' rotations removes such errors and does not delay the
motion that the network estimates.

Landmarks in an image do not tell which end of a limb is nearer. BlazePose estimates that from the
image, with errors of 0.10 to 0.14 m (real people in four views, docs/accuracy.md). The network's
errors are as large, but partly different; so BlazePose's depths are used too, with a small weight.

The correction is updated in every frame by a part of one Gauss-Newton step, from the last
correction towards the minimum of a sum of squares: reprojection errors, depth errors, and the size
of the correction. That is the energy of Bogo et al., "Keep it SMPL", ECCV 2016, but with the prior
around the network's pose, and with depth errors in addition. If the landmarks jitter, their errors
are noise, which the network smooths better: then nothing is corrected.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import exp

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stdformer_ros.body.body_landmarks import (
    BLAZEPOSE_INDEX,
    LANDMARK_NAMES,
    LIMB_ROWS,
    BodyLandmarks,
)
from stdformer_ros.body.body_model import LEVELS, level_index, load_body_arrays
from stdformer_ros.body.skeleton import JOINT_NAMES, PARENTS
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.runtime.cpu import one_thread
from stdformer_ros.types import Body, Person

Array = NDArray[np.float64]

CORRECTION_SECONDS = 0.1
"""Time constant with which the correction follows the minimum."""
LANDMARK_SIGMA = 0.015
"""Standard deviation of a visible landmark, as a fraction of the body's extent in the image."""
OUTLIER = 2.0
"""Larger errors than this, in standard deviations, get a smaller weight, so that a landmark that
jumps has little effect."""
LANDMARK_DEPTH_SIGMA = 0.15
"""Standard deviation of BlazePose's depths, metres: a little more than measured, since their errors
are correlated over landmarks and frames."""
ACROSS_SIGMA, DEPTH_SIGMA = 0.02, 0.01
"""Standard deviations of the body's position, across and along the line of sight, as fractions of
the distance."""
ROOT_SIGMA, TRUNK_SIGMA, LIMB_SIGMA = 0.15, 0.08, 0.2
"""Standard deviations of the network's rotations, radians: pelvis, spine and collars, limbs."""
_SIGMA = {
    "pelvis": ROOT_SIGMA,
    **dict.fromkeys(("spine1", "spine2", "spine3", "left_collar", "right_collar"), TRUNK_SIGMA),
    **{
        f"{side}_{name}": LIMB_SIGMA
        for side in ("left", "right")
        for name in ("shoulder", "elbow", "hip", "knee")
    },
}
"""For each corrected joint its standard deviation; the landmarks do not determine the other joints
well enough (feet, hands, head)."""

LOW_JITTER, HIGH_JITTER = 0.012, 0.02
"""Mean second difference of shoulders and hips, as a fraction of the body's extent: below the first
value the whole correction is applied, above the second none. BlazePose's is 0.002 to 0.01, at 60 to
20 frames per second."""
JITTER_SECONDS = 0.5
"""Time constant of the low-pass over that jitter."""

_CORRECTED = [JOINT_NAMES.index(name) for name in _SIGMA]
_USED = [BLAZEPOSE_INDEX[row] for row in LIMB_ROWS]
_HIPS = [k for k, row in enumerate(LIMB_ROWS) if LANDMARK_NAMES[row].endswith("_hip")]
_TORSO = [
    k for k, row in enumerate(LIMB_ROWS) if LANDMARK_NAMES[row].endswith(("_shoulder", "_hip"))
]


class ReprojectionCorrection:
    """Corrects one person's bodies; its state begins with the person's window."""

    def __init__(self) -> None:
        self._axis_angles = np.zeros((len(_CORRECTED), 3))  # in the joints' own frames
        self._shift = np.zeros(3)  # metres
        self._jitter = _JitterMeter()

    def __call__(self, body: Body, person: Person, camera: Camera, seconds: float) -> Body:
        """The corrected body.

        Args:
            body: an embedded body with its rotations.
            person: the landmarks from which the body was estimated.
            camera: the frame's camera.
            seconds: since the previous body, 0 for the first one.
        """
        if body.rotations is None:
            return body
        pose = _Pose(body.rotations.astype(np.float64), body.joints.astype(np.float64))
        rays = camera.rays(person.landmarks[_USED]).astype(np.float64)
        strength = self._jitter.strength(rays, seconds)
        if strength <= 0.0:
            return body
        visibility = person.visibility[_USED].astype(np.float64)
        gain = 1.0 - exp(-max(seconds, 0.0) / CORRECTION_SECONDS)
        self._update(pose, rays, visibility, _world_landmarks(person), gain)
        corrected = pose.corrected(strength * self._axis_angles, strength * self._shift)
        return _with_pose(body, pose, corrected)

    def _update(
        self, pose: _Pose, rays: Array, visibility: Array, world: Array | None, gain: float
    ) -> None:
        """Move the correction by a fraction of one Gauss-Newton step.

        Args:
            pose: the estimated pose.
            rays: (L, 2) the detected landmarks as x/z, y/z.
            visibility: (L,) their visibility, 0..1.
            world: (L, 3) the detector's 3D estimate of the landmarks, metres, hips at the origin.
            gain: 0..1, the fraction of the step.
        """
        corrected = pose.corrected(self._axis_angles, self._shift)
        points, point_jacobian = corrected.limbs(), corrected.limb_jacobian()
        jacobian, errors = _reprojection_errors(points, point_jacobian, rays, visibility**2)
        if world is not None:
            depth_jacobian, depth_errors = _depth_errors(points, point_jacobian, world, visibility)
            jacobian = np.concatenate([jacobian, depth_jacobian])
            errors = np.concatenate([errors, depth_errors])
        distance = max(float(pose.joints[0, 2]), 0.1)
        shift_sigma = distance * np.array([ACROSS_SIGMA, ACROSS_SIGMA, DEPTH_SIGMA])
        sigma = np.concatenate([np.repeat(list(_SIGMA.values()), 3), shift_sigma])
        state = np.concatenate([self._axis_angles.ravel(), self._shift])
        normal = jacobian.T @ jacobian + np.diag(sigma**-2)
        state -= gain * np.linalg.solve(normal, jacobian.T @ errors + state / sigma**2)
        self._axis_angles, self._shift = state[:-3].reshape(-1, 3), state[-3:]


def _reprojection_errors(
    points: Array, point_jacobian: Array, rays: Array, weights: Array
) -> tuple[Array, Array]:
    """How far the body's landmarks project from the detected ones, in standard deviations.

    Args:
        points: (L, 3) the body's landmarks, metres.
        point_jacobian: (L, S, 3) their derivatives with respect to the state.
        rays: (L, 2) the detected landmarks as x/z, y/z.
        weights: (L,) weights of the landmarks.

    Returns:
        Jacobian (2 L, S) and errors (2 L,), both weighted.
    """
    depth = np.maximum(points[:, 2:], 0.2)
    scale = LANDMARK_SIGMA * _extent(rays)
    error = (points[:, :2] / depth - rays) / scale
    root = np.sqrt(weights * _outlier_weight(np.linalg.norm(error, axis=1)))
    jacobian = point_jacobian[..., :2] - (points[:, :2] / depth)[:, None] * point_jacobian[..., 2:]
    jacobian = jacobian * (root / (scale * depth[:, 0]))[:, None, None]
    rows = jacobian.transpose(0, 2, 1).reshape(-1, jacobian.shape[1])
    return rows, (error * root[:, None]).ravel()


def _depth_errors(
    points: Array, point_jacobian: Array, world: Array, weights: Array
) -> tuple[Array, Array]:
    """Depth errors: how far the landmarks lie behind the hips, along the line of sight to them.

    Args:
        points: (L, 3) the body's landmarks, metres.
        point_jacobian: (L, S, 3) their derivatives with respect to the state.
        world: (L, 3) the detector's 3D estimate of the landmarks; scale and origin do not matter.
        weights: (L,) weights of the landmarks.

    Returns:
        Jacobian (L, S) and errors (L,), both weighted, in standard deviations.
    """
    hips = points[_HIPS].mean(axis=0)
    line_of_sight = hips / max(float(np.linalg.norm(hips)), 0.1)
    ours, theirs = points - hips, world - world[_HIPS].mean(axis=0)
    scale = np.sqrt((ours**2).sum() / max(float((theirs**2).sum()), 1e-6))
    error = (ours @ line_of_sight - scale * theirs[:, 2]) / LANDMARK_DEPTH_SIGMA
    root = np.sqrt(weights * _outlier_weight(np.abs(error)))
    jacobian = (point_jacobian - point_jacobian[_HIPS].mean(axis=0)) @ line_of_sight
    jacobian = jacobian / LANDMARK_DEPTH_SIGMA
    return jacobian * root[:, None], error * root


def _outlier_weight(errors: Array) -> Array:
    """1 for errors up to `OUTLIER` standard deviations, less for larger ones (Huber's weights)."""
    return OUTLIER / np.maximum(errors, OUTLIER)


def _world_landmarks(person: Person) -> Array | None:
    world = person.world_landmarks
    return None if world is None else world[_USED].astype(np.float64)


class _Pose:
    """A body's pose.

    Attributes:
        rotations: (24, 3, 3) relative to the parents.
        global_rotations: (24, 3, 3) in the camera's axes.
        joints: (24, 3) metres.
    """

    def __init__(self, rotations: Array, joints: Array) -> None:
        self.rotations = rotations
        self.joints = joints
        self.global_rotations = rotations.copy()
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                self.global_rotations[joint] = self.global_rotations[parent] @ rotations[joint]

    def corrected(self, axis_angles: Array, shift: Array) -> _Pose:
        """The pose with the joints `_CORRECTED` rotated further and all joints shifted.

        The bones keep their lengths.

        Args:
            axis_angles: (T, 3) radians, in the joints' own frames.
            shift: (3,) metres.
        """
        rotations = self.rotations.copy()
        further = Rotation.from_rotvec(axis_angles).as_matrix()
        rotations[_CORRECTED] = rotations[_CORRECTED] @ further
        pose = _Pose(rotations, self.joints + shift)
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                offset = self.joints[joint] - self.joints[parent]
                bone = self.global_rotations[parent].T @ offset
                pose.joints[joint] = pose.joints[parent] + pose.global_rotations[parent] @ bone
        return pose

    def limbs(self) -> Array:
        """The landmarks (L, 3) in the order of `LIMB_ROWS`, metres."""
        joints, frames, offsets = _limb_geometry()
        return self.joints[joints] + (self.global_rotations[frames] @ offsets[..., None])[..., 0]

    def limb_jacobian(self) -> Array:
        """The derivatives (L, 3 T + 3, 3) of `limbs` with respect to the correction: first to a
        rotation about each axis of each corrected joint, then to the shift.
        """
        points = self.limbs()
        axes = self.global_rotations[_CORRECTED].transpose(0, 2, 1)
        arms = points[:, None] - self.joints[_CORRECTED]
        by_rotation = np.cross(axes, arms[:, :, None]) * _is_moved_by()[..., None, None]
        by_shift = np.broadcast_to(np.eye(3), (len(points), 3, 3))
        return np.concatenate([by_rotation.reshape(len(points), -1, 3), by_shift], axis=1)


class _JitterMeter:
    """Measures how much a person's landmarks jitter."""

    def __init__(self) -> None:
        self._last_two: list[Array] = []
        self._mean_square = 0.0
        self._frames = 0

    def strength(self, rays: Array, seconds: float) -> float:
        """The fraction of the correction to apply: 1 if the landmarks (L, 2) have low jitter, 0 if
        they have high jitter, or if there were too few frames to measure it.
        """
        torso = rays[_TORSO]
        if len(self._last_two) == 2:
            older, old = self._last_two
            second_difference = (torso - 2 * old + older) / _extent(rays)
            square = float((second_difference**2).sum(axis=1).mean())
            self._frames += 1
            gain = max(1.0 - exp(-max(seconds, 0.0) / JITTER_SECONDS), 1.0 / self._frames)
            self._mean_square += gain * (square - self._mean_square)
        self._last_two = [*self._last_two[-1:], torso]
        if not self._frames:
            return 0.0
        jitter = self._mean_square**0.5
        return float(np.clip((HIGH_JITTER - jitter) / (HIGH_JITTER - LOW_JITTER), 0.0, 1.0))


def _extent(rays: Array) -> float:
    """The longer side of the box around landmarks (L, 2), in their unit."""
    return max(float(np.ptp(rays, axis=0).max()), 1e-3)


def _with_pose(body: Body, before: _Pose, after: _Pose) -> Body:
    """The body in another pose.

    Its mesh is moved by skinning from the earlier pose. Between two bones that differs by a few
    millimetres from skinning the rest pose, but keeps the estimator's refinement of the mesh.
    """
    vertices = body.vertices
    if vertices is not None and len(vertices) in LEVELS:
        rotation = after.global_rotations @ before.global_rotations.transpose(0, 2, 1)
        shift = after.joints - (rotation @ before.joints[..., None])[..., 0]
        transforms = np.concatenate([rotation, shift[..., None]], axis=2).astype(np.float32)
        with one_thread():  # NumPy's matrix product would wait milliseconds for a busy core
            blended = _skin_weights(len(vertices)) @ torch.from_numpy(transforms).flatten(1)
        matrices = blended.numpy().reshape(-1, 3, 4)
        vertices = (matrices[..., :3] @ vertices[..., None])[..., 0] + matrices[..., 3]
    return replace(
        body,
        joints=after.joints.astype(np.float32),
        rotations=after.rotations.astype(np.float32),
        vertices=vertices,
    )


@lru_cache(maxsize=1)
def _limb_geometry() -> tuple[list[int], list[int], Array]:
    """Where the limb landmarks lie on the body.

    Returns:
        For each landmark the joint near it, the joint whose rotation moves it, and its offset (3,)
        from the first joint in the frame of the second, metres.
    """
    names = [LANDMARK_NAMES[row].replace("index", "hand") for row in LIMB_ROWS]
    joints = [JOINT_NAMES.index(name) for name in names]
    upright = torch.eye(3).expand(1, len(JOINT_NAMES), 3, 3)
    offsets = BodyLandmarks().limbs(upright, torch.zeros(1, len(JOINT_NAMES), 3))[0]
    return joints, [PARENTS[joint] for joint in joints], offsets.double().numpy()


@lru_cache(maxsize=1)
def _is_moved_by() -> Array:
    """(L, T): 1 where a rotation of the corrected joint moves the landmark, else 0."""
    _, frames, _ = _limb_geometry()
    table = np.zeros((len(frames), len(_CORRECTED)))
    for row, frame in enumerate(frames):
        joint = frame
        while joint >= 0:
            if joint in _CORRECTED:
                table[row, _CORRECTED.index(joint)] = 1.0
            joint = PARENTS[joint]
    return table


@lru_cache(maxsize=len(LEVELS))
def _skin_weights(level: int) -> torch.Tensor:
    """The skinning weights (level, 24) of a mesh level."""
    data = load_body_arrays()
    weights = np.zeros((len(data["v_template"]), len(JOINT_NAMES)), np.float32)
    index = data["weights_index"].astype(np.int64)
    np.put_along_axis(weights, index, data["weights_value"].astype(np.float32), axis=1)
    return torch.from_numpy(weights[level_index(data, level)])
