"""The residual MLP that gives the first body of a window, its smoothing and its correction."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers.poses import landmarks_of, random_betas, random_pose
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.models.default.window_encoder import (
    GAIN,
    PARAMETERS,
    TIME_CONSTANTS,
    UNSEEN,
    BodyCorrector,
    RawParameters,
    WindowEncoder,
    exponential_means,
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


def test_the_place_of_an_invisible_landmark_does_not_matter() -> None:
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


def test_a_seen_landmark_counts_by_its_exponential_means_alone() -> None:
    """Two windows with the same means are the same to the network."""
    points, _, half_size = inputs()
    everything = torch.ones(3, FRAMES, LANDMARKS)
    # a change that leaves all four means as they are
    unseen = torch.linalg.svd(exponential_means(FRAMES)).Vh[len(TIME_CONSTANTS)]
    model = encoder()
    before = model(points, everything, half_size).rotations
    other = points + unseen[:, None, None]
    torch.testing.assert_close(
        model(other, everything, half_size).rotations, before, atol=1e-4, rtol=0
    )
    assert (other - points).abs().max() > 0.2


def test_an_outlier_counts_no_more_than_one_at_four_half_views() -> None:
    points, visibility, half_size = inputs()
    wild, limit, less = points.clone(), points.clone(), points.clone()
    wild[:, 0, 0], limit[:, 0, 0], less[:, 0, 0] = 50.0, 4.0, 3.0
    model = encoder()
    expected = model(limit, visibility, half_size).betas
    torch.testing.assert_close(model(wild, visibility, half_size).betas, expected)
    assert (model(less, visibility, half_size).betas - expected).abs().max() > 1e-4


# --- exponential means over the past


def test_time_constants_are_one_to_eight_frames() -> None:
    assert TIME_CONSTANTS == (1.0, 2.0, 4.0, 8.0)
    means = exponential_means(24)
    assert means.shape == (4, 24)
    for row, constant in zip(means, TIME_CONSTANTS, strict=True):
        # to a third, which is 1 / e, of the newest frame's weight
        older = row[23 - int(constant)] / row[23]
        assert older.item() == pytest.approx(0.3679, abs=1e-3)


@pytest.mark.parametrize("window", [1, 2, 8, 24, 30])
def test_they_are_means_of_the_whole_window_in_which_newer_frames_count_more(window: int) -> None:
    means = exponential_means(window)
    torch.testing.assert_close(means.sum(1), torch.ones(4))
    assert (means > 0).all()
    assert (means.diff(dim=1) > 0).all()
    assert window == 1 or (means[:, -1].diff() < 0).all(), "shortest time constant first"


def test_the_means_of_somebody_who_stands_still_are_where_they_stand() -> None:
    points, *_ = inputs()
    still = points[:, -1:].expand(-1, FRAMES, -1, -1).flatten(2)
    torch.testing.assert_close(exponential_means(FRAMES) @ still, still[:, :4])


# --- landmarks that are not seen


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


def test_a_visible_landmark_keeps_its_place() -> None:
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


def test_a_mean_place_that_was_hardly_seen_counts_half() -> None:
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


def test_losing_one_landmark_does_not_move_another_that_was_seen_before() -> None:
    points, visibility, _ = inputs()
    visibility[:, 0] = 1.0
    fewer = visibility.clone()
    fewer[:, 1:, 5] = 0.0
    a, b = hold_unseen(points, visibility), hold_unseen(points, fewer)
    others = [i for i in range(LANDMARKS) if i != 5]
    assert torch.equal(a[:, :, others], b[:, :, others])
    torch.testing.assert_close(b[:, :, 5], points[:, :1, 5].expand(-1, FRAMES, -1))


def test_held_places_of_one_person_do_not_depend_on_others() -> None:
    points, visibility, _ = inputs()
    together = hold_unseen(points, visibility)
    for i in range(3):
        alone = hold_unseen(points[i : i + 1], visibility[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


# --- the corrector

COUNT, WIDTH, MEANS = 3, 16, 2
HALF_SIZE = torch.tensor([0.15, 0.2, 0.3])


def corrector() -> BodyCorrector:
    torch.manual_seed(0)
    return BodyCorrector(WIDTH, MEANS).eval()


def parameters() -> RawParameters:
    rotations = random_pose(1, COUNT)
    six = torch.cat([rotations[..., 0], rotations[..., 1]], dim=-1)
    camera = torch.tensor([[0.1, 0.2, -0.1], [0.0, 0.0, 0.0], [-0.2, 0.1, 0.3]])
    return RawParameters(six, random_betas(2, COUNT), camera)


def expected_places(raw: RawParameters) -> Tensor:
    """(B, 21, 2) over the view, written down another way: x2d = s (X + t) up to perspective."""
    points = landmarks_of(raw.rotations, raw.betas)
    scale = raw.camera[:, 0].exp()
    place = torch.stack([raw.camera[:, 1], raw.camera[:, 2], 1 / (scale * HALF_SIZE)], dim=-1)
    there = points + place[:, None]
    return there[..., :2] / there[..., 2:] / HALF_SIZE[:, None, None]


def shown(model: BodyCorrector, seen: Tensor, visible: Tensor) -> Tensor:
    """The vector that the first layer reads."""
    kept: list[Tensor] = []
    model.input.register_forward_hook(lambda module, given, result: kept.append(given[0]))
    model(parameters(), torch.zeros(COUNT, WIDTH), seen, visible, HALF_SIZE)
    return kept[0]


def test_an_untrained_corrector_changes_nothing() -> None:
    raw = parameters()
    seen = torch.rand(COUNT, MEANS, LANDMARKS, 2)
    better, feature = corrector()(
        raw, torch.rand(COUNT, WIDTH), seen, torch.ones(COUNT, LANDMARKS), HALF_SIZE
    )
    for before, after in zip(raw, better, strict=True):
        assert torch.equal(before, after)
    assert feature.shape == (COUNT, WIDTH)


def test_the_error_is_zero_where_the_body_explains_the_landmarks() -> None:
    seen = expected_places(parameters())[:, None].expand(-1, MEANS, -1, -1)
    error = shown(corrector(), seen, torch.ones(COUNT, LANDMARKS))[:, : MEANS * LANDMARKS * 2]
    assert error.abs().max() < 1e-4 * GAIN


def test_the_input_is_the_projection_error_of_each_visible_landmark() -> None:
    seen = expected_places(parameters())[:, None].repeat(1, MEANS, 1, 1)
    seen[:, 1, 4] += torch.tensor([0.03, -0.02])
    seen[:, 0, 9] += 0.05
    visible = torch.ones(COUNT, LANDMARKS)
    visible[:, 9] = 0.0
    error = shown(corrector(), seen, visible)[:, : MEANS * LANDMARKS * 2]
    error = error.unflatten(1, (MEANS, LANDMARKS, 2)) / GAIN
    torch.testing.assert_close(
        error[:, 1, 4], torch.tensor([0.03, -0.02]).expand(COUNT, 2), atol=1e-4, rtol=0
    )
    error[:, 1, 4] = 0.0
    assert error.abs().max() < 1e-4, "the other landmarks are where they should be, or unseen"


def test_its_output_is_added_to_the_parameters() -> None:
    model, raw = corrector(), parameters()
    change = torch.linspace(-0.1, 0.1, PARAMETERS)
    with torch.no_grad():
        model.change.bias.copy_(change)
    seen = torch.zeros(COUNT, MEANS, LANDMARKS, 2)
    better, _ = model(raw, torch.zeros(COUNT, WIDTH), seen, torch.ones(COUNT, LANDMARKS), HALF_SIZE)
    torch.testing.assert_close(better.six - raw.six, change[:144].view(24, 6).expand(COUNT, -1, -1))
    torch.testing.assert_close(better.betas - raw.betas, change[144:154].expand(COUNT, -1))
    torch.testing.assert_close(better.camera - raw.camera, change[154:].expand(COUNT, -1))


@pytest.mark.parametrize("person", range(COUNT))
def test_one_person_is_corrected_without_the_others(person: int) -> None:
    model, raw = corrector(), parameters()
    torch.nn.init.normal_(model.change.weight, std=0.1)
    seen = torch.rand(COUNT, MEANS, LANDMARKS, 2)
    visible, feature = torch.rand(COUNT, LANDMARKS), torch.rand(COUNT, WIDTH)
    together, _ = model(raw, feature, seen, visible, HALF_SIZE)
    one = slice(person, person + 1)
    alone, _ = model(
        RawParameters(*(value[one] for value in raw)),
        feature[one], seen[one], visible[one], HALF_SIZE[one],
    )  # fmt: skip
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[one], b)
