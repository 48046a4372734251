"""Human3.6M's 17 keypoints among BlazePose's landmarks."""

from __future__ import annotations

import pytest
import torch

from stdformer_ros.body.joint_regressors import H36M_NAMES
from stdformer_ros.models.h36m_keypoints import H36M_FROM_LANDMARKS, VIEW_SCALE, h36m_keypoints


def keypoint(rays: torch.Tensor, name: str) -> torch.Tensor:
    return h36m_keypoints(rays)[..., H36M_NAMES.index(name), :]


def test_a_point_shows_where_a_camera_of_human36m_would_have_it() -> None:
    """focal length 1145 pixels, 1000 pixels wide: a ray of 0.2 is 229 pixels off the centre."""
    rays = torch.tensor([0.2, -0.1]).expand(33, 2)
    pixel = 500 + 0.2 * 1145
    assert (2 * pixel - 1000) / 1000 == pytest.approx(0.2 * VIEW_SCALE)
    expected = torch.tensor([0.458, -0.229]).expand(17, 2)
    torch.testing.assert_close(h36m_keypoints(rays), expected)


@pytest.mark.parametrize(
    ("name", "landmark"), [("nose", 0), ("left_wrist", 15), ("right_hip", 24), ("right_ankle", 28)]
)
def test_what_blazepose_marks_is_taken_as_it_is(name: str, landmark: int) -> None:
    rays = torch.randn(3, 33, 2)
    torch.testing.assert_close(keypoint(rays, name), VIEW_SCALE * rays[:, landmark])


def test_what_blazepose_does_not_mark_comes_from_its_neighbours() -> None:
    rays = torch.zeros(33, 2)
    rays[[11, 12], 1] = -0.3  # shoulders above the hips, ears above the shoulders
    rays[[7, 8], 1] = -0.4
    for name, height in (("pelvis", 0.0), ("torso", -0.15), ("neck", -0.3), ("head_top", -0.458)):
        assert keypoint(rays, name)[1].item() == pytest.approx(VIEW_SCALE * height), name


def test_moving_all_landmarks_moves_all_keypoints() -> None:
    torch.testing.assert_close(H36M_FROM_LANDMARKS.sum(1), torch.ones(17))
