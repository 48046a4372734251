"""The published protocol on Human3.6M: tiny files of the same layout, with known errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.human36m import tiny_lifter, write_h36m
from stdformer_ros.evaluation.published.protocol_h36m import evaluate_h36m, lift
from stdformer_ros.training.data.h36m import (
    read_recordings,
)


def test_with_half_the_window_as_delay_it_is_the_published_forward_pass() -> None:
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


def test_a_causal_network_does_not_use_the_future() -> None:
    keypoints = torch.rand(12, 17, 2)
    changed = keypoints.clone()
    changed[8:] = 0
    model = tiny_lifter(delay_frames=0)
    with torch.inference_mode():
        before, after = lift(model, keypoints), lift(model, changed)
    assert torch.equal(before[:8], after[:8])
    assert not torch.allclose(before[8], after[8])


class ConstantPose(torch.nn.Module):
    """A network that always answers with the same pose."""

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
    summary = evaluate_h36m(ConstantPose(torch.zeros(1, 17, 3)), folder, "gt", flip=False).summary()
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


def test_flipping_averages_with_the_mirrored_prediction(tmp_path: Path) -> None:
    """The pose has one raised left wrist; averaged with its mirror image, each wrist has half."""
    folder = write_h36m(tmp_path)
    pose = torch.zeros(1, 17, 3)
    pose[0, 13] = torch.tensor([0.4, 0.2, 0.0])
    half = torch.zeros(1, 17, 3)
    half[0, 13], half[0, 16] = torch.tensor([0.2, 0.1, 0]), torch.tensor([-0.2, 0.1, 0])
    flipped = evaluate_h36m(ConstantPose(pose), folder, "gt").summary()["overall"]
    plain = evaluate_h36m(ConstantPose(half), folder, "gt", flip=False).summary()["overall"]
    assert flipped["MPJPE"] == pytest.approx(plain["MPJPE"], abs=0.01)
