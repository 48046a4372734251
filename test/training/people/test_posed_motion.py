"""Moving bodies: their shapes, and how their motion is changed."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from helpers.handmade_motion import lively
from helpers.poses import landmarks_of
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES, PARENTS
from stdformer_ros.training.people import posed_motion
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.posed_motion import (
    MotionPoser,
    PosedMotion,
    quaternion_from_vector,
    quaternion_power,
    quaternion_product,
    quaternion_to_matrix,
)
from stdformer_ros.training.people.retarget import BodyMotion, retarget

# --- quaternions


def test_quaternions_of_vectors_are_those_of_scipy() -> None:
    vectors = np.random.default_rng(0).normal(size=(100, 3))
    vectors[0] = 0.0
    ours = quaternion_from_vector(torch.from_numpy(vectors)).numpy()
    theirs = Rotation.from_rotvec(vectors).as_quat()
    np.testing.assert_allclose(ours * np.sign(ours[:, 3:] * theirs[:, 3:]), theirs, atol=1e-12)


def test_the_right_factor_of_a_product_rotates_first() -> None:
    a, b = Rotation.random(100, random_state=0), Rotation.random(100, random_state=1)
    ours = quaternion_product(*(torch.from_numpy(r.as_quat()) for r in (a, b)))
    both = Rotation.from_quat(ours.numpy())
    np.testing.assert_allclose(both.as_matrix(), (a * b).as_matrix(), atol=1e-12)


def test_matrices_of_quaternions_are_those_of_scipy() -> None:
    rotations = Rotation.random(100, random_state=0)
    ours = quaternion_to_matrix(torch.from_numpy(rotations.as_quat()))
    np.testing.assert_allclose(ours, rotations.as_matrix(), atol=1e-12)


def test_a_power_multiplies_the_smaller_angle() -> None:
    rotations = Rotation.random(100, random_state=2)
    exponents = np.random.default_rng(3).uniform(0.0, 1.6, (100, 1))
    expected = Rotation.from_rotvec(exponents * rotations.as_rotvec()).as_matrix()
    for sign in (1.0, -1.0):  # both mean the same rotation
        quaternions = torch.from_numpy(sign * rotations.as_quat())
        ours = quaternion_power(quaternions, torch.from_numpy(exponents))
        np.testing.assert_allclose(quaternion_to_matrix(ours), expected, atol=1e-12)


def test_every_power_of_no_rotation_is_no_rotation() -> None:
    nothing = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    assert torch.equal(quaternion_power(nothing, torch.tensor([[1.5]])), nothing)


# --- posed motion

FRAMES, ANSWERS = 4, 3

SIDES = ("left", "right")

UPPER = {
    "spine2", "spine3", "neck", "head",
    *(f"{side}_{name}" for side in ("left", "right")
      for name in ("collar", "shoulder", "elbow", "wrist", "hand")),
}  # fmt: skip


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Motion as it was captured; each test switches on one change."""
    torch.manual_seed(0)
    for name in ("BEND", "LIMB_LENGTH", "MIXED", "REACHING", "SEATED", "TIPPED"):
        monkeypatch.setattr(posed_motion, name, 0.0)


def poser(*clips: BodyMotion) -> MotionPoser:
    return MotionPoser(MotionLibrary(clips, FRAMES), ANSWERS, torch.device("cpu"))


def upright(degrees: float = 0.0, frames: int = 12) -> BodyMotion:
    """The rest pose, facing z; or every joint rotated about x by an angle in degrees."""
    vector = np.radians([degrees, 0.0, 0.0])
    quaternions = np.tile(Rotation.from_rotvec(vector).as_quat(), (frames, 24, 1))
    return BodyMotion(quaternions.astype(np.float32), np.zeros((frames, 3), np.float32), 1 / 30)


def changed(monkeypatch: pytest.MonkeyPatch, count: int = 1000, **parts: float) -> PosedMotion:
    """People in the rest pose with the given changes."""
    for name, value in parts.items():
        monkeypatch.setattr(posed_motion, name, value)
    return poser(upright()).pose(count)


def rotation_vectors(rotations: Tensor) -> np.ndarray:
    flat = Rotation.from_matrix(rotations.reshape(-1, 3, 3).double().numpy()).as_rotvec()
    return np.asarray(flat.reshape(*rotations.shape[:-2], 3))


def at(motion: PosedMotion, name: str) -> Tensor:
    """(B, F, 3)."""
    return motion.landmarks[:, :, LANDMARK_NAMES.index(name)]


