"""Training of the keypoint networks: that they learn, and that their weights can be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.synthetic_batch import synthetic_keypoints
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.lifting.weights import describe, load_keypoint_network
from stdformer_ros.models.registry import create_model
from stdformer_ros.training.data.keypoint_windows import (
    KeypointBatch,
)
from stdformer_ros.training.loop import Precision, Schedule
from stdformer_ros.training.runs import export_weights
from stdformer_ros.training.train_keypoints import (
    answers,
    position_loss,
    sequence_length,
    train_keypoint_network,
)

FLOAT32 = Precision("cpu", torch.float32)


# --- answers


@pytest.mark.parametrize("name", ["poseformer_9", "simple_posenet_81"])
def test_windows_that_share_encoded_frames_give_the_same_answers(name: str) -> None:
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


def test_an_lstm_answers_after_every_frame() -> None:
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


class SameBatch:
    """Gives the same sequences at every call."""

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
def test_every_network_overfits_a_batch_and_its_weights_load(
    tmp_path: Path, name: str, options: dict[str, int], answered: int
) -> None:
    torch.manual_seed(0)
    model = create_model(name, **options)
    assert isinstance(model, KeypointNetwork)
    length = sequence_length(model, answered)
    people = SameBatch(synthetic_keypoints(length, answered, model.future_frames).sample_fixed(4))
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
    people = SameBatch(synthetic_keypoints(9, 1, 4).sample_fixed(4))
    schedule = Schedule(steps=30, sequences=4, learning_rate=2e-3, warmup=5, report_every=10)
    lines: list[str] = []
    half = Precision("cpu", torch.bfloat16)
    train_keypoint_network(model, people, people, tmp_path, schedule, half, lines.append)
    losses = [float(line.split("mpjpe ")[1].split()[0]) for line in lines]
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())
