"""People whom motion capture lacks: sitting, lying, children, half bodies, somebody in the way.

Each case is made from the same clips by one change, so that its row beside the others says what the
change costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.training.people.retarget import BodyMotion

Hide = Callable[[NDArray[np.floating], np.random.Generator], NDArray[np.bool_]]

SITTING_DEGREES = {"hip": -85.0, "knee": 80.0}
"""Of the legs about the body's left axis; negative lifts forwards."""
CHILD_METRES = (1.1, 1.4)
IN_THE_WAY_FRAMES = (30, 60)
"""For so long half of the person is hidden, and then for as long it is not."""


def _as_they_are(motion: BodyMotion) -> BodyMotion:
    return motion


def _nothing(pixels: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.zeros(pixels.shape[:2], bool)


@dataclass(frozen=True)
class Case:
    """What is changed.

    Attributes:
        move: the motion.
        stature: metres between which the standing height is drawn; None for adults as they are.
        hide: from the true landmarks (N, 21, 2) in pixels those that cannot be seen, (N, 21).
    """

    move: Callable[[BodyMotion], BodyMotion] = _as_they_are
    stature: tuple[float, float] | None = None
    hide: Hide = _nothing


def sitting(motion: BodyMotion) -> BodyMotion:
    """On a chair: trunk, head and arms move on, the pelvis stays, and so do the legs."""
    quaternions = motion.quaternions.copy()
    quaternions[:, 0] = (0.0, 0.0, 0.0, 1.0)
    for part, degrees in SITTING_DEGREES.items():
        turn = Rotation.from_euler("x", degrees, degrees=True).as_quat()
        for side in ("left", "right"):
            quaternions[:, JOINT_NAMES.index(f"{side}_{part}")] = turn
    return BodyMotion(quaternions, np.zeros_like(motion.root), motion.frame_time)


def lying(motion: BodyMotion) -> BodyMotion:
    """On the back: everything tipped over by a right angle, limbs moving on."""
    tip = Rotation.from_euler("x", -90.0, degrees=True)
    quaternions = motion.quaternions.copy()
    quaternions[:, 0] = (tip * Rotation.from_quat(quaternions[:, 0])).as_quat()
    around = motion.root - motion.root.mean(axis=0)
    return BodyMotion(quaternions, tip.apply(around).astype(np.float32), motion.frame_time)


def below_the_hips(pixels: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The image ends under the hips."""
    hips = [LANDMARK_NAMES.index(f"{side}_hip") for side in ("left", "right")]
    border = pixels[:, hips, 1].max(axis=1, keepdims=True)
    return np.asarray(pixels[..., 1] > border + 1e-3)


def behind_others(pixels: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Now and then somebody stands before the left or the right half of the person."""
    centre = 0.5 * (pixels[..., 0].min(axis=1) + pixels[..., 0].max(axis=1))[:, None]
    hidden = np.zeros(pixels.shape[:2], bool)
    frame = -int(rng.integers(0, IN_THE_WAY_FRAMES[1]))
    while frame < len(pixels):
        end = frame + int(rng.integers(*IN_THE_WAY_FRAMES))
        rows = slice(max(frame, 0), max(end, 0))
        beyond = pixels[rows, :, 0] > centre[rows]
        hidden[rows] = beyond if rng.random() < 0.5 else ~beyond
        frame = end + int(rng.integers(*IN_THE_WAY_FRAMES))
    return hidden


PLAIN = Case()
HARD_CASES = {
    "sitting": Case(move=sitting),
    "lying": Case(move=lying),
    "children": Case(stature=CHILD_METRES),
    "half_bodies": Case(hide=below_the_hips),
    "crowds": Case(hide=behind_others),
}
