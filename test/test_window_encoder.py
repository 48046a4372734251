"""The residual MLP that gives the first body of a window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.models.window_encoder import WindowEncoder

FRAMES, LANDMARKS = 8, 21


def encoder(trained: bool = True) -> WindowEncoder:
    """Narrow; `trained` gives the heads weights that make a difference."""
    torch.manual_seed(0)
    model = WindowEncoder(FRAMES, LANDMARKS, width=32, blocks=2).eval()
    if trained:
        for head in (model.rotations, model.betas, model.camera):
            torch.nn.init.normal_(head.weight, std=0.3)
    return model


def inputs(count: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = 2 * torch.rand(count, FRAMES, LANDMARKS, 2, generator=generator) - 1
    visibility = torch.rand(count, FRAMES, LANDMARKS, generator=generator)
    return points, visibility, 0.1 + 0.2 * torch.rand(count, generator=generator)


def test_the_answer_has_the_documented_shapes() -> None:
    answer = encoder()(*inputs())
    assert answer.rotations.shape == (3, 24, 3, 3)
    assert answer.betas.shape == (3, 10)
    assert answer.camera.shape == (3, 3)
    assert answer.confidence.shape == (3, 24)
    assert answer.feature.shape == (3, 32)


def test_rotations_are_rotations_and_the_scale_is_positive() -> None:
    answer = encoder()(*inputs(20))
    product = answer.rotations @ answer.rotations.transpose(-1, -2)
    torch.testing.assert_close(product, torch.eye(3).expand_as(product), atol=1e-5, rtol=0)
    assert (torch.linalg.det(answer.rotations) > 0.99).all()
    assert (answer.camera[:, 0] > 0).all()


@torch.no_grad()
def test_untrained_it_sees_somebody_who_stands_and_faces_the_camera() -> None:
    answer = encoder(trained=False)(*inputs())
    _, joints = BodyModel(108)(answer.rotations, torch.zeros(3, 10))
    place = {name: joints[:, i] for i, name in enumerate(JOINT_NAMES)}
    assert (place["head"][:, 1] < -0.4).all(), "y points down"
    assert (place["left_shoulder"][:, 0] > 0.1).all(), "their left is the image's right"
    assert (place["left_foot"][:, 2] < place["left_ankle"][:, 2]).all(), "toes to the camera"


def test_an_invisible_landmark_says_nothing() -> None:
    points, visibility, half_size = inputs()
    visibility[:, 2, 5] = 0.0
    elsewhere = points.clone()
    elsewhere[:, 2, 5] = 100.0
    model = encoder()
    for a, b in zip(
        model(points, visibility, half_size), model(elsewhere, visibility, half_size), strict=True
    ):
        assert torch.equal(a, b)


def test_how_visible_a_landmark_is_and_how_large_the_view_is_matter() -> None:
    points, visibility, half_size = inputs()
    model = encoder()
    answer = model(points, visibility, half_size)
    assert not torch.allclose(answer.betas, model(points, 0.5 * visibility, half_size).betas)
    assert not torch.allclose(answer.betas, model(points, visibility, 2 * half_size).betas)


@pytest.mark.parametrize("frame", [0, 3, 7])
def test_every_frame_of_the_window_matters(frame: int) -> None:
    points, visibility, half_size = inputs()
    changed = points.clone()
    changed[:, frame] += 0.1
    model = encoder()
    difference = (
        model(points, visibility, half_size).betas - model(changed, visibility, half_size).betas
    )
    assert difference.abs().max() > 1e-3


def test_the_order_of_frames_matters() -> None:
    points, visibility, half_size = inputs()
    model = encoder()
    forward = model(points, visibility, half_size).rotations
    backward = model(points.flip(1), visibility.flip(1), half_size).rotations
    assert (forward - backward).abs().max() > 0.01


def test_a_wild_point_counts_no_more_than_one_at_three_half_views() -> None:
    points, visibility, half_size = inputs()
    wild, limit = points.clone(), points.clone()
    wild[:, 0, 0], limit[:, 0, 0] = 50.0, 3.0
    model = encoder()
    torch.testing.assert_close(
        model(wild, visibility, half_size).betas, model(limit, visibility, half_size).betas
    )
