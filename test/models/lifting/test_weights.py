"""Files of weights say which frame they answer for, and cannot be taken for each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stdformer_ros.models import CheckpointError, create_model
from stdformer_ros.models.lifting.poseformer import PoseFormer
from stdformer_ros.models.lifting.weights import describe, load_keypoint_network


def saved(network: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> Path:
    save_file({k: v.clone() for k, v in network.state_dict().items()}, path, metadata)
    return path


def ours(folder: Path, **extra: str) -> Path:
    """A narrow PoseFormer, trained for the pose in the newest frame."""
    torch.manual_seed(0)
    network = create_model("poseformer_9", future_frames=0, joint_channels=8)
    metadata = describe("poseformer_9", future_frames=0, joint_channels=8)
    return saved(network, folder / "ours.safetensors", metadata | extra)


def test_our_weights_make_a_network_of_their_size_for_the_newest_frame(tmp_path: Path) -> None:
    made = load_keypoint_network("poseformer_9", ours(tmp_path))
    assert isinstance(made, PoseFormer)
    assert (made.future_frames, made.delay_frames, made.window) == (0, 0, 9)
    torch.manual_seed(0)
    same = create_model("poseformer_9", future_frames=0, joint_channels=8)
    for name, value in same.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], value)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_without_metadata_are_for_the_centre_as_published(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"published.{suffix}"
    network = create_model("poseformer_9")
    if suffix == "bin":
        torch.save({"model_pos": network.state_dict()}, path)
    else:
        saved(network, path)
    made = load_keypoint_network("poseformer_9", path, delay_frames=3)
    assert (made.future_frames, made.delay_frames, made.window) == (4, 3, 8)


def test_ours_cannot_be_delayed_and_say_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"delay_frames must be 0 .*newest frame.*not 3"):
        load_keypoint_network("poseformer_9", ours(tmp_path), delay_frames=3)


def test_published_weights_can_be_delayed_by_half_the_window(tmp_path: Path) -> None:
    path = saved(create_model("poseformer_9"), tmp_path / "published.safetensors")
    assert load_keypoint_network("poseformer_9", path, delay_frames=4).window == 9
    for delay in (-1, 5):
        with pytest.raises(ValueError, match=f"delay_frames must be 0 to 4, not {delay}"):
            load_keypoint_network("poseformer_9", path, delay_frames=delay)


def test_the_longest_delay_is_the_one_without_repeated_frames(tmp_path: Path) -> None:
    published = saved(create_model("poseformer_9"), tmp_path / "published.safetensors")
    assert load_keypoint_network("poseformer_9", published, None).delay_frames == 4
    assert load_keypoint_network("poseformer_9", ours(tmp_path), None).delay_frames == 0


def test_weights_of_another_system_are_refused_by_name(tmp_path: Path) -> None:
    path = saved(
        create_model("lstm_posenet_81", future_frames=0, channels=8),
        tmp_path / "lstm.safetensors",
        describe("lstm_posenet_81", future_frames=0, channels=8),
    )
    with pytest.raises(CheckpointError, match=r"holds weights of lstm_posenet_81, not of poseform"):
        load_keypoint_network("poseformer_9", path)
    assert load_keypoint_network("lstm_posenet_81", path).window == 81


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"system": "poseformer_10"}, r"'poseformer_10'; the keypoint networks are poseformer_9, "),
        ({"system": "poseformer_9"}, r"does not say for which frame"),
        ({"system": "poseformer_9", "future_frames": "none"}, r"future_frames=none makes no sense"),
        ({"system": "poseformer_9", "future_frames": "0", "wings": "2"}, r"wings=2 makes no sense"),
        (
            {"system": "poseformer_9", "future_frames": "4", "delay_frames": "2"},
            r"delay_frames=2 makes no sense",
        ),
        ({"system": "poseformer_9", "future_frames": "9"}, r"future_frames must be 0 to 8"),
    ],
)
def test_metadata_that_makes_no_sense_is_named(
    tmp_path: Path, entries: dict[str, str], said: str
) -> None:
    path = saved(create_model("poseformer_9"), tmp_path / "odd.safetensors", entries)
    with pytest.raises(ValueError, match=said):
        load_keypoint_network("poseformer_9", path)


def test_remarks_about_the_training_are_ignored(tmp_path: Path) -> None:
    path = ours(tmp_path, **{"training.mpjpe_mm": "61.5"})
    assert load_keypoint_network("poseformer_9", path).window == 9


def test_a_description_without_the_frame_it_answers_for_is_refused() -> None:
    with pytest.raises(ValueError, match="does not say for which frame"):
        describe("poseformer_27", joint_channels=16)


def test_a_missing_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nothing\.safetensors"):
        load_keypoint_network("poseformer_9", tmp_path / "nothing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(ours(tmp_path).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"broken\.safetensors is not an intact checkpoint"):
        load_keypoint_network("poseformer_9", broken)
