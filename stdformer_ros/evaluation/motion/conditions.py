"""What kind of frame it is, by the true body: where an estimator fails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.motion.faulty_detector import Detections
from stdformer_ros.evaluation.motion.scenes import Scene

Array = NDArray[np.float64]

_SIDES = ("left", "right")


def conditions(scene: Scene, detections: Detections) -> dict[str, NDArray[np.bool_]]:
    """For each condition whether it holds in the N frames; a frame can be in several.

    The trunk goes from pelvis to neck, a thigh from hip to knee; angles are against the vertical of
    the world. Facing is judged from the pelvis, as seen from above. Limbs are fast when the joints
    move at over 1 m/s on average about the pelvis; near is below 2.5 m, far over 5 m.
    """
    joints = scene.joints.numpy().astype(np.float64)
    up = scene.up / np.linalg.norm(scene.up)
    trunk = _angle(_bone(joints, "pelvis", "neck"), up)
    thighs = [_angle(_bone(joints, f"{s}_hip", f"{s}_knee"), -up) for s in _SIDES]
    shins = [_angle(_bone(joints, f"{s}_knee", f"{s}_ankle"), -up) for s in _SIDES]
    hands = [(_bone(joints, "head", f"{s}_wrist") @ up) > 0 for s in _SIDES]
    facing = _facing(scene, joints, up)
    speed = np.zeros(len(joints))
    speed[1:] = 30.0 * np.linalg.norm(np.diff(joints - joints[:, :1], axis=0), axis=2).mean(axis=1)
    lost = detections.lost.sum(axis=1)
    return {
        "facing_camera": facing < 60,
        "side_view": (facing >= 60) & (facing <= 120),
        "facing_away": facing > 120,
        "trunk_upright": trunk < 30,
        "trunk_bent": (trunk >= 30) & (trunk < 60),
        "trunk_level": trunk >= 60,
        "sitting": (trunk < 45) & (np.minimum(*thighs) > 50) & (np.maximum(*shins) < 50),
        "hand_over_head": hands[0] | hands[1],
        "fast_limbs": speed > 1.0,
        "near": joints[:, 0, 2] < 2.5,
        "far": joints[:, 0, 2] > 5.0,
        "three_lost": lost >= 3,
    }


def _bone(joints: Array, start: str, end: str) -> Array:
    return np.asarray(joints[:, JOINT_NAMES.index(end)] - joints[:, JOINT_NAMES.index(start)])


def _angle(vectors: Array, direction: Array) -> Array:
    """(N,) degrees between vectors (N, 3) and a direction or as many (.., 3)."""
    cosine = (vectors * direction).sum(-1)
    cosine /= np.linalg.norm(vectors, axis=-1) * np.linalg.norm(direction, axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _facing(scene: Scene, joints: Array, up: Array) -> Array:
    """(N,) degrees by which the body would have to turn to face the camera."""
    front = scene.rotations[:, 0, :, 2].numpy().astype(np.float64)
    towards = -joints[:, 0]
    level = [v - (v @ up)[:, None] * up for v in (front, towards)]
    return _angle(level[0] + 1e-9 * towards, level[1])
