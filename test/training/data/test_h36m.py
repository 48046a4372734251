"""Human3.6M: reading VideoPose3D's files, and windows of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from helpers.human36m import write_h36m
from stdformer_ros.training.data import h36m
from stdformer_ros.training.data.h36m import (
    MOVING,
    RecordedKeypoints,
    Recording,
    h36m_splits,
    read_cameras,
    read_recordings,
)


def test_joints_are_in_the_camera_relative_to_the_pelvis(tmp_path: Path) -> None:
    folder = write_h36m(tmp_path)
    world = np.load(folder / "data_3d_h36m.npz", allow_pickle=True)["positions_3d"].item()
    recordings = {r.subject: r for r in read_recordings(folder, "gt")}
    straight = world["S11"]["Walking 1"][:, list(MOVING)]
    assert recordings["S11"].joints == pytest.approx(straight - straight[:, :1], abs=1e-5)
    turned = world["S9"]["Walking 1"][:, list(MOVING)] - np.float32([1, 2, 3])
    # the inverse of the quaternion (w, x, y, z) = (1, 1, -1, 1) / 2, computed by hand
    in_camera = turned @ Rotation.from_quat([0.5, -0.5, 0.5, 0.5]).as_matrix()
    assert recordings["S9"].joints == pytest.approx(in_camera - in_camera[:, :1], abs=1e-5)
    assert recordings["S9"].joints[:, 0] == pytest.approx(0)


def test_keypoints_are_normalised_by_the_width_and_as_many_as_joints(tmp_path: Path) -> None:
    folder = write_h36m(tmp_path, frames=20)
    points = np.load(folder / "data_2d_h36m_gt.npz", allow_pickle=True)["positions_2d"].item()
    (recording, _) = read_recordings(folder, "gt")
    assert recording.keypoints.shape == (20, 17, 2)
    x, y = points["S9"]["Walking 1"][0][4, 7]
    assert recording.keypoints[4, 7] == pytest.approx([x / 500 - 1, y / 500 - 1.002], abs=1e-5)


def test_cameras_are_read_without_executing_the_file(tmp_path: Path) -> None:
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


# --- windows


def numbered(frames: int, offset: float) -> Recording:
    """A recording whose values are all the frame's number plus an offset."""
    number = offset + torch.arange(frames, dtype=torch.float32)
    return Recording(
        "S1",
        "Walking",
        0,
        number[:, None, None].expand(-1, 17, 2).numpy(),
        number[:, None, None].expand(-1, 17, 3).numpy(),
    )


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    asked: dict[str, object] = {}

    def read(folder: Path, keypoints: str, subjects: tuple[str, ...]) -> list[Recording]:
        asked.update(folder=folder, keypoints=keypoints)
        asked.setdefault("subjects", []).append(subjects)  # type: ignore[attr-defined]
        return [numbered(6, 0.0), numbered(4, 100.0)]

    monkeypatch.setattr(h36m, "read_recordings", read)
    return asked


def test_windows_stay_within_a_recording(recordings: dict[str, object]) -> None:
    source = RecordedKeypoints(Path("h36m"), "gt", ("S1",), frames=5, answers=1, future_frames=2)
    batch = source.sample_fixed(10)  # every frame once
    keypoints, poses = batch.keypoints[..., 0, 0], batch.poses[..., 0, 0]
    assert poses[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 100, 101, 102, 103]
    assert keypoints[0].tolist() == [0, 0, 0, 1, 2]
    assert keypoints[3].tolist() == [1, 2, 3, 4, 5]
    assert keypoints[5].tolist() == [3, 4, 5, 5, 5]
    assert keypoints[6].tolist() == [100, 100, 100, 101, 102]


def test_consecutive_poses_end_with_the_frame_that_is_answered_for(
    recordings: dict[str, object],
) -> None:
    source = RecordedKeypoints(Path("h36m"), "gt", ("S1",), frames=4, answers=2, future_frames=0)
    batch = source.sample_fixed(10)
    assert batch.keypoints[5, :, 0, 0].tolist() == [2, 3, 4, 5]
    assert batch.poses[5, :, 0, 0].tolist() == [4, 5]


def test_half_of_the_windows_are_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    right_hip, left_hip = 1, 4
    keypoints, joints = torch.zeros(3, 17, 2), torch.zeros(3, 17, 3)
    keypoints[:, right_hip, 0], joints[:, right_hip, 0] = -0.3, -0.2
    recording = Recording("S1", "Walking", 0, keypoints.numpy(), joints.numpy())
    monkeypatch.setattr(h36m, "read_recordings", lambda *a: [recording])
    source = RecordedKeypoints(Path("h36m"), "gt", ("S1",), frames=1, answers=1, future_frames=0)
    torch.manual_seed(0)
    batch = source.sample(400)
    plain = batch.keypoints[:, 0, right_hip, 0] == torch.tensor(-0.3)
    assert 0.4 < plain.float().mean() < 0.6
    assert (batch.keypoints[~plain, 0, left_hip, 0] == 0.3).all()
    assert (batch.poses[~plain, 0, left_hip, 0] == 0.2).all()
    assert (batch.poses[plain, 0, right_hip, 0] == -0.2).all()


def test_the_split_is_the_published_one(recordings: dict[str, object]) -> None:
    h36m_splits(Path("h36m"), "gt", 9, 1, 4)
    assert recordings["subjects"] == [("S1", "S5", "S6", "S7", "S8"), ("S9", "S11")]
