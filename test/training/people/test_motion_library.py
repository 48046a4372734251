"""Windows of clips: within one clip, at one speed, mirrored half of the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from helpers.handmade_motion import bvh_text, lively
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES, MIRROR
from stdformer_ros.training.people.motion_library import (
    HELD_OUT,
    SPEEDS,
    MotionLibrary,
    read_motion,
    read_split,
)
from stdformer_ros.training.people.posed_motion import quaternion_to_matrix
from stdformer_ros.training.people.retarget import BodyMotion, retarget

CLIP, TIME = JOINT_NAMES.index("spine1"), JOINT_NAMES.index("spine2")


def numbered_clip(number: int, frames: int) -> BodyMotion:
    """Its rotations about x encode the clip (spine1, degrees) and the frame (spine2, half degrees).

    A mirror at x = 0 does not change rotations about x.
    """
    vectors = np.zeros((frames, 24, 3))
    vectors[:, CLIP, 0] = number
    vectors[:, TIME, 0] = 0.5 * np.arange(frames)
    quaternions = Rotation.from_rotvec(vectors.reshape(-1, 3), degrees=True).as_quat()
    root = np.zeros((frames, 3))
    root[:, 2] = np.arange(frames)
    return BodyMotion(
        quaternions.reshape(frames, 24, 4).astype(np.float32), root.astype(np.float32), 1 / 30
    )


def bends(quaternions: Tensor, joint: int) -> np.ndarray:
    """(B, F) degrees about x."""
    flat = quaternions[:, :, joint].reshape(-1, 4).double().numpy()
    return Rotation.from_quat(flat).as_rotvec(degrees=True)[:, 0].reshape(quaternions.shape[:2])


def test_windows_stay_in_one_clip_and_play_at_one_speed() -> None:
    torch.manual_seed(0)
    lengths = (20, 17, 40)
    library = MotionLibrary([numbered_clip(i, n) for i, n in enumerate(lengths)], frames=8)
    quaternions, root = library.sample(2000)
    clip = bends(quaternions, CLIP)
    assert np.abs(clip - clip.round()).max() < 0.01, "two clips are mixed"
    assert set(clip.round().astype(int).ravel()) == {0, 1, 2}
    assert np.ptp(clip, axis=1).max() < 0.01
    time = 2 * bends(quaternions, TIME)
    assert time.min() > -0.01
    length = np.array(lengths)[clip[:, 0].round().astype(int)]
    assert (time[:, -1] < length - 1 + 0.01).all()
    steps = np.diff(time, axis=1)
    assert np.ptp(steps, axis=1).max() < 0.02
    assert steps.min() > SPEEDS[0] - 0.01
    assert steps.max() < SPEEDS[1] + 0.01
    assert np.ptp(steps[:, 0]) > 1.2, "speeds vary"
    # The root is relative to its place in the last frame.
    np.testing.assert_allclose(root[..., 2], time - time[:, -1:], atol=0.02)
    assert (root[:, -1] == 0).all()


def test_clips_too_short_for_a_window_are_left_out() -> None:
    torch.manual_seed(0)
    clips = [numbered_clip(1, 15), numbered_clip(2, 16)]  # 7 steps at speed 2, and one more frame
    library = MotionLibrary(clips, frames=8)
    assert len(library) == 1
    assert bends(library.sample(50)[0], CLIP).min() > 1.99


def test_a_library_needs_a_clip_that_is_long_enough() -> None:
    with pytest.raises(ValueError, match="16 frames"):
        MotionLibrary([numbered_clip(1, 15)], frames=8)


def test_quaternions_of_either_sign_are_the_same_motion() -> None:
    clip = numbered_clip(3, 40)
    clip.quaternions[::2] *= -1
    quaternions, _ = MotionLibrary([clip], frames=8).sample(200)
    steps = np.diff(2 * bends(quaternions, TIME), axis=1)
    assert steps.min() > SPEEDS[0] - 0.01
    assert steps.max() < SPEEDS[1] + 0.01


def test_sampled_quaternions_have_unit_length() -> None:
    library = MotionLibrary([retarget(lively(60))], frames=8)
    norms = library.sample(100)[0].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_half_of_the_windows_are_mirrored() -> None:
    """Posed, every window of a constant pose is the clip's pose or its mirror image."""
    torch.manual_seed(0)
    one = retarget(lively(30, seed=3))
    frames = 40
    clip = BodyMotion(
        np.repeat(one.quaternions[20:21], frames, axis=0),
        np.arange(frames, dtype=np.float32)[:, None] * np.array([1, 0, 0], np.float32),
        1 / 30,
    )
    quaternions, root = MotionLibrary([clip], frames=4).sample(400)
    body = BodyModel(108)
    _, joints = body(quaternion_to_matrix(quaternions[:, 0]), torch.zeros(400, 10))
    _, original = body(
        quaternion_to_matrix(torch.from_numpy(clip.quaternions[:1])), torch.zeros(1, 10)
    )
    image = original[:, MIRROR, :] * torch.tensor([-1.0, 1.0, 1.0])
    is_mirrored = root[:, 0, 0] > 0  # the clip walks towards +x, so it came from -x
    assert 150 < int(is_mirrored.sum()) < 250
    assert (joints[~is_mirrored] - original).abs().max() < 1e-5
    assert (joints[is_mirrored] - image).norm(dim=-1).max() < 0.02
    assert (original - image).norm(dim=-1).max() > 0.2, "the pose must be asymmetric"


def test_the_mirror_of_the_mirror_is_the_joint_itself() -> None:
    assert [MIRROR[MIRROR[j]] for j in range(24)] == list(range(24))
    for joint, other in enumerate(MIRROR):
        swapped = JOINT_NAMES[joint].replace("left", "#").replace("right", "left")
        assert JOINT_NAMES[other] == swapped.replace("#", "right")


def test_clips_of_a_folder_are_chosen_by_name(tmp_path: Path) -> None:
    for name, frames in (("cmu_01_01", 20), ("cmu_01_02", 21), ("cmu_02_01", 22)):
        (tmp_path / f"{name}.bvh").write_text(bvh_text(lively(frames)))
    assert [len(m.root) for m in read_motion(tmp_path)] == [20, 21, 22]
    assert [len(m.root) for m in read_motion(tmp_path, exclude=("cmu_01_",))] == [22]
    assert [len(m.root) for m in read_motion(tmp_path, only=("_01.",))] == [20, 22]


def test_a_folder_without_the_requested_clips_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        read_motion(tmp_path)


def test_the_split_keeps_validation_subjects_apart(tmp_path: Path) -> None:
    for name, frames in (("cmu_01_01", 20), (f"{HELD_OUT[0]}01", 21), ("cmu_13_01", 22)):
        (tmp_path / f"{name}.bvh").write_text(bvh_text(lively(frames)))
    training, validation = read_split(tmp_path)
    assert [len(m.root) for m in training] == [20, 22]
    assert [len(m.root) for m in validation] == [21]
