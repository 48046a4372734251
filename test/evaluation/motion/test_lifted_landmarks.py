"""The baseline of `cli evaluate --motion`: landmarks lifted by true bone lengths."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.handmade_motion import lively
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.motion.errors import (
    JOINTS,
)
from stdformer_ros.evaluation.motion.lifted_landmarks import lift
from stdformer_ros.evaluation.motion.scenes import SceneMaker
from stdformer_ros.training.people.retarget import BodyMotion, retarget

SKELETON = ("pelvis", *JOINTS)


def motion(frames: int = 60, seed: int = 0) -> BodyMotion:
    return retarget(lively(frames, seed))


def test_without_faults_lifting_gives_the_truth() -> None:
    scene = next(iter(SceneMaker(0)("clip", motion())))
    joints = scene.joints[:, [JOINT_NAMES.index(n) for n in SKELETON]].double().numpy()
    assert lift(joints, SKELETON, np.zeros((60, 21, 2))) == pytest.approx(joints, abs=1e-6)


def test_lifted_bones_have_their_true_lengths() -> None:
    scene = next(iter(SceneMaker(0)("clip", motion())))
    joints = scene.joints[:, [JOINT_NAMES.index(n) for n in SKELETON]].double().numpy()
    faults = 0.01 * np.random.default_rng(0).normal(size=(60, 21, 2))
    lifted = lift(joints, SKELETON, faults)

    def lengths(points: np.ndarray, a: str, b: str) -> np.ndarray:
        difference = points[:, SKELETON.index(a)] - points[:, SKELETON.index(b)]
        return np.linalg.norm(difference, axis=1)

    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("elbow", "wrist")):
            names = f"{side}_{a}", f"{side}_{b}"
            assert lengths(lifted, *names) == pytest.approx(lengths(joints, *names), abs=1e-6)
    error = np.linalg.norm(lifted - joints, axis=-1)
    assert error.mean() > 0.02


def test_a_fault_of_the_wrist_moves_only_the_wrist() -> None:
    scene = next(iter(SceneMaker(0)("clip", motion())))
    joints = scene.joints[:, [JOINT_NAMES.index(n) for n in SKELETON]].double().numpy()
    faults = np.zeros((60, 21, 2))
    faults[:, LANDMARK_NAMES.index("left_wrist")] = 0.02
    moved = np.linalg.norm(lift(joints, SKELETON, faults) - joints, axis=-1).max(axis=0) > 1e-6
    assert [name for name, m in zip(SKELETON, moved, strict=True) if m] == ["left_wrist"]
