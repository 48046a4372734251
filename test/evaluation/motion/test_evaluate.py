"""`cli evaluate --motion`: scenes, causal answers, errors, baseline, lag, the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.handmade_motion import bvh_text, lively
from stdformer_ros import cli
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import BONES, JOINT_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.evaluation.motion.causal_answers import causal_answers
from stdformer_ros.evaluation.motion.errors import JOINTS, FrameErrors, summary
from stdformer_ros.evaluation.motion.evaluate import MotionEvaluation
from stdformer_ros.evaluation.motion.faulty_detector import as_people, detect
from stdformer_ros.evaluation.motion.lag import lag_frames, velocity_correlation
from stdformer_ros.evaluation.motion.lifted_landmarks import lift
from stdformer_ros.evaluation.motion.report import MotionReport
from stdformer_ros.evaluation.motion.scenes import Scene, SceneMaker, read_clip
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.training.people.retarget import BodyMotion, retarget
from stdformer_ros.types import Body, Frame, Person

CAMERA = Camera(1280, 720, 900.0, 900.0, 640.0, 360.0)


def motion(frames: int = 60, seed: int = 0) -> BodyMotion:
    return retarget(lively(frames, seed))


def folder_of_clips(path: Path, *clips: str, frames: int = 12) -> Path:
    path.mkdir()
    for seed, name in enumerate(clips):
        (path / f"{name}.bvh").write_text(bvh_text(lively(frames, seed)))
    return path


def skeletons(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random joints (count, 14, 3) and pelvis (count, 3), three metres away."""
    rng = np.random.default_rng(seed)
    pelvis = rng.normal(loc=(0.0, 0.0, 3.0), size=(count, 3))
    return pelvis[:, None] + 0.4 * rng.normal(size=(count, 14, 3)), pelvis


compare = partial(FrameErrors.of, true_height=1.7)


# --- scenes ---------------------------------------------------------------------------------------


def test_cameras_are_where_the_protocol_puts_them() -> None:
    make = SceneMaker(seed=0)
    seen = [scene for i in range(12) for scene in make(f"clip_{i}", motion(30, i))]
    assert len(seen) == 36
    for scene in seen:
        assert 0.7 * 720 <= scene.camera.fy <= 1.4 * 720
        assert 2.0 <= scene.joints[:, 0, 2].mean() <= 6.0
        up = scene.up / np.linalg.norm(scene.up)
        assert abs(np.degrees(np.arcsin(up[2]))) <= 25.0 + 1e-6
        assert scene.joints[:, 0, 2].min() >= 1.5
        pelvis = scene.camera.project(scene.joints[:, 0].numpy())
        assert (pelvis >= 0).all()
        assert (pelvis <= [1280, 720]).all()
    headings = [float(scene.rotations[0, 0, 2, 2]) for scene in seen]
    assert min(headings) < -0.7
    assert max(headings) > 0.7


def test_the_bodys_rotation_is_that_of_the_camera() -> None:
    """Skinning the scene's rotations gives the scene's joints, around the pelvis."""
    scene = next(iter(SceneMaker(0)("clip", motion())))
    _, joints = BodyModel(108)(scene.rotations, scene.betas.expand(60, -1))
    assert joints.numpy() == pytest.approx((scene.joints - scene.joints[:, :1]).numpy(), abs=1e-5)


def test_the_path_keeps_its_length_in_every_camera() -> None:
    clip = motion()
    walked = np.linalg.norm(np.diff(clip.root, axis=0), axis=1)
    for scene in SceneMaker(0)("clip", clip):
        there = np.linalg.norm(np.diff(scene.joints[:, 0].numpy(), axis=0), axis=1)
        assert there == pytest.approx(walked, abs=1e-4)


def test_a_person_who_walks_far_is_seen_from_further_away() -> None:
    clip = motion(90)
    clip.root[:, 0] += np.linspace(0.0, 30.0, 90, dtype=np.float32)
    for scene in SceneMaker(0)("clip", clip):
        pelvis = scene.camera.project(scene.joints[:, 0].numpy())
        assert (pelvis >= 0).all()
        assert (pelvis <= [1280, 720]).all()


