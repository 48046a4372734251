"""The residual MLP that gives the first body of a window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.models.default.window_encoder import (
    MEMORIES,
    UNSEEN,
    WindowEncoder,
    fading_means,
    hold_unseen,
)

FRAMES, LANDMARKS = 24, 21


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


@pytest.mark.parametrize("frame", [0, 7, 15, 20, 22, 23])
def test_every_frame_of_the_window_matters_the_newest_most(frame: int) -> None:
    points, visibility, half_size = inputs(100)
    visibility = torch.ones_like(visibility)
    model = encoder()
    before = model(points, visibility, half_size).betas.detach()

    def change(number: int) -> float:
        changed = points.clone()
        changed[:, number] += 0.1
        after = model(changed, visibility, half_size).betas.detach()
        return float((after - before).abs().mean())

    assert change(frame) > 1e-4
    assert frame == 23 or change(frame) < change(23)


def test_the_order_of_frames_matters() -> None:
    points, visibility, half_size = inputs()
    model = encoder()
    forward = model(points, visibility, half_size).rotations
    backward = model(points.flip(1), visibility.flip(1), half_size).rotations
    assert (forward - backward).abs().max() > 0.01


def test_a_seen_landmark_counts_by_its_fading_means_alone() -> None:
    """Two windows with the same means are the same to the network."""
    points, _, half_size = inputs()
    everything = torch.ones(3, FRAMES, LANDMARKS)
    # what none of the four means sees
    unseen = torch.linalg.svd(fading_means(FRAMES)).Vh[len(MEMORIES)]
    model = encoder()
    before = model(points, everything, half_size).rotations
    other = points + unseen[:, None, None]
    torch.testing.assert_close(
        model(other, everything, half_size).rotations, before, atol=1e-4, rtol=0
    )
    assert (other - points).abs().max() > 0.2


def test_a_wild_point_counts_no_more_than_one_at_four_half_views() -> None:
    points, visibility, half_size = inputs()
    wild, limit, less = points.clone(), points.clone(), points.clone()
    wild[:, 0, 0], limit[:, 0, 0], less[:, 0, 0] = 50.0, 4.0, 3.0
    model = encoder()
    expected = model(limit, visibility, half_size).betas
    torch.testing.assert_close(model(wild, visibility, half_size).betas, expected)
    assert (model(less, visibility, half_size).betas - expected).abs().max() > 1e-4


# --- means that fade into the past


def test_memories_last_one_to_eight_frames() -> None:
    assert MEMORIES == (1.0, 2.0, 4.0, 8.0)
    means = fading_means(24)
    assert means.shape == (4, 24)
    for row, memory in zip(means, MEMORIES, strict=True):
        # to a third, which is 1 / e, of the newest frame's weight
        older = row[23 - int(memory)] / row[23]
        assert older.item() == pytest.approx(0.3679, abs=1e-3)


@pytest.mark.parametrize("window", [1, 2, 8, 24, 30])
def test_they_are_means_of_the_whole_window_in_which_newer_frames_count_more(window: int) -> None:
    means = fading_means(window)
    torch.testing.assert_close(means.sum(1), torch.ones(4))
    assert (means > 0).all()
    assert (means.diff(dim=1) > 0).all()
    assert window == 1 or (means[:, -1].diff() < 0).all(), "shortest memory first"


def test_whoever_stands_still_is_remembered_where_they_stand() -> None:
    points, *_ = inputs()
    still = points[:, -1:].expand(-1, FRAMES, -1, -1).flatten(2)
    torch.testing.assert_close(fading_means(FRAMES) @ still, still[:, :4])


# --- what is not seen


def one_landmark(*places: float) -> Tensor:
    """(1, T, 2, 2): a landmark at x = places, and one that rests at (-1, 0)."""
    points = torch.zeros(1, len(places), 2, 2)
    points[0, :, 0, 0] = torch.tensor(places)
    points[0, :, 1, 0] = -1.0
    return points


def seen(*values: float) -> Tensor:
    """(1, T, 2): how visible the first landmark is; the second is always seen."""
    return torch.stack([torch.tensor(values), torch.ones(len(values))], dim=-1)[None]


def held(points: Tensor, visibility: Tensor) -> list[float]:
    return hold_unseen(points, visibility)[0, :, 0, 0].tolist()


def test_what_is_seen_is_taken_as_it_is() -> None:
    points, *_ = inputs()
    assert torch.equal(hold_unseen(points, torch.ones(3, FRAMES, LANDMARKS)), points)


def test_a_lost_landmark_stays_where_it_was_and_goes_on_where_it_reappears() -> None:
    points = one_landmark(0.1, 0.2, 9.0, 9.0, 0.5)
    assert held(points, seen(1, 1, 0, 0, 1)) == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.5])


def test_it_follows_as_far_as_it_is_visible() -> None:
    points = one_landmark(0.0, 1.0, 1.0, 2.0)
    expected = [0.0, 0.5, 0.75, 0.75 + 0.2 * 1.25]
    assert held(points, seen(1, 0.5, 0.5, 0.2)) == pytest.approx(expected)


def test_before_it_is_first_seen_it_lies_where_it_will_be_on_average() -> None:
    points = one_landmark(7.0, 7.0, 0.2, 0.6)
    own, everything = 0.4, (0.2 + 0.6 - 4.0) / 6
    share = 2.0 / (2.0 + UNSEEN)
    start = (1 - share) * everything + share * own
    assert held(points, seen(0, 0, 1, 1)) == pytest.approx([start, start, 0.2, 0.6])


def test_a_mean_place_that_was_hardly_seen_is_half_believed() -> None:
    points = one_landmark(7.0, 0.8)
    everything = (UNSEEN * 0.8 - 2.0) / (2.0 + UNSEEN)
    expected = 0.5 * (everything + 0.8)
    assert held(points, seen(0, UNSEEN))[0] == pytest.approx(expected)


def test_a_landmark_that_is_never_seen_lies_where_the_others_are_on_average() -> None:
    points = one_landmark(9.0, 9.0, 9.0)
    assert held(points, seen(0, 0, 0)) == pytest.approx([-1.0] * 3)


def test_where_nothing_is_seen_everything_lies_in_the_middle_of_the_view() -> None:
    points, *_ = inputs()
    nothing = hold_unseen(points, torch.zeros(3, FRAMES, LANDMARKS))
    assert torch.equal(nothing, torch.zeros_like(nothing))


def test_what_one_landmark_loses_does_not_move_another_that_was_seen_before() -> None:
    points, visibility, _ = inputs()
    visibility[:, 0] = 1.0
    fewer = visibility.clone()
    fewer[:, 1:, 5] = 0.0
    a, b = hold_unseen(points, visibility), hold_unseen(points, fewer)
    others = [i for i in range(LANDMARKS) if i != 5]
    assert torch.equal(a[:, :, others], b[:, :, others])
    torch.testing.assert_close(b[:, :, 5], points[:, :1, 5].expand(-1, FRAMES, -1))


def test_people_do_not_share_what_they_hold() -> None:
    points, visibility, _ = inputs()
    together = hold_unseen(points, visibility)
    for i in range(3):
        alone = hold_unseen(points[i : i + 1], visibility[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