def joints_of(motion: PosedMotion) -> dict[str, Tensor]:
    """Name -> (B, 3), of the newest frame."""
    _, joints = BodyModel(108)(motion.rotations[:, -1], motion.betas)
    return {name: joints[:, i] for i, name in enumerate(JOINT_NAMES)}


# --- the unchanged motion


def test_shapes_are_as_documented_and_the_last_pelvis_is_the_origin() -> None:
    motion = poser(retarget(lively(40))).pose(5)
    assert motion.landmarks.shape == (5, FRAMES, 21, 3)
    assert motion.rotations.shape == (5, ANSWERS, 24, 3, 3)
    assert motion.pelvis.shape == (5, ANSWERS, 3)
    assert motion.betas.shape == (5, 10)
    assert (motion.pelvis[:, -1] == 0).all()
    assert motion.pelvis[:, 0].norm(dim=-1).min() > 0.005, "lively() walks"


def test_landmarks_agree_with_rotations_shapes_and_places() -> None:
    motion = poser(retarget(lively(40))).pose(50)
    betas = motion.betas[:, None].expand(-1, ANSWERS, -1).flatten(0, 1)
    points = landmarks_of(motion.rotations.flatten(0, 1), betas).unflatten(0, (50, ANSWERS))
    expected = points + motion.pelvis[:, :, None]
    torch.testing.assert_close(motion.landmarks[:, -ANSWERS:], expected, atol=1e-5, rtol=0)


def test_shapes_differ_like_adults() -> None:
    betas = poser(upright()).pose(1000).betas
    assert betas.mean(0).abs().max() < 0.12
    assert betas.std(0).numpy() == pytest.approx(np.ones(10), abs=0.08)


# --- people who sit


def test_seated_people_have_thighs_forward_and_shins_down(monkeypatch: pytest.MonkeyPatch) -> None:
    motion = changed(monkeypatch, SEATED=1.0)
    joints = joints_of(motion)
    for side, outward in (("left", 1.0), ("right", -1.0)):
        thigh = joints[f"{side}_knee"] - joints[f"{side}_hip"]
        shin = joints[f"{side}_ankle"] - joints[f"{side}_knee"]
        # the body looks along z, y is up
        lift = torch.atan2(thigh[:, 2], -thigh[:, 1]).rad2deg()
        assert lift.mean().item() == pytest.approx(85.0, abs=3.0)
        assert lift.std().item() == pytest.approx(12.0, abs=1.5)
        hang = torch.atan2(shin[:, 2], -shin[:, 1]).rad2deg()
        assert hang.mean().abs() < 3.0
        assert hang.std().item() == pytest.approx(15.0, abs=2.0)
        apart = torch.atan2(outward * thigh[:, 0], thigh[:, 2].clamp(min=0.1)).rad2deg()
        # in the rest pose of the average body, thighs point inward a little
        assert apart.mean().item() == pytest.approx(8.0, abs=3.5)