def test_bodies_are_as_high_as_their_meshes() -> None:
    scene = next(iter(SceneMaker(3)("clip", motion())))
    vertices, _ = BodyModel(1723)(torch.eye(3).expand(1, 24, 3, 3), scene.betas[None])
    assert scene.stature == pytest.approx(float(np.ptp(vertices[0, :, 1].numpy())), abs=1e-5)
    assert scene.pixel_height == pytest.approx(
        scene.camera.fy * scene.stature / scene.joints[:, 0, 2].numpy()
    )


def test_a_clips_scenes_depend_on_seed_and_name_alone() -> None:
    def places(seed: int, name: str) -> list[np.ndarray]:
        return [scene.joints.numpy() for scene in SceneMaker(seed)(name, motion())]

    maker = SceneMaker(0)
    list(maker("another clip before", motion()))
    again = [scene.joints.numpy() for scene in maker("clip", motion())]
    for a, b in zip(places(0, "clip"), again, strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(places(0, "clip")[0], places(1, "clip")[0])
    assert not np.array_equal(places(0, "clip")[0], places(0, "other")[0])


def test_clips_of_60_hz_are_thinned_and_odd_rates_refused(tmp_path: Path) -> None:
    source = lively(20)
    path = tmp_path / "clip.bvh"
    path.write_text(bvh_text(replace(source, frame_time=1 / 60)))
    assert len(read_clip(path).root) == 10
    path.write_text(bvh_text(replace(source, frame_time=1 / 50)))
    with pytest.raises(ValueError, match=r"clip\.bvh has 50 frames a second"):
        read_clip(path)


# --- errors ---------------------------------------------------------------------------------------


def test_the_truth_has_no_error() -> None:
    joints, pelvis = skeletons(20)
    row = summary([compare(joints, pelvis, joints, pelvis, mpvpe=np.zeros(20))])
    assert row["frames"] == 20
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "accel_mm_per_frame2"):
        assert row[key] == pytest.approx(0.0, abs=1e-3)
    assert row["translation_jump_mm"] == row["translation_error_mm"] == 0.0


def test_one_joint_14_mm_off_is_a_mean_of_1_mm() -> None:
    joints, pelvis = skeletons(10)
    wrong = joints.copy()
    wrong[:, 3, 1] += 0.014
    row = summary([compare(wrong, pelvis, joints, pelvis)])
    assert row["mpjpe_mm"] == pytest.approx(1.0)
    assert row["accel_mm_per_frame2"] == pytest.approx(0.0, abs=1e-6)
    assert row["mpvpe_mm"] is None


