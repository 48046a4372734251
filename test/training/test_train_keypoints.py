"""Training of the keypoint networks: what they learn from, that they learn, that it loads back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.handmade_motion import lively
from helpers.poses import random_betas, random_pose
from stdformer_ros.body.body_model import BodyModel, h36m_joint_regressor
from stdformer_ros.body.skeleton import H36M_NAMES
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.lifting.weights import describe, load_keypoint_network
from stdformer_ros.models.registry import create_model
from stdformer_ros.training.data import h36m_windows
from stdformer_ros.training.data.dataset_h36m import Recording
from stdformer_ros.training.data.h36m_joints import H36MJoints
from stdformer_ros.training.data.h36m_windows import RecordedKeypoints, h36m_splits
from stdformer_ros.training.data.keypoint_windows import KeypointBatch, SyntheticKeypoints
from stdformer_ros.training.export import export_weights
from stdformer_ros.training.loop import Schedule
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget
from stdformer_ros.training.people.synthetic import SyntheticPeople
from stdformer_ros.training.precision import Precision
from stdformer_ros.training.train_keypoints import (
    answers,
    position_loss,
    sequence_length,
    train_keypoint_network,
)

FLOAT32 = Precision("cpu", torch.float32)


def synthetic(frames: int, answers: int, future_frames: int) -> SyntheticKeypoints:
    library = MotionLibrary([retarget(lively(2 * frames + 10))], frames)
    return SyntheticKeypoints(library, answers, future_frames)


# --- the joints


def test_the_17_joints_are_those_of_the_regressor_without_the_mesh() -> None:
    """The regressor was fitted to the skeleton: in rest it is near, in poses the flesh bends."""
    still, mean = torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10)
    vertices, _ = BodyModel()(still, mean)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ vertices
    assert (H36MJoints()(still, mean) - regressed).norm(dim=-1).max() < 0.01
    posed, betas = random_pose(0, 4), random_betas(0, 4)
    vertices, joints = BodyModel()(posed, betas)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ vertices
    assert (H36MJoints()(posed, betas) - regressed).norm(dim=-1).mean() < 0.012
    hip = H36M_NAMES.index("left_hip")
    torch.testing.assert_close(H36MJoints()(posed, betas)[:, hip], joints[:, 1])


def test_the_joints_turn_with_the_body() -> None:
    posed, betas = random_pose(1, 2), random_betas(1, 2)
    quarter = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    turned = torch.cat([quarter @ posed[:, :1], posed[:, 1:]], dim=1)
    expected = H36MJoints()(posed, betas) @ quarter.T
    torch.testing.assert_close(H36MJoints()(turned, betas), expected, atol=1e-5, rtol=0)


# --- synthetic windows


def test_a_synthetic_batch_has_the_poses_of_the_frames_answered_for() -> None:
    """Three answers, the last of them two frames before the sequence's end."""
    library = MotionLibrary([retarget(lively(40))], 9)
    batch = SyntheticKeypoints(library, answers=3, future_frames=2).sample_fixed(5)
    people = SyntheticPeople(library, answers=5).sample_fixed(5)
    assert batch.keypoints.shape == (5, 9, 17, 2)
    assert batch.poses.shape == (5, 3, 17, 3)
    for k in range(3):
        expected = H36MJoints()(people.rotations[:, k], people.betas)
        torch.testing.assert_close(batch.poses[:, k], expected)
    assert batch.poses[..., 0, :].abs().max() < 1e-6


def test_synthetic_keypoints_show_the_person_upright_and_of_plausible_size() -> None:
    batch = synthetic(9, 1, 0).sample_fixed(200)
    height = batch.keypoints[..., 1].amax(-1) - batch.keypoints[..., 1].amin(-1)
    assert height.median() > 2.29 * 1.0 / 10
    assert height.median() < 2.29 * 1.9 / 1.6
    up = batch.keypoints[:, -1, H36M_NAMES.index("pelvis"), 1]
    up = up - batch.keypoints[:, -1, H36M_NAMES.index("head_top"), 1]
    assert (up > 0).float().mean() > 0.5, "y points down, as the poses' does"
    true = batch.poses[:, 0, H36M_NAMES.index("head_top"), 1] < 0
    assert ((up > 0) == true).float().mean() > 0.85


# --- Human3.6M


def numbered(frames: int, offset: float) -> Recording:
    """A recording in which every number is that of the frame, plus an offset."""
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

    monkeypatch.setattr(h36m_windows, "read_recordings", read)
    return asked


def test_windows_of_a_recording_stay_in_it(recordings: dict[str, object]) -> None:
    source = RecordedKeypoints(Path("h36m"), "gt", ("S1",), frames=5, answers=1, future_frames=2)
    batch = source.sample_fixed(10)  # every frame once
    keypoints, poses = batch.keypoints[..., 0, 0], batch.poses[..., 0, 0]
    assert poses[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 100, 101, 102, 103]
    assert keypoints[0].tolist() == [0, 0, 0, 1, 2]
    assert keypoints[3].tolist() == [1, 2, 3, 4, 5]
    assert keypoints[5].tolist() == [3, 4, 5, 5, 5]
    assert keypoints[6].tolist() == [100, 100, 100, 101, 102]


