"""Evaluation on 3DPW and Human3.6M: tiny files of the same layout, with known errors."""

from __future__ import annotations

import argparse
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from helpers.tiny_networks import PlainSmpl, tiny_mesh
from stdformer_ros.evaluation.command import add_parser
from stdformer_ros.evaluation.motion.tally import Tally
from stdformer_ros.evaluation.published.command import true_smpl_files
from stdformer_ros.evaluation.published.dataset_3dpw import (
    KEYPOINT_NAMES,
    read_sequence,
    sequence_files,
)
from stdformer_ros.evaluation.published.evaluate_3dpw import evaluate_3dpw
from stdformer_ros.evaluation.published.evaluate_h36m import evaluate_h36m, lift
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.models.registry import create_model
from stdformer_ros.training.data.dataset_h36m import (
    LEFT,
    MOVING,
    RIGHT,
    read_cameras,
    read_recordings,
)
from stdformer_ros.types import Body

FRAMES = 6


# 3DPW --------------------------------------------------------------------------------------------


def write_3dpw(root: Path, valid: list[list[int]], hidden: int | None = None) -> Path:
    """One sequence "street" with as many subjects as `valid` has rows, in 3DPW's layout."""
    rng = np.random.default_rng(0)
    people = len(valid)
    turn = np.tile(np.eye(4), (FRAMES, 1, 1))
    turn[:, :3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix()
    points = rng.uniform((40, 20), (200, 220), (people, FRAMES, 18, 2))
    poses2d = np.concatenate([points, np.full((people, FRAMES, 18, 1), 0.8)], axis=3)
    poses2d[:, :, KEYPOINT_NAMES.index("left_ear")] = 0  # not found
    if hidden is not None:
        poses2d[:, hidden] = 0
    content = {
        "sequence": "street",
        "poses": list(rng.normal(size=(people, FRAMES, 72)) * 0.2),
        "betas": list(rng.normal(size=(people, 300))),
        "poses2d": list(poses2d.transpose(0, 1, 3, 2)),
        "cam_poses": turn,
        "cam_intrinsics": np.array([[500.0, 0, 160], [0, 510, 120], [0, 0, 1]]),
        "genders": ["m", "f"][:people],
        "campose_valid": [np.array(v) for v in valid],
        "jointPositions": list(rng.normal(size=(people, FRAMES, 72))),
    }
    folder = root / "sequenceFiles" / "test"
    folder.mkdir(parents=True)
    (folder / "street.pkl").write_bytes(pickle.dumps(content, protocol=2))
    images = root / "imageFiles" / "street"
    images.mkdir(parents=True)
    for i in range(FRAMES):
        image = np.full((240, 320, 3), 20 * i, np.uint8)
        cv2.imwrite(str(images / f"image_{i:05d}.jpg"), image)
    return root


class KnownEstimator(Estimator):
    """Knows the truth by the brightness of the image and the order of people, and errs by rule."""

    name = "known"
    window = 1
    joint_names = ("pelvis",)
    skeleton = ()

    def __init__(self, meshes: list[list[Tensor]], error: object) -> None:
        self.faces = tiny_mesh().faces[0]
        self.meshes = meshes
        self.error = error
        self.boxes: list[np.ndarray] = []

    def encode(self, frame, people):
        number = round(float(frame.image.mean()) / 20)
        self.boxes += [p.box for p in people]
        return {"which": torch.tensor([[p.track_id, number] for p in people])}

    def decode(self, windows):
        bodies = []
        for person, number in windows["which"][:, -1].tolist():
            mesh = self.error(self.meshes[person][number], number).numpy()
            place = np.float32([1.0, 2.0, 7.0])
            bodies.append(Body(place[None], np.ones(1), mesh + place, None, None, True))
        return bodies


@pytest.fixture(scope="module")
def bodies() -> dict[str, PlainSmpl]:
    return {gender: PlainSmpl(seed) for seed, gender in enumerate("mf")}


def regressor() -> Tensor:
    """Each joint is the mean of two vertices."""
    weights = torch.zeros(17, 6890)
    weights[torch.arange(17), torch.arange(17) * 100] = 0.5
    weights[torch.arange(17), torch.arange(17) * 100 + 50] = 0.5
    return weights


def true_meshes(root: Path, bodies: dict[str, PlainSmpl]) -> list[list[Tensor]]:
    """Worked out here from the pickle, with the camera's turn applied to the root."""
    content = pickle.loads((root / "sequenceFiles/test/street.pkl").read_bytes())
    meshes = []
    for i, gender in enumerate(content["genders"]):
        turns = Rotation.from_rotvec(content["poses"][i].reshape(-1, 3)).as_matrix()
        turns = turns.reshape(FRAMES, 24, 3, 3)
        turns[:, 0] = content["cam_poses"][:, :3, :3] @ turns[:, 0]
        betas = torch.tensor(content["betas"][i][:10]).float().expand(FRAMES, -1)
        meshes.append(list(bodies[gender](torch.tensor(turns).float(), betas)[0]))
    return meshes


def test_a_perfect_estimator_has_no_error_on_3dpw(tmp_path: Path, bodies: dict) -> None:
    root = write_3dpw(tmp_path, [[1] * FRAMES, [1] * FRAMES])
    estimator = KnownEstimator(true_meshes(root, bodies), lambda mesh, number: mesh)
    summary = evaluate_3dpw(estimator, root, bodies, regressor()).summary()
    assert summary["overall"]["frames"] == 2 * FRAMES
    for metric in ("MPJPE", "PA-MPJPE", "MPVPE", "Accel"):
        assert summary["overall"][metric] == pytest.approx(0.0, abs=0.01), metric


def test_known_errors_on_3dpw_come_out_in_millimetres(tmp_path: Path, bodies: dict) -> None:
    """A scaled mesh: PA sees nothing, the others the distance from their own origin times 0.1."""
    root = write_3dpw(tmp_path, [[1] * FRAMES])
    meshes = true_meshes(root, bodies)
    estimator = KnownEstimator(meshes, lambda mesh, number: 1.1 * mesh)
    overall = evaluate_3dpw(estimator, root, bodies, regressor()).summary()["overall"]
    true = torch.stack(meshes[0])
    joints = regressor() @ true
    fourteen = joints[:, [3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10]]
    about_hips = fourteen - (joints[:, 1:2] + joints[:, 4:5]) / 2
    assert overall["MPJPE"] == pytest.approx(100 * about_hips.norm(dim=2).mean().item(), rel=1e-3)
    assert overall["PA-MPJPE"] == pytest.approx(0.0, abs=0.02)
    about_pelvis = true - joints[:, :1]
    assert overall["MPVPE"] == pytest.approx(100 * about_pelvis.norm(dim=2).mean().item(), rel=1e-3)
    swing = about_hips[2:] - 2 * about_hips[1:-1] + about_hips[:-2]
    assert overall["Accel"] == pytest.approx(100 * swing.norm(dim=2).mean().item(), rel=1e-3)


def test_only_valid_frames_count_and_accel_does_not_jump_over_gaps(
    tmp_path: Path, bodies: dict
) -> None:
    root = write_3dpw(tmp_path, [[1, 1, 0, 1, 1, 1]])
    meshes = true_meshes(root, bodies)
    estimator = KnownEstimator(meshes, lambda mesh, number: mesh * (1 + 0.1 * (number == 1)))
    overall = evaluate_3dpw(estimator, root, bodies, regressor()).summary()["overall"]
    assert overall["frames"] == 5
    assert overall["MPJPE"] > 1
    assert overall["Accel"] == pytest.approx(0.0, abs=0.02), "frame 1 is in no run of three"


def test_a_frame_without_keypoints_has_no_crop_and_is_left_out(
    tmp_path: Path, bodies: dict
) -> None:
    root = write_3dpw(tmp_path, [[1] * FRAMES], hidden=2)
    estimator = KnownEstimator(true_meshes(root, bodies), lambda mesh, number: mesh)
    summary = evaluate_3dpw(estimator, root, bodies, regressor()).summary()
    assert summary["overall"]["frames"] == FRAMES - 1


def test_crops_on_3dpw_go_around_the_keypoints_that_were_found(tmp_path: Path) -> None:
    sequence = read_sequence(sequence_files(write_3dpw(tmp_path, [[1] * FRAMES]))[0])
    (subject,) = sequence.subjects
    someone = subject.person(0, 3)
    found = subject.keypoints[3][subject.keypoints[3][:, 2] > 0, :2]
    assert someone.box == pytest.approx(np.r_[found.min(0), found.max(0)])
    by_name = dict(zip(KEYPOINT_NAMES, subject.keypoints[3], strict=True))
    assert someone.landmarks[26] == pytest.approx(by_name["right_knee"][:2])
    assert someone.visibility[26] == pytest.approx(0.8)
    assert someone.visibility[7] == 0, "the left ear was not found"


def test_a_body_of_another_topology_is_refused(tmp_path: Path) -> None:
    estimator = KnownEstimator([], None)
    estimator.faces = tiny_mesh().faces[2]
    with pytest.raises(ValueError, match="6890"):
        evaluate_3dpw(estimator, tmp_path, {}, regressor())


def test_a_folder_that_is_not_3dpw_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sequenceFiles"):
        sequence_files(tmp_path)
    root = write_3dpw(tmp_path / "broken", [[1] * FRAMES])
    (file,) = sequence_files(root)
    content = pickle.loads(file.read_bytes())
    del content["campose_valid"]
    file.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=r"street\.pkl is no sequence of 3DPW.*campose_valid"):
        read_sequence(file)


