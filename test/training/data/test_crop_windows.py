"""Crops of rendered people, and of recorded ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.crops import rendered_crops, write_sequence
from stdformer_ros.body.body_model import h36m_joint_regressor
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.models.published.stdformer import IMAGE_MEAN, IMAGE_STD
from stdformer_ros.training.data.crop_windows import (
    MeshBatch,
    RecordedCrops,
)

# --- rendered people


@pytest.fixture(scope="module")
def batch() -> MeshBatch:
    return rendered_crops(2, 2)


def test_a_rendered_batch_is_consistent(batch: MeshBatch) -> None:
    assert batch.images.shape == (2, 2, 3, 224, 224)
    regressed = torch.from_numpy(h36m_joint_regressor()) @ batch.vertices
    assert regressed[..., 0, :].abs().max() < 1e-5, "the pelvis is the origin"
    torch.testing.assert_close(regressed[..., list(EVALUATION_ORDER), :], batch.joints)
    assert batch.joints_2d.abs().max() < 1.6
    low, high = batch.joints_2d.amin(dim=2), batch.joints_2d.amax(dim=2)
    longest = (high - low).amax(dim=-1)
    assert ((longest > 2 / (1.2 * 1.2) - 1e-4) & (longest < 2 / (1.2 * 0.9) + 1e-4)).all()


def test_the_person_is_rendered_where_the_joints_are(batch: MeshBatch) -> None:
    """A rendered body has a single hue: at the hips, all colour channels have the same ratios."""
    images = batch.images * torch.tensor(IMAGE_STD)[:, None, None]
    images = images + torch.tensor(IMAGE_MEAN)[:, None, None]
    for window in range(2):
        hues = []
        for frame in range(2):
            for joint in (2, 3):  # hips, well inside of the body
                x, y = ((batch.joints_2d[window, frame, joint] + 1) * 112 - 0.5).round().int()
                patch = images[window, frame, :, y - 2 : y + 3, x - 2 : x + 3].mean(dim=(1, 2))
                hues.append(patch / patch.norm())
        assert torch.stack(hues).std(dim=0).max() < 0.05


def test_the_fixed_batch_is_always_the_same_and_keeps_the_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = rendered_crops(1, 2), rendered_crops(1, 2)
    assert torch.equal(first.images, second.images)
    assert torch.equal(torch.rand(3), expected)


# --- recorded people


def test_windows_are_consecutive_frames_of_one_sequence(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a", 5)
    write_sequence(tmp_path / "b", 4, start=100)
    write_sequence(tmp_path / "too_short", 2, start=200)
    source = RecordedCrops(tmp_path, window=3)
    batch = source.sample_fixed(100)
    assert batch.joints[:, :, 0, 0].tolist() == [
        [0, 1, 2], [1, 2, 3], [2, 3, 4], [100, 101, 102], [101, 102, 103],
    ]  # fmt: skip
    assert batch.vertices[:, 0, 6889, 2].tolist() == [0, 1, 2, 100, 101]
    assert batch.vertices.dtype == torch.float32
    red = (batch.images[:, :, 0, 10, 10] * IMAGE_STD[0] + IMAGE_MEAN[0]) * 255
    torch.testing.assert_close(red, batch.joints[:, :, 0, 0], atol=1e-3, rtol=0)
    drawn = source.sample(50).joints[:, :, 0, 0]
    assert set(drawn[:, 0].tolist()) == {0, 1, 2, 100, 101}


def test_wrong_files_of_recorded_people_are_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        RecordedCrops(tmp_path / "nowhere", 2)
    write_sequence(tmp_path / "short" / "a", 2)
    with pytest.raises(ValueError, match=r"no sequence in .*short has the 3 frames"):
        RecordedCrops(tmp_path / "short", 3)
    write_sequence(tmp_path / "lacking" / "a", 3)
    (tmp_path / "lacking" / "a" / "joints.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"a/joints.npy"):
        RecordedCrops(tmp_path / "lacking", 2)
    write_sequence(tmp_path / "misshapen" / "a", 3)
    np.save(tmp_path / "misshapen" / "a" / "joints_2d.npy", np.zeros((3, 17, 2)))
    with pytest.raises(ValueError, match=r"joints_2d.npy .*\(3, 17, 2\).*frames, 14, 2"):
        RecordedCrops(tmp_path / "misshapen", 2)
    write_sequence(tmp_path / "unequal" / "a", 3)
    np.save(tmp_path / "unequal" / "a" / "joints.npy", np.zeros((4, 14, 3)))
    with pytest.raises(ValueError, match="different numbers of frames"):
        RecordedCrops(tmp_path / "unequal", 2)
    write_sequence(tmp_path / "broken" / "a", 3)
    (tmp_path / "broken" / "a" / "images.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"images\.npy"):
        RecordedCrops(tmp_path / "broken", 2)
