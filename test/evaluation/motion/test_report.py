"""Conditions, hard cases, calibration and heights of `cli evaluate --motion`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from helpers.handmade_motion import bvh_text, lively, still
from stdformer_ros import cli
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.calibration import Reliability
from stdformer_ros.evaluation.motion.conditions import conditions
from stdformer_ros.evaluation.motion.errors import FrameErrors, summary, summary_where
from stdformer_ros.evaluation.motion.faulty_detector import detect
from stdformer_ros.evaluation.motion.hard_cases import HARD_CASES, PLAIN, Case, below_the_hips
from stdformer_ros.evaluation.motion.scenes import Scene, SceneMaker, standing_height
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


def held(scene: Scene) -> dict[str, np.ndarray]:
    return conditions(scene, detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed))


# --- conditions -----------------------------------------------------------------------------------


def test_a_standing_person_stands_in_every_camera() -> None:
    for scene in scenes(standing()):
        frame = held(scene)
        assert frame["trunk_upright"].all()
        for name in ("trunk_bent", "trunk_level", "sitting", "hand_over_head", "fast_limbs"):
            assert not frame[name].any(), name


def test_facing_is_told_from_the_camera_not_from_the_world() -> None:
    seen = scenes(standing(), clips=12)
    for scene in seen:
        front = scene.rotations[0, 0, :, 2].numpy()
        frame = held(scene)
        if front[2] < -0.9:  # it looks against the camera's axis
            assert frame["facing_camera"].all()
        if front[2] > 0.9:
            assert frame["facing_away"].all()
        kinds = [frame[k] for k in ("facing_camera", "side_view", "facing_away")]
        assert (np.sum(kinds, axis=0) == 1).all()
    kinds = [k for s in seen for k in ("facing_camera", "facing_away") if held(s)[k][0]]
    assert len(set(kinds)) == 2


@pytest.mark.parametrize(
    ("degrees", "name"), [(0, "trunk_upright"), (45, "trunk_bent"), (90, "trunk_level")]
)
def test_bending_is_against_the_worlds_vertical(degrees: float, name: str) -> None:
    for scene in scenes(turned(standing(), "x", degrees), clips=3):
        assert held(scene)[name].all()


def test_fast_and_near_and_lost() -> None:
    scene = scenes(standing(), clips=1)[0]
    assert held(scene)["near"].tolist() == (scene.joints[:, 0, 2] < 2.5).tolist()
    found = detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed)
    assert (conditions(scene, found)["three_lost"] == (found.lost.sum(axis=1) >= 3)).all()


# --- hard cases -----------------------------------------------------------------------------------


def test_the_cases_are_those_of_the_page() -> None:
    assert list(HARD_CASES) == ["sitting", "lying", "children", "half_bodies", "crowds"]


def test_who_sits_has_level_thighs_and_upright_shins() -> None:
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


def test_who_lies_looks_up() -> None:
    for scene in scenes(standing(), HARD_CASES["lying"], clips=3):
        assert held(scene)["trunk_level"].all()
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


def test_half_bodies_have_no_legs() -> None:
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


def test_in_crowds_one_half_of_a_person_is_hidden_about_half_of_the_time() -> None:
    seen = scenes(retarget(still(300)), HARD_CASES["crowds"])
    hidden = np.stack([s.hidden for s in seen])
    share = hidden.mean(axis=2)
    assert (share > 0).mean() == pytest.approx(0.5, abs=0.12)
    assert (share[share > 0] > 0.1).all()
    assert (share < 0.9).all()


# --- calibration ----------------------------------------------------------------------------------


def test_scores_that_hold_what_they_promise_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((4000, 14))
    honest, boaster = Reliability(), Reliability()
    honest.add(scores, rng.random(scores.shape) < scores)
    boaster.add(np.full((100, 14), 0.9), np.arange(1400).reshape(100, 14) % 2 == 0)
    assert honest.error == pytest.approx(0.0, abs=0.01)
    assert boaster.error == pytest.approx(0.4)
    assert boaster.bins() == [{"count": 1400, "score": 0.9, "right": 0.5}]
    assert [b["score"] for b in honest.bins()] == pytest.approx(np.arange(10) / 10 + 0.05, abs=0.01)


def test_a_score_of_one_falls_into_the_last_bin_and_no_score_into_none() -> None:
    reliability = Reliability()
    assert (reliability.error, reliability.bins()) == (None, [])
    reliability.add(np.ones(5), np.ones(5, bool))
    reliability.add(np.ones(0), np.ones(0, bool))
    assert (reliability.error, reliability.bins()[0]["count"]) == (0.0, 5)


# --- heights and chosen frames --------------------------------------------------------------------


def errors_of(height: np.ndarray, true_height: float) -> FrameErrors:
    joints = np.random.default_rng(0).normal(size=(len(height), 14, 3))
    pelvis = np.zeros((len(height), 3))
    return FrameErrors.of(joints, pelvis, joints, pelvis, true_height=true_height, height=height)


def test_heights_are_judged_within_a_scene() -> None:
    steady, trembling = np.full(10, 1.8), 1.6 + 0.1 * (-1.0) ** np.arange(10)
    row = summary([errors_of(steady, 1.7), errors_of(trembling, 1.6)])
    assert row["height_m"] == pytest.approx(1.7)
    assert row["height_std_m"] == pytest.approx(0.05)  # of 0 and 0.1
    assert row["height_error_m"] == pytest.approx(0.1)


def test_the_standing_height_is_that_of_the_mesh_at_rest() -> None:
    body, betas = BodyModel(431), torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    vertices, _ = body(torch.eye(3).expand(4, 24, 3, 3), betas)
    expected = vertices[..., 1].amax(1) - vertices[..., 1].amin(1)
    assert standing_height(body, betas).numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_chosen_frames_of_several_scenes() -> None:
    joints, pelvis = np.zeros((4, 14, 3)), np.zeros((4, 3))
    wrong = joints + np.array([0.0, 0.01, 0.02, 0.03])[:, None, None] * [1.0, 0.0, 0.0]
    errors = FrameErrors.of(wrong, pelvis, joints, pelvis, true_height=1.7)
    row = summary_where([errors, errors], [np.array([1, 1, 0, 0], bool), np.arange(4) == 3])
    assert row["frames"] == 3
    assert row["mpjpe_mm"] == pytest.approx((0 + 10 + 30) / 3, abs=1e-3)
    nothing = summary_where([errors], [np.zeros(4, bool)])
    assert (nothing["frames"], nothing["mpjpe_mm"]) == (0, None)


def test_the_command_has_rows_for_conditions_and_hard_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.bvh").write_text(bvh_text(lively(10)))
    arguments = ["evaluate", "--motion", str(tmp_path), "--mesh-level", "431", "--hard-cases"]
    plots = tmp_path / "plots"
    arguments += ["--json", str(tmp_path / "a.json"), "--plots", str(plots)]
    assert cli.main(arguments) == 0
    for folder in (plots, *(plots / case for case in HARD_CASES)):
        assert (folder / "worst_frames.png").exists(), folder
    result = json.loads((tmp_path / "a.json").read_text())
    views = [result["conditions"][k] for k in ("facing_camera", "side_view", "facing_away")]
    assert sum(row["frames"] for row in views) == result["frames"] == 30
    total = sum(row["frames"] * row["mpjpe_mm"] for row in views if row["frames"])
    assert total / 30 == pytest.approx(result["mpjpe_mm"], abs=0.01)
    assert result["hard_cases"].keys() == HARD_CASES.keys()
    assert result["hard_cases"]["children"]["frames"] == 30
    assert 0 <= result["calibration_error"] <= 1
    assert sum(b["count"] for b in result["reliability"]["all"]) == 30 * 14
    assert 1.0 < result["height_m"] < 2.5
    printed = capsys.readouterr().out
    assert "half_bodies" in printed
    assert "facing_away" in printed