def test_seated_people_would_fit_on_a_chair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knees are in front of the hips, at their height; ankles are below the knees."""
    motion = changed(monkeypatch, SEATED=1.0)
    for side in ("left", "right"):
        hip, knee, ankle = (at(motion, f"{side}_{n}")[:, -1] for n in ("hip", "knee", "ankle"))
        assert (knee - hip)[:, 2].mean() > 0.3
        assert ((knee - hip)[:, 2] > 0.2).float().mean() > 0.99
        assert (knee - hip)[:, 1].mean().abs() < 0.08
        assert ((knee - ankle)[:, 1] > 0.2).float().mean() > 0.99
        assert (knee - ankle)[:, 1].mean() > 0.3
    above = at(motion, "nose")[:, -1, 1] - at(motion, "left_hip")[:, -1, 1]
    assert above.min() > 0.45, "the trunk stays upright"


def test_seated_legs_are_independent_and_do_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posed_motion, "SEATED", 1.0)
    motion = poser(retarget(lively(40))).pose(100)
    legs = [JOINT_NAMES.index(f"{s}_{n}") for s in ("left", "right") for n in ("hip", "knee")]
    moved = (motion.rotations[:, 1:] - motion.rotations[:, :-1]).abs().amax((1, 3, 4))
    assert moved[:, legs].max() < 1e-5
    assert moved[:, JOINT_NAMES.index("left_elbow")].min() > 1e-4, "the arms keep moving"
    left, right = motion.rotations[:, -1, legs[0], 2, 1], motion.rotations[:, -1, legs[2], 2, 1]
    assert torch.corrcoef(torch.stack([left, right]))[0, 1].abs() < 0.3


# --- people who lie


def test_tipped_people_lie_in_any_direction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    motion = changed(monkeypatch, TIPPED=1.0)
    vectors = rotation_vectors(motion.rotations[:, :, 0])
    assert np.ptp(vectors, axis=1).max() < 1e-5, "for the whole sequence"
    vectors = vectors[:, 0]
    assert np.abs(vectors[:, 1]).max() < 1e-4, "the axis is horizontal"
    angle = np.degrees(np.linalg.norm(vectors, axis=1))
    assert angle.mean() == pytest.approx(90.0, abs=2.0)
    assert angle.std() == pytest.approx(20.0, abs=1.5)
    around = np.arctan2(vectors[:, 0], vectors[:, 2])
    quarters, _ = np.histogram(around, 4, (-pi, pi))
    assert (quarters > 200).all()
    others = rotation_vectors(motion.rotations[:, :, 1:])
    assert np.abs(others).max() < 1e-5, "the rest of the body is as it was"


def test_the_landmarks_of_tipped_people_lie_level(monkeypatch: pytest.MonkeyPatch) -> None:
    standing = changed(monkeypatch, count=200)
    length = (at(standing, "nose") - at(standing, "left_heel"))[:, -1, 1].mean()
    motion = changed(monkeypatch, TIPPED=1.0)
    line = (at(motion, "nose") - at(motion, "left_heel"))[:, -1]
    assert (line[:, 1] / length).mean().abs() < 0.05
    # sin 20 degrees, and bodies differ
    assert (line[:, 1] / length).std().item() == pytest.approx(0.33, abs=0.04)
    assert (line[:, [0, 2]].norm(dim=-1) / length).mean() > 0.9


# --- mixed people


def test_mixed_people_have_the_upper_body_of_another_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each clip rotates every joint by its own angle."""
    monkeypatch.setattr(posed_motion, "MIXED", 1.0)
    degrees = (2.0, 4.0, 6.0, 8.0)
    motion = poser(*(upright(d) for d in degrees)).pose(200)
    bends = np.degrees(rotation_vectors(motion.rotations))[..., 0].round(2)
    assert set(bends.ravel()) == set(degrees)
    upper = [j for j, name in enumerate(JOINT_NAMES) if name in UPPER]
    lower = [j for j, name in enumerate(JOINT_NAMES) if name not in UPPER]
    assert (np.ptp(bends[:, :, upper], axis=(1, 2)) == 0).all()
    assert (np.ptp(bends[:, :, lower], axis=(1, 2)) == 0).all()
    own, others = bends[:, 0, 0], bends[:, 0, upper[0]]
    np.testing.assert_array_equal(others, np.roll(own, 1))


# --- how people differ


def test_every_joint_has_a_small_constant_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    motion = changed(monkeypatch, BEND=0.06)
    vectors = rotation_vectors(motion.rotations)
    assert np.ptp(vectors, axis=1).max() < 1e-5, "the same in every frame"
    assert np.abs(vectors[:, :, 0]).max() < 1e-5, "the pelvis is not bent"
    spread = vectors[:, 0, 1:].std(axis=0)
    np.testing.assert_allclose(spread, 0.06, rtol=0.12)


def test_reaching_people_raise_arms_and_lean(monkeypatch: pytest.MonkeyPatch) -> None:
    motion = changed(monkeypatch, REACHING=1.0)
    joints = joints_of(motion)
    for side in SIDES:
        above = joints[f"{side}_elbow"][:, 1] - joints[f"{side}_shoulder"][:, 1]
        assert (above > 0.1).float().mean() > 0.1, "arms up"
        assert (above < -0.1).float().mean() > 0.1, "arms down"
    trunk = joints["neck"]
    lean = torch.atan2(trunk[:, [0, 2]].norm(dim=-1), trunk[:, 1]).rad2deg()
    assert 20 < lean.mean() < 40


def rest_landmarks(betas: Tensor) -> Tensor:
    return landmarks_of(torch.eye(3).expand(len(betas), 24, 3, 3), betas)