def test_a_body_in_the_wrong_place_counts_as_translation_only() -> None:
    joints, pelvis = skeletons(10)
    away = np.array([0.0, 0.3, 0.4])
    row = summary([compare(joints + away, pelvis + away, joints, pelvis)])
    assert row["mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
    assert row["translation_error_mm"] == pytest.approx(500.0)
    assert row["translation_jump_mm"] == pytest.approx(0.0, abs=1e-6)
    trembling = away * (np.arange(10) % 2)[:, None]
    row = summary([compare(joints + trembling[:, None], pelvis + trembling, joints, pelvis)])
    assert row["translation_jump_mm"] == pytest.approx(500.0)


def test_pa_forgives_a_turn_and_a_scale() -> None:
    joints, pelvis = skeletons(5)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    turn = (turn * torch.linalg.det(turn)).double().numpy()
    row = summary([compare(0.8 * joints @ turn, 0.8 * pelvis @ turn, joints, pelvis)])
    assert row["pa_mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
    assert row["mpjpe_mm"] > 100


def test_accel_is_the_second_difference_of_the_error() -> None:
    """Every joint trembles by +-1 mm about the truth: second differences of 4 mm."""
    joints, pelvis = skeletons(10)
    trembling = joints.copy()
    trembling[..., 0] += 1e-3 * (-1.0) ** np.arange(10)[:, None]
    row = summary([compare(trembling, pelvis, joints, pelvis)])
    assert row["accel_mm_per_frame2"] == pytest.approx(4.0)


def test_means_are_over_frames_not_over_clips() -> None:
    joints, pelvis = skeletons(30)
    wrong = joints.copy()
    wrong[:, :, 1] += 0.010
    long = compare(joints, pelvis, joints, pelvis)
    short = compare(wrong[:10], pelvis[:10], joints[:10], pelvis[:10])
    assert summary([long, short])["mpjpe_mm"] == pytest.approx(2.5)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_clip_too_short_for_accel_says_so(frames: int) -> None:
    joints, pelvis = skeletons(frames)
    row = summary([compare(joints, pelvis, joints, pelvis)])
    assert (row["accel_mm_per_frame2"], row["lag_frames"]) == (None, None)
    assert row["mpjpe_mm"] == 0.0


# --- lag ------------------------------------------------------------------------------------------


def swinging(frames: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    time = np.arange(frames)[:, None, None]
    return np.sin(rng.uniform(0.1, 0.3, (1, 14, 3)) * time + rng.uniform(0, 6, (1, 14, 3)))


@pytest.mark.parametrize("late", [0, 1, 3, 7])
def test_an_answer_that_comes_later_has_that_lag(late: int) -> None:
    true = swinging(200)
    delayed = np.concatenate([np.repeat(true[:1], late, axis=0), true[: 200 - late]])
    assert lag_frames(velocity_correlation(delayed, true)) == pytest.approx(late, abs=0.05)


def test_half_a_frame_is_half_a_frame() -> None:
    true = swinging(200)
    between = true.copy()
    between[1:] = 0.5 * (true[1:] + true[:-1])
    assert lag_frames(velocity_correlation(between, true)) == pytest.approx(0.5, abs=0.05)


def test_noise_is_no_lag() -> None:
    true = swinging(300)
    noisy = true + 0.05 * np.random.default_rng(1).normal(size=true.shape)
    assert lag_frames(velocity_correlation(noisy, true)) == pytest.approx(0.0, abs=0.15)


# --- baseline -------------------------------------------------------------------------------------

SKELETON = ("pelvis", *JOINTS)


def test_lifting_without_faults_is_the_truth() -> None:
    scene = next(iter(SceneMaker(0)("clip", motion())))
    joints = scene.joints[:, [JOINT_NAMES.index(n) for n in SKELETON]].double().numpy()
    assert lift(joints, SKELETON, np.zeros((60, 21, 2))) == pytest.approx(joints, abs=1e-6)


def test_lifted_bones_have_their_true_lengths_or_reach_towards_the_ray() -> None:
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


def test_a_fault_of_the_wrist_moves_the_wrist_alone() -> None:
    scene = next(iter(SceneMaker(0)("clip", motion())))
    joints = scene.joints[:, [JOINT_NAMES.index(n) for n in SKELETON]].double().numpy()
    faults = np.zeros((60, 21, 2))
    faults[:, LANDMARK_NAMES.index("left_wrist")] = 0.02
    moved = np.linalg.norm(lift(joints, SKELETON, faults) - joints, axis=-1).max(axis=0) > 1e-6
    assert [name for name, m in zip(SKELETON, moved, strict=True) if m] == ["left_wrist"]


# --- answers --------------------------------------------------------------------------------------


class Oracle(Estimator):
    """Finds the true body of a frame by the nose's place in the image; answers late if told so."""

    name = "oracle"
    window = 3
    joint_names = JOINT_NAMES
    skeleton = BONES

    def __init__(self, scenes: Sequence[Scene], delay_frames: int = 0) -> None:
        self.delay_frames = delay_frames
        body = BodyModel(431)
        self.faces = body.faces
        self._noses, self._bodies = [], []
        for scene in scenes:
            vertices, _ = body(scene.rotations, scene.betas.expand(len(scene.joints), -1))
            vertices = (vertices + scene.joints[:, :1]).numpy()
            seen = as_people(detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed))
            self._noses += [p.landmarks.mean(axis=0) for p in seen]
            scores = np.ones(24, np.float32)
            self._bodies += [
                Body(j, scores, v, r, scene.betas.numpy(), True)
                for j, v, r in zip(
                    scene.joints.numpy(), vertices, scene.rotations.numpy(), strict=True
                )
            ]

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        assert frame.camera.known
        return {"place": torch.from_numpy(np.stack([p.landmarks.mean(axis=0) for p in people]))}

    def decode(self, windows: Features) -> list[Body]:
        assert windows["place"].shape[1] == self.window
        places = windows["place"][:, -1 - self.delay_frames].numpy()
        noses = np.stack(self._noses)
        return [self._bodies[int(np.abs(noses - p).sum(axis=1).argmin())] for p in places]


@pytest.mark.parametrize("late", [0, 2])
def test_who_knows_the_truth_makes_no_error(late: int, tmp_path: Path) -> None:
    path = folder_of_clips(tmp_path / "motion", "clip", frames=40) / "clip.bvh"
    oracle = Oracle(list(SceneMaker(5)("clip", read_clip(path))), late)
    (results,) = MotionEvaluation(oracle, seed=5)([path])
    report = MotionReport()
    report.add(results)
    (row,) = report.rows
    assert (row["clip"], row["frames"]) == ("clip", 3 * (40 - late))
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "accel_mm_per_frame2"):
        assert row[key] == pytest.approx(0.0, abs=2e-2)
    assert report.summary()["unsmoothed"]["translation_error_mm"] == pytest.approx(0.0, abs=1e-2)
    assert row["translation_error_mm"] < 10
    assert row["baseline"]["mpjpe_mm"] > 20
    assert row["baseline"]["mpvpe_mm"] is None


def test_the_answers_are_those_of_the_pipeline() -> None:
    """The default estimator, frame by frame through the pipeline, and all frames side by side."""
    scene = next(iter(SceneMaker(0)("clip", motion(25))))
    people = as_people(detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed))
    estimator = create_estimator(EstimatorSettings("stdformer_s_keypoints", mesh_level=431))
    coming = iter(people)
    pipeline = Pipeline(lambda frame: [next(coming)], estimator)
    image = np.zeros((720, 1280, 3), np.uint8)
    frames = (Frame(image, i / 30, scene.camera) for i in range(len(people)))
    live = [answer.humans[0].body for answer in pipeline.follow(frames)]
    at_once = causal_answers(estimator, scene.camera, people, batch=7)
    for a, b in zip(live, at_once, strict=True):
        assert a.joints == pytest.approx(b.joints, abs=1e-4)
        assert a.vertices == pytest.approx(b.vertices, abs=1e-4)
        assert a.joint_scores == pytest.approx(b.joint_scores, abs=1e-4)