def test_a_hostile_sequence_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    file = tmp_path / "hostile.pkl"
    file.write_bytes(pickle.dumps({"poses": Hostile()}, protocol=2))
    with pytest.raises(ValueError, match="exec"):
        read_sequence(file)
    assert not (tmp_path / "ran").exists()


def test_each_gender_has_its_own_smpl(tmp_path: Path) -> None:
    for name in ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "basicmodel_m_lbs_10_207_0_v1.1.0.pkl"):
        (tmp_path / name).touch()
    files = true_smpl_files(tmp_path)
    assert files["m"].name.startswith("basicmodel_m")
    assert files["f"].name.startswith("basicModel_f")
    (tmp_path / "basicModel_f_lbs_10_207_0_v1.0.0.pkl").unlink()
    with pytest.raises(FileNotFoundError, match="'f'"):
        true_smpl_files(tmp_path)
    assert true_smpl_files(tmp_path / "neutral.pkl")["f"] == tmp_path / "neutral.pkl"


# Human3.6M ---------------------------------------------------------------------------------------

CAMERAS = """
raise RuntimeError("this file must not be run")
h36m_cameras_intrinsic_params = [
    {"id": "a", "center": [512.0, 515.0], "focal_length": [1145.0, 1143.0],
     "radial_distortion": [0, 0, 0], "tangential_distortion": [0, 0],
     "res_w": 1000, "res_h": 1002, "azimuth": 70},
]
h36m_cameras_extrinsic_params = {
    "S1": [{}],
    "S9": [{"orientation": [0.5, 0.5, -0.5, 0.5], "translation": [1000.0, 2000.0, 3000.0]}],
    "S11": [{"orientation": [1.0, 0.0, 0.0, 0.0], "translation": [0.0, 0.0, -4000.0]}],
}
"""