def bone_factors(motion: PosedMotion, side: str, start: str, end: str) -> Tensor:
    """(B,) length relative to that of the shape; in the rest pose, landmark offsets are known."""
    offsets = {"ankle": (0.0, 0.024, 0.0), "wrist": (0.015 if side == "left" else -0.015, 0.0, 0.0)}
    rows = [LANDMARK_NAMES.index(f"{side}_{name}") for name in (start, end)]
    offset = torch.tensor(offsets[end])
    ours, usual = (
        (places[:, rows].diff(dim=1)[:, 0] - offset).norm(dim=-1)
        for places in (motion.landmarks[:, -1], rest_landmarks(motion.betas))
    )
    return ours / usual


def test_bones_are_longer_or_shorter_alike_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    motion = changed(monkeypatch, LIMB_LENGTH=0.02)
    shin = torch.stack([bone_factors(motion, side, "knee", "ankle") for side in SIDES])
    forearm = torch.stack([bone_factors(motion, side, "elbow", "wrist") for side in SIDES])
    for factors in (shin, forearm):
        assert factors.mean().item() == pytest.approx(1.0, abs=0.003)
        assert factors.std().item() == pytest.approx(0.02, rel=0.08)
        assert (factors[0] - factors[1]).abs().max() < 1e-5
    assert torch.corrcoef(torch.stack([shin[0], forearm[0]]))[0, 1].abs() < 0.12


def test_the_trunk_varies_as_much_as_limbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bone from the pelvis to the shoulder varies by two hundredths of its length."""
    motion = changed(monkeypatch, count=4000, LIMB_LENGTH=0.02)
    joints = BodyModel(108).joints_template
    variance, joint = 0.0, JOINT_NAMES.index("left_shoulder")
    while joint:
        variance += float(0.02 * (joints[joint] - joints[PARENTS[joint]])[1]) ** 2
        joint = PARENTS[joint]
    height = at(motion, "left_shoulder")[:, -1, 1]
    usual = rest_landmarks(motion.betas)[:, LANDMARK_NAMES.index("left_shoulder"), 1]
    assert (height - usual).std().item() == pytest.approx(variance**0.5, rel=0.06)


def test_feet_and_head_move_with_longer_bones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heels move with the ankle, the nose moves with the head."""
    motion = changed(monkeypatch, LIMB_LENGTH=0.05)
    places = rest_landmarks(motion.betas)
    for start, end in (("left_ankle", "left_heel"), ("right_ankle", "right_heel")):
        rows = [LANDMARK_NAMES.index(name) for name in (start, end)]
        off = motion.landmarks[:, -1, rows].diff(dim=1) - places[:, rows].diff(dim=1)
        assert off.norm(dim=-1).std() < 0.002, end
    ankle, nose = (LANDMARK_NAMES.index(name) for name in ("left_ankle", "nose"))
    moved = motion.landmarks[:, -1] - places
    assert moved[:, ankle, 1].std() > 0.02
    assert moved[:, nose, 1].std() > 0.01


# --- how many


@pytest.mark.parametrize(
    ("part", "expected"),
    [("MIXED", 0.3), ("REACHING", 0.4), ("SEATED", 0.06), ("TIPPED", 0.04)],
)
def test_changes_are_as_frequent_as_documented(
    monkeypatch: pytest.MonkeyPatch, part: str, expected: float
) -> None:
    monkeypatch.undo()
    assert getattr(posed_motion, part) == expected
    for name in ("BEND", "LIMB_LENGTH", "MIXED", "REACHING", "SEATED", "TIPPED"):
        monkeypatch.setattr(posed_motion, name, expected if name == part else 0.0)
    bent = [upright(2.0), upright(4.0)]
    motion = poser(*bent).pose(4000)
    bends = np.degrees(rotation_vectors(motion.rotations[:, -1]))
    if part == "MIXED":  # half of the neighbours move as in the same clip
        chosen = 2 * (np.abs(bends[:, 0, 0] - bends[:, 15, 0]) > 1).mean()
    elif part == "SEATED":
        chosen = (bends[:, JOINT_NAMES.index("left_knee"), 0] > 15).mean()
    elif part == "REACHING":  # everyone who reaches leans at least
        chosen = (np.abs(bends[:, 0, 2]) > 0.01).mean()
    else:
        chosen = (np.linalg.norm(bends[:, 0], axis=1) > 10).mean()
    assert chosen == pytest.approx(expected, abs=0.02)


def test_the_other_documented_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (posed_motion.BEND, posed_motion.LIMB_LENGTH) == (0.06, 0.02)