def test_an_estimator_of_images_is_refused() -> None:
    oracle = Oracle([])
    oracle.reads_images = True
    with pytest.raises(ValueError, match="oracle reads images"):
        MotionEvaluation(oracle)


# --- the command ----------------------------------------------------------------------------------


def evaluate(folder: Path, output: Path, *more: str) -> int:
    return cli.main(["evaluate", "--motion", str(folder), "--json", str(output), *more])


def test_the_command_writes_what_issue_trackers_and_docs_quote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of_clips(tmp_path / "motion", "walk_01", "walk_02", "dance_01")
    assert evaluate(folder, tmp_path / "a.json", "--seed", "4") == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["model"] == "stdformer_s_keypoints"
    assert (result["seed"], result["frames"], result["vertices"]) == (4, 3 * 3 * 12, 1723)
    assert [row["clip"] for row in result["clips"]] == ["dance_01", "walk_01", "walk_02"]
    for part in (result, result["baseline"], *result["clips"]):
        for key in ("mpjpe_mm", "pa_mpjpe_mm", "accel_mm_per_frame2"):
            assert 0 < part[key] < 1000
        assert part["pa_mpjpe_mm"] < part["mpjpe_mm"]
    mean = np.mean([row["mpjpe_mm"] for row in result["clips"]])
    assert result["mpjpe_mm"] == pytest.approx(mean, abs=0.01)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["frames", "MPJPE", "PA-MPJPE", "MPVPE", "Accel", "lag"]
    assert printed[-3].split()[:2] == ["overall", "108"]
    assert printed[-2].split()[0] == "unsmoothed"
    assert printed[-1].split()[0] == "baseline"

    assert evaluate(folder, tmp_path / "b.json", "--seed", "4", "--clips-matching", "walk_") == 0
    some = json.loads((tmp_path / "b.json").read_text())
    assert some["clips"] == result["clips"][1:]


def test_what_is_wrong_with_the_folder_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of_clips(tmp_path / "motion", "walk_01")
    output = tmp_path / "out.json"
    assert evaluate(tmp_path, output) == 2
    assert "no .bvh file in" in capsys.readouterr().err
    assert evaluate(folder, output, "--clips-matching", "run_", "hop_") == 2
    assert "whose name contains run_ or hop_" in capsys.readouterr().err
    (folder / "broken.bvh").write_text("HIERARCHY")
    assert evaluate(folder, output) == 2
    assert "broken.bvh" in capsys.readouterr().err
    assert not output.exists()


def test_motion_and_dataset_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path, tmp_path / "out.json", "--dataset", "h36m") == 2
    assert "one of them is needed" in capsys.readouterr().err