def test_neighbouring_answers_end_with_the_frame_answered_for(
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
    monkeypatch.setattr(h36m_windows, "read_recordings", lambda *a: [recording])
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


# --- answers


@pytest.mark.parametrize("name", ["poseformer_9", "simple_posenet_81"])
def test_neighbouring_windows_that_share_their_frames_answer_like_each_alone(name: str) -> None:
    torch.manual_seed(0)
    options = {"joint_channels": 8} if name.startswith("pose") else {}
    model = create_model(name, **options).eval()
    assert isinstance(model, KeypointNetwork)
    length = sequence_length(model, 3)
    batch = KeypointBatch(torch.randn(2, length, 17, 2), torch.zeros(2, 3, 17, 3))
    together = answers(model, batch)
    assert together.shape == (2, 3, 17, 3)
    for k in range(3):
        alone = model(batch.keypoints[:, k : k + model.frames])["pose"][:, 0]
        torch.testing.assert_close(together[:, k], alone, atol=1e-5, rtol=1e-4)


def test_an_lstm_has_answered_after_every_frame() -> None:
    model = create_model("lstm_posenet_81", channels=16).eval()
    batch = KeypointBatch(torch.randn(2, 81, 17, 2), torch.zeros(2, 5, 17, 3))
    together = answers(model, batch)
    assert together.shape == (2, 5, 17, 3)
    torch.testing.assert_close(together[:, -1], model(batch.keypoints)["pose"][:, 0])
    earlier = model.every_pose(model.encode(batch.keypoints[:, :80].flatten(0, 1))["frames"][None])
    assert earlier.shape == (1, 160, 17, 3)


def test_the_loss_is_the_mean_distance() -> None:
    true = torch.zeros(2, 1, 17, 3)
    off = true.clone()
    off[0, 0, 3] = torch.tensor([0.3, 0.0, 0.4])
    assert position_loss(off, true).item() == pytest.approx(0.5 / 34)


# --- learning


class ByHeart:
    """The same few sequences again and again."""

    def __init__(self, batch: KeypointBatch) -> None:
        self.batch = batch

    def sample(self, count: int) -> KeypointBatch:
        return self.batch

    def sample_fixed(self, count: int) -> KeypointBatch:
        return self.batch


@pytest.mark.parametrize(
    ("name", "options", "answered"),
    [
        ("poseformer_9", {"joint_channels": 8, "future_frames": 0}, 2),
        ("poseformer_9", {"joint_channels": 8, "future_frames": 4}, 1),
        ("lstm_posenet_81", {"channels": 64, "future_frames": 0}, 10),
        ("simple_posenet_81", {"future_frames": 40}, 1),
        ("simple_transformer_posenet_81", {"future_frames": 0}, 1),
    ],
)
def test_every_network_learns_a_batch_by_heart_and_loads_back(
    tmp_path: Path, name: str, options: dict[str, int], answered: int
) -> None:
    torch.manual_seed(0)
    model = create_model(name, **options)
    assert isinstance(model, KeypointNetwork)
    length = sequence_length(model, answered)
    people = ByHeart(synthetic(length, answered, model.future_frames).sample_fixed(4))
    with torch.no_grad():
        before = position_loss(answers(model.eval(), people.batch), people.batch.poses).item()
    model.train()
    schedule = Schedule(
        steps=25, sequences=4, learning_rate=2e-3, warmup=5, ema_decay=0.0, report_every=25
    )
    trained = train_keypoint_network(
        model, people, people, tmp_path, schedule, FLOAT32, lambda line: None
    )
    with torch.no_grad():
        after = position_loss(answers(trained, people.batch), people.batch.poses).item()
    assert after < 0.5 * before

    file = tmp_path / "weights.safetensors"
    export_weights(trained, file, describe(name, **options))
    loaded = load_keypoint_network(name, file).eval()
    assert loaded.future_frames == options["future_frames"]
    windows = people.batch.keypoints[:, -model.frames :]
    with torch.no_grad():
        expected = trained.half().float()(windows)["pose"]
        torch.testing.assert_close(loaded(windows)["pose"], expected)


def test_bfloat16_trains_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("poseformer_9", joint_channels=8)
    people = ByHeart(synthetic(9, 1, 4).sample_fixed(4))
    schedule = Schedule(steps=30, sequences=4, learning_rate=2e-3, warmup=5, report_every=10)
    lines: list[str] = []
    half = Precision("cpu", torch.bfloat16)
    train_keypoint_network(model, people, people, tmp_path, schedule, half, lines.append)
    losses = [float(line.split("mpjpe ")[1].split()[0]) for line in lines]
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())
