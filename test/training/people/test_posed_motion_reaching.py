"""`reaching` changes poses as documented while the clip's motion goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from helpers.handmade_motion import lively
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.training.people import posed_motion
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.posed_motion import (
    DRIFT,
    FOLDS,
    LEAN,
    LIMBS,
    MOVED,
    SPINE,
    reaching,
)
from stdformer_ros.training.people.retarget import retarget

PEOPLE, FRAMES = 4000, 3

SIDES = ("left", "right")

STILL = {"neck", "head", *(f"{s}_{n}" for s in SIDES for n in ("ankle", "foot", "wrist", "hand"))}


def vectors_of(quaternions: torch.Tensor, name: str) -> np.ndarray:
    """(B, F, 3) rotation vectors of a joint."""
    joint = quaternions[:, :, JOINT_NAMES.index(name)]
    flat = Rotation.from_quat(joint.reshape(-1, 4).double().numpy()).as_rotvec()
    return np.asarray(flat.reshape(*joint.shape[:2], 3))


@pytest.fixture(scope="module")
def from_rest() -> torch.Tensor:
    torch.manual_seed(0)
    rest = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(PEOPLE, FRAMES, 24, 4)
    return reaching(rest)


def chosen(vectors: np.ndarray) -> np.ndarray:
    return np.abs(vectors[:, 0]).max(axis=-1) > 1e-6


def test_the_whole_body_leans_about_horizontal_axes(from_rest: torch.Tensor) -> None:
    lean = vectors_of(from_rest, "pelvis")[:, 0]
    np.testing.assert_allclose(lean.std(axis=0), LEAN, atol=0.015)
    assert np.abs(lean[:, 1]).max() < 1e-5


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", LIMBS)
def test_limbs_are_rotated_as_often_and_as_far_as_documented(
    from_rest: torch.Tensor, side: str, name: str
) -> None:
    vectors = vectors_of(from_rest, f"{side}_{name}")
    moved = chosen(vectors)
    assert moved.mean() == pytest.approx(MOVED, abs=0.03)
    # Rotations by more than 180 degrees are read back as the smaller rotation: use the median.
    spread = np.median(np.abs(vectors[moved, 0]), axis=0) / 0.6745
    np.testing.assert_allclose(spread, LIMBS[name], rtol=0.1)


def test_sides_and_limbs_are_independent(from_rest: torch.Tensor) -> None:
    arms, legs = (
        [chosen(vectors_of(from_rest, f"{s}_{n}")) for s in SIDES] for n in LIMBS if n != "collar"
    )
    for a, b in ((arms[0], arms[1]), (legs[0], legs[1]), (arms[0], legs[0])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.06


def test_three_joints_of_the_spine_bend_alike(from_rest: torch.Tensor) -> None:
    first, *others = (vectors_of(from_rest, f"spine{k}") for k in (1, 2, 3))
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-6)
    moved = chosen(first)
    assert moved.mean() == pytest.approx(MOVED, abs=0.03)
    np.testing.assert_allclose(first[moved, 0].std(axis=0), SPINE, rtol=0.1)


def test_rotations_drift_during_a_sequence(from_rest: torch.Tensor) -> None:
    lean = vectors_of(from_rest, "pelvis")
    change = lean[:, -1] - lean[:, 0]
    np.testing.assert_allclose(change.std(axis=0), DRIFT * np.array(LEAN), atol=0.01)
    np.testing.assert_allclose(lean[:, 1] - lean[:, 0], change / 2, atol=0.03)


def test_straight_hinges_hands_feet_and_head_are_unchanged(from_rest: torch.Tensor) -> None:
    hinges = {f"{side}_{name}" for side in SIDES for name in FOLDS}
    for name in STILL | hinges:
        assert np.abs(vectors_of(from_rest, name)).max() < 1e-6, name


def test_hinges_keep_their_axis() -> None:
    """Knees and elbows keep their axis and never bend backwards."""
    torch.manual_seed(0)
    bent = torch.from_numpy(Rotation.from_rotvec([1.0, 0.0, 0.0]).as_quat()).float()
    result = reaching(bent.expand(PEOPLE, FRAMES, 24, 4))
    for side in SIDES:
        for name, most in FOLDS.items():
            vectors = vectors_of(result, f"{side}_{name}")
            assert np.abs(vectors[..., 1:]).max() < 1e-5
            angle = vectors[..., 0]
            assert np.ptp(angle, axis=1).max() < 1e-5, "the clip's own motion, scaled"
            assert angle.min() > -1e-5
            assert angle.max() == pytest.approx(most, abs=0.01)
            assert (np.abs(angle[:, 0] - 1.0) < 1e-5).mean() == pytest.approx(1 - MOVED, abs=0.03)


def test_the_motion_goes_on_and_the_input_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    clip, _ = MotionLibrary([retarget(lively(40))], 8).sample(50)
    before = clip.clone()
    moved = reaching(clip)
    assert torch.equal(clip, before)
    torch.testing.assert_close(moved.norm(dim=-1), torch.ones(50, 8, 24), atol=1e-5, rtol=0)
    assert (moved[:, 1:] - moved[:, :-1]).abs().amax(dim=(1, 3))[:, 1:3].min() > 1e-4
    monkeypatch.setattr(posed_motion, "MOVED", 0.0)
    monkeypatch.setattr(posed_motion, "LEAN", (0.0, 0.0, 0.0))
    torch.testing.assert_close(reaching(clip), clip, atol=1e-6, rtol=0)
