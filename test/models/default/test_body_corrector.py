"""The network that looks at its own answer: what it is shown, and what it may change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers.poses import landmarks_of, random_betas, random_pose
from stdformer_ros.models.default.body_corrector import (
    GAIN,
    PARAMETERS,
    BodyCorrector,
    RawParameters,
)

COUNT, WIDTH, MEMORIES, LANDMARKS = 3, 16, 2, 21
HALF_SIZE = torch.tensor([0.15, 0.2, 0.3])


def corrector() -> BodyCorrector:
    torch.manual_seed(0)
    return BodyCorrector(WIDTH, MEMORIES).eval()


def answer() -> RawParameters:
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
    model(answer(), torch.zeros(COUNT, WIDTH), seen, visible, HALF_SIZE)
    return kept[0]


def test_untrained_it_changes_nothing() -> None:
    raw = answer()
    seen = torch.rand(COUNT, MEMORIES, LANDMARKS, 2)
    better, feature = corrector()(
        raw, torch.rand(COUNT, WIDTH), seen, torch.ones(COUNT, LANDMARKS), HALF_SIZE
    )
    for before, after in zip(raw, better, strict=True):
        assert torch.equal(before, after)
    assert feature.shape == (COUNT, WIDTH)


def test_it_is_shown_nothing_missed_where_the_answer_explains_the_landmarks() -> None:
    seen = expected_places(answer())[:, None].expand(-1, MEMORIES, -1, -1)
    missed = shown(corrector(), seen, torch.ones(COUNT, LANDMARKS))[:, : MEMORIES * LANDMARKS * 2]
    assert missed.abs().max() < 1e-4 * GAIN


def test_it_is_shown_by_how_much_each_visible_landmark_is_missed() -> None:
    seen = expected_places(answer())[:, None].repeat(1, MEMORIES, 1, 1)
    seen[:, 1, 4] += torch.tensor([0.03, -0.02])
    seen[:, 0, 9] += 0.05
    visible = torch.ones(COUNT, LANDMARKS)
    visible[:, 9] = 0.0
    missed = shown(corrector(), seen, visible)[:, : MEMORIES * LANDMARKS * 2]
    missed = missed.unflatten(1, (MEMORIES, LANDMARKS, 2)) / GAIN
    torch.testing.assert_close(
        missed[:, 1, 4], torch.tensor([0.03, -0.02]).expand(COUNT, 2), atol=1e-4, rtol=0
    )
    missed[:, 1, 4] = 0.0
    assert missed.abs().max() < 1e-4, "the other landmarks are where they should be, or unseen"


def test_what_it_says_is_added_to_the_answer() -> None:
    model, raw = corrector(), answer()
    change = torch.linspace(-0.1, 0.1, PARAMETERS)
    with torch.no_grad():
        model.change.bias.copy_(change)
    seen = torch.zeros(COUNT, MEMORIES, LANDMARKS, 2)
    better, _ = model(raw, torch.zeros(COUNT, WIDTH), seen, torch.ones(COUNT, LANDMARKS), HALF_SIZE)
    torch.testing.assert_close(better.six - raw.six, change[:144].view(24, 6).expand(COUNT, -1, -1))
    torch.testing.assert_close(better.betas - raw.betas, change[144:154].expand(COUNT, -1))
    torch.testing.assert_close(better.camera - raw.camera, change[154:].expand(COUNT, -1))


@pytest.mark.parametrize("person", range(COUNT))
def test_people_do_not_know_of_each_other(person: int) -> None:
    model, raw = corrector(), answer()
    torch.nn.init.normal_(model.change.weight, std=0.1)
    seen = torch.rand(COUNT, MEMORIES, LANDMARKS, 2)
    visible, feature = torch.rand(COUNT, LANDMARKS), torch.rand(COUNT, WIDTH)
    together, _ = model(raw, feature, seen, visible, HALF_SIZE)
    one = slice(person, person + 1)
    alone, _ = model(
        RawParameters(*(value[one] for value in raw)),
        feature[one], seen[one], visible[one], HALF_SIZE[one],
    )  # fmt: skip
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[one], b)
