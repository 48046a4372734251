"""The embedded body moves like the source skeleton."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from helpers.handmade_motion import NAMES, bone_directions, lively, moving, other_side, still
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES, MIRROR
from stdformer_ros.training.people.bvh import Motion, read_bvh
from stdformer_ros.training.people.retarget import BodyMotion, retarget

# bone of the embedded body: bone of the source that it follows
FOLLOWED = {
    (f"{side}_{ours}", f"{side}_{our_child}"): (letter + theirs, letter + their_child)
    for side, letter in (("left", "l"), ("right", "r"))
    for ours, our_child, theirs, their_child in (
        ("hip", "knee", "Thigh", "Shin"),
        ("knee", "ankle", "Shin", "Foot"),
        ("shoulder", "elbow", "Shldr", "ForeArm"),
        ("elbow", "wrist", "ForeArm", "Hand"),
    )
}


def joints_of(motion: BodyMotion) -> NDArray[np.float64]:
    """(N, 24, 3) relative to the pelvis."""
    frames = len(motion.root)
    matrices = Rotation.from_quat(motion.quaternions.reshape(-1, 4)).as_matrix()
    rotations = torch.from_numpy(matrices.reshape(frames, 24, 3, 3)).float()
    _, joints = BodyModel(108)(rotations, torch.zeros(frames, 10))
    return joints.double().numpy()


def our_direction(motion: BodyMotion, joint: str, child: str) -> NDArray[np.float64]:
    joints = joints_of(motion)
    bone = joints[:, JOINT_NAMES.index(child)] - joints[:, JOINT_NAMES.index(joint)]
    return np.asarray(bone / np.linalg.norm(bone, axis=-1, keepdims=True))


def assert_follows(motion: Motion, ours: BodyMotion, frames: slice = slice(None)) -> None:
    for (joint, child), (theirs, their_child) in FOLLOWED.items():
        np.testing.assert_allclose(
            our_direction(ours, joint, child),
            bone_directions(motion, theirs, their_child)[frames],
            atol=1e-4,
            err_msg=joint,
        )


def test_a_raised_left_arm_raises_our_left_arm_and_no_other() -> None:
    up = moving({"lShldr": np.array([[0, 0, 90.0]] * 2)})  # about z, from x to y
    body = retarget(up)
    upper_arm = our_direction(body, "left_shoulder", "left_elbow")
    assert (upper_arm[:, 1] > 0.99).all()
    other = our_direction(body, "right_shoulder", "right_elbow")
    assert (other[:, 0] < -0.99).all()


@pytest.mark.parametrize("seed", range(3))
def test_limbs_point_where_the_sources_limbs_point(seed: int) -> None:
    motion = lively(20, seed)
    assert_follows(motion, retarget(motion))


@pytest.mark.parametrize("letter", ["l", "r"])
def test_arms_that_are_straight_in_the_source_are_straight_on_the_body(letter: str) -> None:
    """The rest direction of a forearm is then that of the upper arm, whatever is drawn."""
    side = {"l": "left", "r": "right"}[letter]
    motion = lively(20, 0)
    forearm = our_direction(retarget(motion, straight_arms=True), f"{side}_elbow", f"{side}_wrist")
    np.testing.assert_allclose(
        forearm, bone_directions(motion, f"{letter}ForeArm", f"{letter}ForeArm"), atol=1e-4
    )


def test_a_rotation_of_the_whole_skeleton_rotates_the_pelvis() -> None:
    turn = np.array([[0, 70.0, 0], [0, 90.0, 0]])
    body = retarget(moving({"hip": turn}))
    pelvis = Rotation.from_quat(body.quaternions[:, 0]).as_rotvec(degrees=True)
    np.testing.assert_allclose(pelvis, turn, atol=1e-4)
    for name in ("spine1", "spine2", "spine3", "neck", "head"):
        local = Rotation.from_quat(body.quaternions[:, JOINT_NAMES.index(name)])
        assert local.magnitude().max() < 1e-5, name


def test_a_bent_spine_is_shared_by_two_joints() -> None:
    body = retarget(moving({"abdomen": np.array([[40.0, 0, 0]] * 2)}))
    for name in ("spine1", "spine2"):
        local = Rotation.from_quat(body.quaternions[:, JOINT_NAMES.index(name)])
        np.testing.assert_allclose(local.as_rotvec(degrees=True), [[20, 0, 0]] * 2, atol=1e-4)


def mirrored(motion: Motion) -> Motion:
    """The motion mirrored at x = 0; the skeleton is symmetric."""
    twins = [motion.names.index(other_side(name)) for name in motion.names]
    flip = np.diag([-1.0, 1.0, 1.0])
    return dataclasses.replace(
        motion,
        rotations=flip @ motion.rotations[:, twins] @ flip,
        root=motion.root * [-1.0, 1.0, 1.0],
    )


def test_mirrored_motion_gives_the_mirrored_body() -> None:
    motion = lively(20)
    body, other = retarget(motion), retarget(mirrored(motion))
    across = np.array([-1.0, 1.0, 1.0])
    # The rest pose of the embedded body is symmetric to a few millimetres.
    np.testing.assert_allclose(
        joints_of(other), joints_of(body)[:, list(MIRROR)] * across, atol=0.02
    )
    np.testing.assert_allclose(other.root, body.root * across, atol=1e-6)


def test_lengths_are_scaled_so_that_the_legs_are_as_long_as_ours() -> None:
    motion = lively(10)
    double = dataclasses.replace(motion, offsets=2 * motion.offsets, root=2 * motion.root)
    np.testing.assert_allclose(retarget(double).root, retarget(motion).root, rtol=1e-6)
    # the handmade skeleton has 2 units to the metre and legs of 0.8 m
    assert retarget(still()).root[0, 1] == pytest.approx(1.0, abs=0.1)


def test_a_first_frame_in_binding_pose_is_left_out() -> None:
    arms_down = {"lShldr": np.array([[0, 0, 0], [0, 0, -70.0], [0, 0, -71.0]])}
    motion = moving(arms_down)
    body = retarget(motion)
    assert len(body.root) == len(body.quaternions) == 2
    assert_follows(motion, body, slice(1, None))


def test_a_first_frame_like_the_second_stays() -> None:
    arms_down = {"lShldr": np.array([[0, 0, -69.0], [0, 0, -70.0], [0, 0, -71.0]])}
    assert len(retarget(moving(arms_down)).root) == 3


def test_a_foreign_skeleton_is_refused_with_what_it_lacks() -> None:
    motion = still()
    renamed = tuple("LeftUpLeg" if name == "lThigh" else name for name in NAMES)
    with pytest.raises(ValueError, match="lacks lThigh"):
        retarget(dataclasses.replace(motion, names=renamed))


@pytest.mark.parametrize("bone", ["lForeArm", "lFoot"])
def test_a_bone_without_length_is_refused(bone: str) -> None:
    motion = still()
    motion.offsets[NAMES.index(bone)] = 0.0
    with pytest.raises(ValueError, match=f"bone to {bone}.*length"):
        retarget(motion)


def test_a_skeleton_that_rests_with_its_arms_crossed_is_refused() -> None:
    motion = still()
    motion.offsets[NAMES.index("lForeArm")] *= -1.0
    with pytest.raises(ValueError, match=r"lForeArm.*left_shoulder"):
        retarget(motion)


@pytest.mark.parametrize("clip", ["cmu_05_01.bvh", "cmu_01_08.bvh"])
def test_captured_motion_is_followed(shared: Path, clip: str) -> None:
    motion = read_bvh(shared / "mocap" / clip)
    body = retarget(motion)
    left_out = len(motion.root) - len(body.root)
    assert left_out in (0, 1)
    assert_follows(motion, body, slice(left_out, None))
    assert np.isfinite(body.root).all()
    steps = np.linalg.norm(np.diff(body.root, axis=0), axis=1) / body.frame_time
    assert steps.max() < 12.0, "nobody runs faster than 12 m/s"


def test_a_captured_walk_has_a_plausible_height_and_speed(shared: Path) -> None:
    body = retarget(read_bvh(shared / "mocap" / "cmu_07_01.bvh"))
    assert 0.8 < np.median(body.root[:, 1]) < 1.1
    walked = np.linalg.norm(body.root[-1, [0, 2]] - body.root[0, [0, 2]])
    assert 0.8 < walked / (len(body.root) * body.frame_time) < 2.0