def write_h36m(folder: Path, frames: int = 20, actions: tuple[str, ...] = ("Walking 1",)) -> Path:
    """Two subjects before one camera each, in VideoPose3D's layout; 2D has a frame too many."""
    rng = np.random.default_rng(5)
    positions: dict = {}
    points: dict = {}
    for subject in ("S9", "S11"):
        positions[subject], points[subject] = {}, {}
        for action in actions:
            world = rng.normal(size=(frames, 32, 3)).astype(np.float32)
            positions[subject][action] = world
            pixels = rng.uniform(0, 1000, (frames + 1, 17, 2)).astype(np.float32)
            points[subject][action] = [pixels]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=positions)
    metadata = {"layout_name": "h36m", "keypoints_symmetry": [list(LEFT), list(RIGHT)]}
    np.savez_compressed(folder / "data_2d_h36m_gt.npz", positions_2d=points, metadata=metadata)
    (folder / "h36m_dataset.py").write_text(CAMERAS)
    return folder


def test_joints_are_in_the_camera_relative_to_the_pelvis(tmp_path: Path) -> None:
    folder = write_h36m(tmp_path)
    world = np.load(folder / "data_3d_h36m.npz", allow_pickle=True)["positions_3d"].item()
    recordings = {r.subject: r for r in read_recordings(folder, "gt")}
    straight = world["S11"]["Walking 1"][:, list(MOVING)]
    assert recordings["S11"].joints == pytest.approx(straight - straight[:, :1], abs=1e-5)
    turned = world["S9"]["Walking 1"][:, list(MOVING)] - np.float32([1, 2, 3])
    # the inverse of the quaternion (w, x, y, z) = (1, 1, -1, 1) / 2, worked out by hand
    in_camera = turned @ Rotation.from_quat([0.5, -0.5, 0.5, 0.5]).as_matrix()
    assert recordings["S9"].joints == pytest.approx(in_camera - in_camera[:, :1], abs=1e-5)
    assert recordings["S9"].joints[:, 0] == pytest.approx(0)


