"""Hard people and hard frames: where an estimator fails.

`HARD_CASES` are people whom motion capture lacks: sitting, lying, children, half in the image,
partly hidden by others. Each case is made from the same clips by a single change. Comparing its
errors with those of the unchanged clips shows the effect of this change.

`conditions` sorts the frames of a scene by the true body: facing the camera, bent, fast ...
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.motion.faulty_detector import Detections
from stdformer_ros.evaluation.motion.scenes import Case, Scene
from stdformer_ros.training.people.retarget import BodyMotion

Array = NDArray[np.float64]

SITTING_DEGREES = {"hip": -85.0, "knee": 80.0}
"""Rotations of the legs' joints about the axis to the body's left; negative: forwards and up."""
CHILD_METRES = (1.1, 1.4)
OCCLUSION_FRAMES = (30, 60)
"""Range of the number of frames for which half of the person is hidden, and then visible."""

_SIDES = ("left", "right")


def sitting(motion: BodyMotion) -> BodyMotion:
    """Sitting on a chair: trunk, head and arms keep their motion, pelvis and legs do not move."""
    quaternions = motion.quaternions.copy()
    quaternions[:, 0] = (0.0, 0.0, 0.0, 1.0)
    for part, degrees in SITTING_DEGREES.items():
        rotation = Rotation.from_euler("x", degrees, degrees=True).as_quat()
        for side in _SIDES:
            quaternions[:, JOINT_NAMES.index(f"{side}_{part}")] = rotation
    return BodyMotion(quaternions, np.zeros_like(motion.root), motion.frame_time)


def lying(motion: BodyMotion) -> BodyMotion:
    """Lying on the back: the body is tipped over by a right angle; limbs keep their motion."""
    tip = Rotation.from_euler("x", -90.0, degrees=True)
    quaternions = motion.quaternions.copy()
    quaternions[:, 0] = (tip * Rotation.from_quat(quaternions[:, 0])).as_quat()
    around = motion.root - motion.root.mean(axis=0)
    return BodyMotion(quaternions, tip.apply(around).astype(np.float32), motion.frame_time)


def below_the_hips(pixels: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(N, 21) bool: hides the landmarks (N, 21, 2) below the hips, as the image's border does."""
    hips = [LANDMARK_NAMES.index(f"{side}_hip") for side in _SIDES]
    border = pixels[:, hips, 1].max(axis=1, keepdims=True)
    return np.asarray(pixels[..., 1] > border + 1e-3)


def behind_others(pixels: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(N, 21) bool: hides the left or the right half at times, as people do who pass by."""
    centre = 0.5 * (pixels[..., 0].min(axis=1) + pixels[..., 0].max(axis=1))[:, None]
    hidden = np.zeros(pixels.shape[:2], bool)
    frame = -int(rng.integers(0, OCCLUSION_FRAMES[1]))
    while frame < len(pixels):
        end = frame + int(rng.integers(*OCCLUSION_FRAMES))
        rows = slice(max(frame, 0), max(end, 0))
        beyond = pixels[rows, :, 0] > centre[rows]
        hidden[rows] = beyond if rng.random() < 0.5 else ~beyond
        frame = end + int(rng.integers(*OCCLUSION_FRAMES))
    return hidden


HARD_CASES = {
    "sitting": Case(move=sitting),
    "lying": Case(move=lying),
    "children": Case(stature=CHILD_METRES),
    "half_bodies": Case(hide=below_the_hips),
    "crowds": Case(hide=behind_others),
}


def conditions(scene: Scene, detections: Detections) -> dict[str, NDArray[np.bool_]]:
    """Which conditions hold in each of the N frames of a scene; several can hold in a frame.

    The trunk is the line from pelvis to neck, a thigh from hip to knee; angles are measured against
    the vertical of the world. Facing is the angle, seen from above, between the pelvis' front and
    the direction to the camera. Limbs are fast if the joints move at more than 1 m/s relative to
    the pelvis, on average. Near is less than 2.5 m from the camera, far more than 5 m.

    Returns:
        (N,) bool for each condition, by its name.
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
    """(N,) degrees between vectors (N, 3) and one direction (3,) or one for each (N, 3)."""
    cosine = (vectors * direction).sum(-1)
    cosine /= np.linalg.norm(vectors, axis=-1) * np.linalg.norm(direction, axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _facing(scene: Scene, joints: Array, up: Array) -> Array:
    """(N,) degrees by which the body would have to turn about the vertical to face the camera."""
    front = scene.rotations[:, 0, :, 2].numpy().astype(np.float64)
    towards = -joints[:, 0]
    level = [v - (v @ up)[:, None] * up for v in (front, towards)]
    return _angle(level[0] + 1e-9 * towards, level[1])
