"""Targets and losses of the default network, and the windows that they belong to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers.poses import random_betas, random_pose
from helpers.synthetic_batch import synthetic_batch
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.models.default.network import WINDOW
from stdformer_ros.models.default.window_encoder import BodyParameters
from stdformer_ros.models.default.window_view import WindowView, project, view_window
from stdformer_ros.training.targets import (
    ANSWERS,
    Target,
    errors,
    motion_losses,
    parameter_losses,
    target_in_view,
    targets_of,
    windows_of,
)

# --- targets and losses


def view_of(count: int, seed: int = 0) -> WindowView:
    generator = torch.Generator().manual_seed(seed)
    rays = 0.3 + 0.2 * torch.rand(count, 8, 21, 2, generator=generator)
    return view_window(rays, torch.ones(count, 8, 21))


def test_the_target_is_the_true_body_rotated_into_the_view() -> None:
    body, view = BodyModel(108), view_of(2)
    rotations, betas = random_pose(0, 2), random_betas(0, 2)
    pelvis = torch.tensor([[1.0, 0.5, 4.0], [0.2, 0.1, 2.0]])
    target = target_in_view(body, rotations, betas, pelvis, view)
    vertices, joints = body(rotations, betas)
    # For row vectors, x @ turn rotates from the view to the camera.
    torch.testing.assert_close(target.vertices @ view.turn, vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(target.joints @ view.turn, joints, atol=1e-5, rtol=0)
    torch.testing.assert_close((target.pelvis[:, None] @ view.turn)[:, 0], pelvis)


def test_projection_agrees_with_the_points_of_the_view() -> None:
    """Points at any depth on the rays are projected to where the view has the rays."""
    generator = torch.Generator().manual_seed(0)
    rays = 0.3 + 0.2 * torch.rand(2, 8, 21, 2, generator=generator)
    view = view_window(rays, torch.ones(2, 8, 21))
    depth = 2 + torch.rand(2, 21, 1, generator=generator)
    points = torch.cat([rays[:, 0] * depth, depth], dim=-1) @ view.turn.transpose(1, 2)
    place = torch.tensor([[0.1, 0.2, 3.0], [0.0, -0.3, 2.0]])
    shown = project(points - place[:, None], place, view.half_size)
    torch.testing.assert_close(shown, view.points[:, 0], atol=1e-5, rtol=0)


BODIES = 2


def truth(body: BodyModel, view: WindowView) -> Target:
    pelvis = torch.tensor([[0.3, 0.1, 4.0], [0.2, 0.4, 3.0]]) @ view.turn[0]
    return target_in_view(body, random_pose(1, BODIES), random_betas(1, BODIES), pelvis, view)


def exact_answer(target: Target, view: WindowView) -> BodyParameters:
    scale = 1 / (target.pelvis[:, 2:] * view.half_size[:, None])
    parameters = BodyParameters(
        target.rotations,
        random_betas(1, BODIES),
        torch.cat([scale, target.pelvis[:, :2]], dim=1),
        torch.full((BODIES, 24), 20.0),
        torch.zeros(BODIES, 4),
    )
    torch.testing.assert_close(
        weak_perspective_to_metres(parameters.camera, view.half_size), target.pelvis
    )
    return parameters


def test_the_exact_answer_costs_nothing() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    losses = parameter_losses(
        exact_answer(target, view), target.vertices, target.joints, target, view
    )
    assert len(losses) == 6
    for name, value in losses.items():
        assert value.item() == pytest.approx(0.0, abs=1e-5), name


def test_a_body_five_centimetres_away_costs_its_weighted_distance() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    off = torch.tensor([0.03, 0.0, 0.04])
    losses = parameter_losses(
        exact_answer(target, view), target.vertices + off, target.joints + 2 * off, target, view
    )
    assert losses["vertices"].item() == pytest.approx(6 * 0.05, rel=1e-3)
    assert losses["joints"].item() == pytest.approx(6 * 0.10, rel=1e-3)
    assert losses["projection"] > 0
    for name in ("rotations", "distance"):
        assert losses[name].item() == pytest.approx(0.0, abs=1e-5)


def test_a_wrong_root_rotation_costs_its_share_and_a_fifth_more() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    turned = target.rotations.clone()
    turned[:, 0] = random_pose(3, BODIES)[:, 0]
    off = float((turned[:, 0] - target.rotations[:, 0]).abs().mean())
    parameters = exact_answer(target, view)._replace(rotations=turned)
    losses = parameter_losses(parameters, target.vertices, target.joints, target, view)
    assert losses["rotations"].item() == pytest.approx(off * (1 / 24 + 0.2), rel=1e-4)


def test_a_distance_wrong_by_a_tenth_costs_its_logarithm() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    parameters = exact_answer(target, view)
    camera = parameters.camera / torch.tensor([1.1, 1.0, 1.0])
    losses = parameter_losses(
        parameters._replace(camera=camera), target.vertices, target.joints, target, view
    )
    assert losses["distance"].item() == pytest.approx(0.3 * 0.09531, rel=1e-3)
    assert losses["vertices"].item() == pytest.approx(0.0, abs=1e-5)


def test_confidences_learn_which_joints_lie_within_ten_centimetres() -> None:
    body, view = BodyModel(108), view_of(BODIES)
    target = truth(body, view)
    parameters = exact_answer(target, view)._replace(confidence=torch.full((BODIES, 24), 3.0))
    joints = target.joints.clone()
    joints[:, :6, 0] += 0.11
    joints[:, 6:, 0] += 0.09
    losses = parameter_losses(parameters, target.vertices, joints, target, view)
    # softplus(3) for the six of 24 that are far, softplus(-3) for the others
    expected = 0.05 * (0.25 * 3.04859 + 0.75 * 0.04859)
    assert losses["confidence"].item() == pytest.approx(expected, rel=1e-3)


MOVING = 4


def three_frames() -> Tensor:
    """(3 * 4 + 2, 5, 3): four people in three frames, and two more in one frame."""
    return torch.randn(3 * MOVING + 2, 5, 3, generator=torch.Generator().manual_seed(0))


def test_motion_losses_depend_on_steps_and_not_on_places() -> None:
    true = three_frames()
    for value in motion_losses(true + 1, true, MOVING).values():
        assert value.item() == pytest.approx(0.0, abs=1e-5)


def test_a_wrong_speed_costs_velocity_and_no_acceleration() -> None:
    true, drift = three_frames(), torch.tensor([0.03, 0.0, 0.04])
    ours = true.clone()
    ours[:-2] += torch.arange(3).repeat_interleave(MOVING)[:, None, None] * drift
    losses = motion_losses(ours, true, MOVING)
    assert losses["velocity"].item() == pytest.approx(6 * 0.05, rel=1e-4)
    assert losses["acceleration"].item() == pytest.approx(0.0, abs=1e-5)


def test_a_jump_in_one_frame_costs_velocity_and_twice_that_in_acceleration() -> None:
    true = three_frames()
    ours = true.clone()
    ours[MOVING : 2 * MOVING] += torch.tensor([0.03, 0.0, 0.04])
    losses = motion_losses(ours, true, MOVING)
    assert losses["velocity"].item() == pytest.approx(6 * 0.05, rel=1e-4)
    assert losses["acceleration"].item() == pytest.approx(6 * 0.10, rel=1e-4)


def test_sequences_with_a_single_window_have_no_motion_loss() -> None:
    true = three_frames()
    ours = true.clone()
    ours[-2:] += 1.0
    for value in motion_losses(ours, true, MOVING).values():
        assert value.item() == 0.0


def test_errors_are_in_millimetres_in_camera_coordinates() -> None:
    """Three windows of two people, each in a view of its own."""
    body, view = BodyModel(108), view_of(6)
    pelvis = torch.tensor([0.0, 0.0, 4.0]).expand(6, 3)
    target = target_in_view(body, random_pose(1, 6), random_betas(1, 6), pelvis, view)
    exact = errors(target.joints, target.vertices, target, view)
    assert exact == pytest.approx(dict.fromkeys(exact, 0.0), abs=0.01)
    assert set(exact) == {"mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "accel_mm"}
    jump = torch.zeros(6, 1, 3)
    jump[2:4, :, 0] = 0.01  # both people, in the middle frame, along the camera's x
    in_view = jump @ view.turn.transpose(1, 2)
    moved = target.joints + in_view
    jumping = errors(moved, target.vertices + 2 * in_view, target, view)
    assert jumping["accel_mm"] == pytest.approx(20.0, rel=1e-3)
    assert jumping["mpvpe_mm"] == pytest.approx(20.0 / 3, rel=1e-3)
    assert jumping["mpjpe_mm"] == pytest.approx(10.0 / 3, rel=1e-3)
    assert jumping["pa_mpjpe_mm"] == pytest.approx(0.0, abs=0.01)
    # The same error in every frame in camera coordinates is no acceleration, though views differ.
    steady = torch.tensor([0.01, 0.0, 0.0]) @ view.turn.transpose(1, 2)
    resting = errors(target.joints + steady[:, None], target.vertices, target, view)
    assert resting["accel_mm"] == pytest.approx(0.0, abs=0.01)


# --- neighbouring windows


@pytest.mark.parametrize("moving", [0, 2, 5])
def test_some_sequences_give_three_windows_and_the_others_their_newest(moving: int) -> None:
    frames = WINDOW + ANSWERS - 1
    windows = windows_of(torch.arange(5 * frames).view(5, frames), moving)
    assert ANSWERS == 3
    assert windows.shape == (3 * moving + 5 - moving, WINDOW)
    expected = [(answer, person) for answer in range(3) for person in range(moving)]
    expected += [(2, person) for person in range(moving, 5)]
    for window, (answer, person) in zip(windows, expected, strict=True):
        first = person * frames + answer
        assert window.tolist() == list(range(first, first + WINDOW))


@pytest.mark.parametrize("moving", [0, 5, 16])
def test_the_target_of_each_window_is_its_newest_frame(moving: int) -> None:
    batch = synthetic_batch()
    body, count = BodyModel(108), len(batch.betas)
    rays, visibility = windows_of(batch.rays, moving), windows_of(batch.visibility, moving)
    view = view_window(rays, visibility)
    target = targets_of(body, batch, view, moving)
    expected = [(answer, person) for answer in range(3) for person in range(moving)]
    expected += [(2, person) for person in range(moving, count)]
    assert len(expected) == len(rays)
    for row, (answer, person) in enumerate(expected):
        frame = WINDOW - 1 + answer
        assert torch.equal(rays[row, -1], batch.rays[person, frame])
        pelvis = view.turn[row] @ batch.pelvis[person, answer]
        torch.testing.assert_close(target.pelvis[row], pelvis)
        _, joints = body(batch.rotations[person, answer][None], batch.betas[person][None])
        torch.testing.assert_close(
            target.joints[row] @ view.turn[row], joints[0], atol=1e-5, rtol=0
        )