def test_keypoints_are_normalised_by_the_width_and_cut_to_the_motion(tmp_path: Path) -> None:
    folder = write_h36m(tmp_path, frames=20)
    points = np.load(folder / "data_2d_h36m_gt.npz", allow_pickle=True)["positions_2d"].item()
    (recording, _) = read_recordings(folder, "gt")
    assert recording.keypoints.shape == (20, 17, 2)
    x, y = points["S9"]["Walking 1"][0][4, 7]
    assert recording.keypoints[4, 7] == pytest.approx([x / 500 - 1, y / 500 - 1.002], abs=1e-5)


def test_cameras_are_read_and_not_run(tmp_path: Path) -> None:
    cameras = read_cameras(write_h36m(tmp_path) / "h36m_dataset.py")
    assert cameras["S9"][0].translation.tolist() == [1, 2, 3]
    (tmp_path / "h36m_dataset.py").write_text("h36m_cameras_intrinsic_params = open('x')")
    with pytest.raises(ValueError, match=r"h36m_dataset\.py does not hold the cameras"):
        read_cameras(tmp_path / "h36m_dataset.py")


@pytest.mark.parametrize("gone", ["h36m_dataset.py", "data_3d_h36m.npz", "data_2d_h36m_gt.npz"])
def test_a_missing_file_of_human36m_is_named(tmp_path: Path, gone: str) -> None:
    folder = write_h36m(tmp_path / "data")
    (folder / gone).unlink()
    with pytest.raises(FileNotFoundError, match=gone):
        list(read_recordings(folder, "gt"))


