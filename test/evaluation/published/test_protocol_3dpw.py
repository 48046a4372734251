"""The published protocol on 3DPW: tiny files of the same layout, with known errors."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from helpers.tiny_networks import PlainSmpl, tiny_mesh
from stdformer_ros.evaluation.published.protocol_3dpw import (
    KEYPOINT_NAMES,
    evaluate_3dpw,
    read_sequence,
    sequence_files,
    true_smpl_files,
)
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.types import Body

FRAMES = 6


def write_3dpw(root: Path, valid: list[list[int]], hidden: int | None = None) -> Path:
    """Write a sequence "street" in 3DPW's layout with a subject for each row of `valid`."""
    rng = np.random.default_rng(0)
    people = len(valid)
    camera = np.tile(np.eye(4), (FRAMES, 1, 1))
    camera[:, :3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix()
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
        "cam_poses": camera,
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
    """Knows the true mesh by the image's brightness and the track, and adds a known error."""

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
    """Computed from the pickle; the root is rotated to the camera."""
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


def test_known_errors_on_3dpw_are_measured_in_millimetres(tmp_path: Path, bodies: dict) -> None:
    """A mesh that is scaled by 1.1: PA-MPJPE is 0, the others are 0.1 of the distances."""
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


def test_a_frame_without_keypoints_is_left_out(tmp_path: Path, bodies: dict) -> None:
    root = write_3dpw(tmp_path, [[1] * FRAMES], hidden=2)
    estimator = KnownEstimator(true_meshes(root, bodies), lambda mesh, number: mesh)
    summary = evaluate_3dpw(estimator, root, bodies, regressor()).summary()
    assert summary["overall"]["frames"] == FRAMES - 1


def test_crops_on_3dpw_surround_the_detected_keypoints(tmp_path: Path) -> None:
    sequence = read_sequence(sequence_files(write_3dpw(tmp_path, [[1] * FRAMES]))[0])
    (subject,) = sequence.subjects
    person = subject.person(0, 3)
    found = subject.keypoints[3][subject.keypoints[3][:, 2] > 0, :2]
    assert person.box == pytest.approx(np.r_[found.min(0), found.max(0)])
    by_name = dict(zip(KEYPOINT_NAMES, subject.keypoints[3], strict=True))
    assert person.landmarks[26] == pytest.approx(by_name["right_knee"][:2])
    assert person.visibility[26] == pytest.approx(0.8)
    assert person.visibility[7] == 0, "the left ear was not found"


def test_a_mesh_of_another_topology_is_refused(tmp_path: Path) -> None:
    estimator = KnownEstimator([], None)
    estimator.faces = tiny_mesh().faces[2]
    with pytest.raises(ValueError, match="6890"):
        evaluate_3dpw(estimator, tmp_path, {}, regressor())


def test_a_folder_that_is_not_3dpw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sequenceFiles"):
        sequence_files(tmp_path)
    root = write_3dpw(tmp_path / "broken", [[1] * FRAMES])
    (file,) = sequence_files(root)
    content = pickle.loads(file.read_bytes())
    del content["campose_valid"]
    file.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=r"street\.pkl is not a sequence of 3DPW.*campose_valid"):
        read_sequence(file)


def test_a_malicious_pickle_is_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    file = tmp_path / "malicious.pkl"
    file.write_bytes(pickle.dumps({"poses": Malicious()}, protocol=2))
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
