"""Hard cases and conditions of `cli evaluate --motion`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from helpers.handmade_motion import lively, still
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.motion.faulty_detector import detect
from stdformer_ros.evaluation.motion.hard_cases import HARD_CASES, below_the_hips, conditions
from stdformer_ros.evaluation.motion.scenes import PLAIN, Case, Scene, SceneMaker
from stdformer_ros.training.people.retarget import BodyMotion, retarget

FRAMES = 20


def standing() -> BodyMotion:
    return retarget(still(FRAMES))


def turned(motion: BodyMotion, axis: str, degrees: float) -> BodyMotion:
    quaternions = motion.quaternions.copy()
    turn = Rotation.from_euler(axis, degrees, degrees=True)
    quaternions[:, 0] = (turn * Rotation.from_quat(quaternions[:, 0])).as_quat()
    return BodyMotion(quaternions, motion.root, motion.frame_time)


def scenes(motion: BodyMotion, case: Case = PLAIN, clips: int = 6) -> list[Scene]:
    return [s for i in range(clips) for s in SceneMaker(0, case)(f"clip_{i}", motion)]


def conditions_of(scene: Scene) -> dict[str, np.ndarray]:
    return conditions(scene, detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed))


# --- conditions


def test_a_standing_person_is_upright_in_every_camera() -> None:
    for scene in scenes(standing()):
        frame = conditions_of(scene)
        assert frame["trunk_upright"].all()
        for name in ("trunk_bent", "trunk_level", "sitting", "hand_over_head", "fast_limbs"):
            assert not frame[name].any(), name


def test_facing_is_relative_to_the_camera_not_to_the_world() -> None:
    seen = scenes(standing(), clips=12)
    for scene in seen:
        front = scene.rotations[0, 0, :, 2].numpy()
        frame = conditions_of(scene)
        if front[2] < -0.9:  # it looks towards the camera
            assert frame["facing_camera"].all()
        if front[2] > 0.9:
            assert frame["facing_away"].all()
        kinds = [frame[k] for k in ("facing_camera", "side_view", "facing_away")]
        assert (np.sum(kinds, axis=0) == 1).all()
    kinds = [k for s in seen for k in ("facing_camera", "facing_away") if conditions_of(s)[k][0]]
    assert len(set(kinds)) == 2


@pytest.mark.parametrize(
    ("degrees", "name"), [(0, "trunk_upright"), (45, "trunk_bent"), (90, "trunk_level")]
)
def test_bending_is_measured_against_the_vertical_of_the_world(degrees: float, name: str) -> None:
    for scene in scenes(turned(standing(), "x", degrees), clips=3):
        assert conditions_of(scene)[name].all()


def test_near_frames_and_lost_landmarks() -> None:
    scene = scenes(standing(), clips=1)[0]
    assert conditions_of(scene)["near"].tolist() == (scene.joints[:, 0, 2] < 2.5).tolist()
    found = detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed)
    assert (conditions(scene, found)["three_lost"] == (found.lost.sum(axis=1) >= 3)).all()


# --- hard cases


def test_the_hard_cases_are_the_documented_ones() -> None:
    assert list(HARD_CASES) == ["sitting", "lying", "children", "half_bodies", "crowds"]


def test_sitting_people_have_level_thighs_and_upright_shins() -> None:
    for scene in scenes(retarget(lively(FRAMES)), HARD_CASES["sitting"], clips=3):
        joints = scene.joints.numpy()
        for side in ("left", "right"):
            hip, knee, ankle = (
                joints[:, JOINT_NAMES.index(f"{side}_{n}")] for n in ("hip", "knee", "ankle")
            )
            assert np.abs((knee - hip) @ scene.up).max() < 0.12
            assert ((ankle - knee) @ scene.up).max() < -0.3
            ahead = scene.rotations[:, 0, :, 2].numpy()
            assert ((knee - hip) * ahead).sum(axis=1).min() > 0.3


def test_lying_people_look_up() -> None:
    for scene in scenes(standing(), HARD_CASES["lying"], clips=3):
        assert conditions_of(scene)["trunk_level"].all()
        front = scene.rotations[:, 0, :, 2].numpy()
        assert front @ scene.up == pytest.approx(1.0, abs=0.1)


def test_children_are_small() -> None:
    heights = [s.stature for s in scenes(standing(), HARD_CASES["children"])]
    assert min(heights) >= 1.1 - 1e-3
    assert max(heights) <= 1.4 + 1e-3
    assert np.std(heights) > 0.01
    scene = scenes(standing(), HARD_CASES["children"], clips=1)[0]
    vertices, _ = BodyModel(1723)(torch.eye(3).expand(1, 24, 3, 3), scene.betas[None])
    assert float(np.ptp(vertices[0, :, 1].numpy())) == pytest.approx(scene.stature, abs=1e-4)


def test_half_bodies_have_hidden_legs() -> None:
    seen = scenes(standing(), HARD_CASES["half_bodies"], clips=2)
    for scene in seen:
        names = {LANDMARK_NAMES[i] for i in np.flatnonzero(scene.hidden.all(axis=0))}
        legs = {f"{s}_{n}" for s in ("left", "right") for n in ("knee", "ankle", "heel")}
        assert legs <= names
        assert not {"nose", "left_hip", "right_shoulder"} & names
        found = detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed)
        swapped = (found.visibility > 0) & scene.hidden
        assert swapped.any(axis=1).mean() < 0.2  # only where left and right are exchanged
    assert below_the_hips(seen[0].pixels, np.random.default_rng(0)).any()


def test_in_crowds_half_of_the_person_is_hidden_half_of_the_time() -> None:
    seen = scenes(retarget(still(300)), HARD_CASES["crowds"])
    hidden = np.stack([s.hidden for s in seen])
    share = hidden.mean(axis=2)
    assert (share > 0).mean() == pytest.approx(0.5, abs=0.12)
    assert (share[share > 0] > 0.1).all()
    assert (share < 0.9).all()