def tiny_lifter(delay_frames: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("poseformer_9", delay_frames=delay_frames).eval()


def test_with_half_the_window_to_come_it_is_the_published_forward() -> None:
    keypoints = torch.rand(12, 17, 2) - 0.5
    model = tiny_lifter(delay_frames=4)
    with torch.inference_mode():
        poses = lift(model, keypoints)
        padded = torch.cat(
            [keypoints[:1].expand(4, -1, -1), keypoints, keypoints[-1:].repeat(4, 1, 1)]
        )
        for frame in (0, 3, 7, 11):
            whole = model(padded[None, frame : frame + 9])["pose"][0, 0]
            assert poses[frame].numpy() == pytest.approx(whole.numpy(), abs=1e-5)


def test_a_causal_lifter_does_not_see_the_future() -> None:
    keypoints = torch.rand(12, 17, 2)
    changed = keypoints.clone()
    changed[8:] = 0
    model = tiny_lifter(delay_frames=0)
    with torch.inference_mode():
        before, after = lift(model, keypoints), lift(model, changed)
    assert torch.equal(before[:8], after[:8])
    assert not torch.allclose(before[8], after[8])


def evaluate(*arguments: str) -> int:
    """As `cli evaluate` does it."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *arguments])
    return options.work(options)


class Zero(torch.nn.Module):
    """A lifter that always answers with the same pose."""

    window = frames = 1
    delay_frames = future_frames = 0

    def __init__(self, pose: Tensor) -> None:
        super().__init__()
        self.pose = torch.nn.Parameter(pose)

    def encode(self, keypoints: Tensor) -> dict[str, Tensor]:
        return {"frames": keypoints.flatten(1)}

    def decode(self, windows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"pose": self.pose.expand(len(windows["frames"]), 1, -1, -1)}


def test_errors_on_human36m_are_the_mean_of_the_actions_means(tmp_path: Path) -> None:
    folder = write_h36m(tmp_path, actions=("Walking 1", "Walking 2", "Eating 1"))
    summary = evaluate_h36m(Zero(torch.zeros(1, 17, 3)), folder, "gt", flip=False).summary()
    lengths: dict[str, list] = {}
    for recording in read_recordings(folder, "gt"):
        error = np.linalg.norm(recording.joints, axis=2).mean() * 1000
        lengths.setdefault(recording.action.split(" ")[0], []).append(error)
    expected = np.mean([np.mean(errors) for errors in lengths.values()])
    assert sorted(summary["by_action"]) == ["Eating", "Walking"]
    assert summary["overall"]["MPJPE"] == pytest.approx(expected, abs=0.01)
    assert summary["by_action"]["Walking"]["MPJPE"] == pytest.approx(
        np.mean(lengths["Walking"]), abs=0.01
    )
    assert summary["overall"]["frames"] == 2 * 3 * 20


def test_flipping_averages_with_the_mirrored_answer(tmp_path: Path) -> None:
    """A lifter that answers with one raised left wrist: flipped, half of it is on the right."""
    folder = write_h36m(tmp_path)
    pose = torch.zeros(1, 17, 3)
    pose[0, 13] = torch.tensor([0.4, 0.2, 0.0])
    half = torch.zeros(1, 17, 3)
    half[0, 13], half[0, 16] = torch.tensor([0.2, 0.1, 0]), torch.tensor([-0.2, 0.1, 0])
    flipped = evaluate_h36m(Zero(pose), folder, "gt").summary()["overall"]
    plain = evaluate_h36m(Zero(half), folder, "gt", flip=False).summary()["overall"]
    assert flipped["MPJPE"] == pytest.approx(plain["MPJPE"], abs=0.01)


def test_the_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_h36m(tmp_path / "data", actions=("Walking 1", "Eating 1"))
    torch.save({"model_pos": tiny_lifter(0).state_dict()}, tmp_path / "weights.bin")
    arguments = ["--dataset", "h36m", str(folder), "--model", "poseformer_9", "--keypoints", "gt"]
    output = ["--checkpoint", str(tmp_path / "weights.bin"), "--json", str(tmp_path / "out.json")]
    assert evaluate(*arguments, *output) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["delay_frames"], result["flip"]) == (4, True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["action", "frames", "MPJPE", "PA-MPJPE", "Accel"]
    assert printed[-1].split()[:2] == ["overall", "80"]
    assert float(printed[-1].split()[2]) == pytest.approx(result["overall"]["MPJPE"], abs=0.06)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--model", "poseformer_9"], "one of them is needed"),
        (["--dataset", "h36m", "nowhere"], "needs --model"),
        (["--dataset", "h36m", "--model", "poseformer_9", "--checkpoint", "w"], "PATH"),
        (["--dataset", "h36m", "nowhere", "--model", "poseformer_9"], "needs --checkpoint"),
        (["--dataset", "h36m", ".", "--model", "nobody", "--checkpoint", "w"], "no model 'nobody'"),
        (
            ["--dataset", "h36m", ".", "--model", "stdformer_s_keypoints", "--checkpoint", "w"],
            "poseformer_",
        ),
        (
            ["--dataset", "3dpw", ".", "--model", "pointhmr_hrnet_w32", "--checkpoint", "w"],
            "--joint-regressor and --true-smpl",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_runs(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_tally_means_over_frames_or_over_groups() -> None:
    for over_groups, expected in ((False, 3.0), (True, 5.0)):
        tally = Tally("action", over_groups)
        tally.add("a", "MPJPE", torch.tensor([1.0, 1.0, 1.0]))
        tally.add("b", "MPJPE", torch.tensor([9.0]))
        assert tally.mean("MPJPE") == pytest.approx(expected)
        assert tally.summary()["by_action"]["b"] == {"frames": 1, "MPJPE": 9.0}
    tally.add("a", "Accel", torch.tensor([2.0]))
    assert tally.summary()["by_action"]["b"]["Accel"] is None
