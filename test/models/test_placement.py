"""Where a body stands: between the network's camera and the landmarks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stdformer_ros.models.placement import FARTHEST, NEAREST, place_by_landmarks, place_by_size

HALF_SIZE = torch.tensor([0.2])
TRUE = torch.tensor([[0.05, -0.1, 4.0]])
SEEN = torch.ones(1, 14)


def body_points() -> Tensor:
    """(1, 14, 3) landmarks around the body's origin."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(1, 14, 3, generator=generator) - 0.5) * torch.tensor([0.6, 1.6, 0.4])


def seen_at(place: Tensor) -> Tensor:
    there = body_points() + place[:, None]
    return there[..., :2] / there[..., 2:] / HALF_SIZE[:, None, None]


def place(seen: Tensor, prior: Tensor, visibility: Tensor = SEEN) -> Tensor:
    return place_by_landmarks(body_points(), seen, visibility, HALF_SIZE, prior)


def test_a_true_place_is_kept() -> None:
    torch.testing.assert_close(place(seen_at(TRUE), TRUE), TRUE, atol=1e-4, rtol=0)


def test_landmarks_pull_the_body_sideways_to_where_it_is_seen() -> None:
    wrong = TRUE + torch.tensor([[0.08, -0.06, 0.0]])
    error = (place(seen_at(TRUE), wrong) - TRUE).norm()
    assert error < 0.25 * (wrong - TRUE).norm()


def test_the_networks_depth_hardly_changes() -> None:
    wrong = TRUE * torch.tensor([[1.1, 1.1, 1.1]])
    depth = place(seen_at(TRUE), wrong)[0, 2].item()
    assert depth == pytest.approx(4.4, rel=0.02)
    assert depth < 4.4, "but what it changes brings it nearer to the truth"


def test_one_landmark_far_off_hardly_pulls() -> None:
    seen = seen_at(TRUE)
    seen[0, 3] += 0.8
    assert (place(seen, TRUE) - TRUE).norm() < 0.02


def test_invisible_landmarks_do_not_count() -> None:
    visibility = SEEN.clone()
    visibility[0, :5] = 0.0
    seen = seen_at(TRUE)
    elsewhere = seen.clone()
    elsewhere[0, :5] = 9.0
    torch.testing.assert_close(place(seen, TRUE, visibility), place(elsewhere, TRUE, visibility))


def test_without_visible_landmarks_the_networks_place_is_kept() -> None:
    torch.testing.assert_close(
        place(seen_at(TRUE) + 0.5, TRUE, torch.zeros_like(SEEN)), TRUE, atol=1e-5, rtol=0
    )


def test_the_place_of_one_person_does_not_depend_on_others() -> None:
    points = body_points().repeat(3, 1, 1)
    seen = torch.cat([seen_at(TRUE) + 0.1 * i for i in range(3)])
    visibility = torch.cat([SEEN * (1.0 - 0.3 * i) for i in range(3)])
    priors = TRUE * torch.tensor([[1.0], [0.8], [1.3]])
    sizes = HALF_SIZE.repeat(3)
    together = place_by_landmarks(points, seen, visibility, sizes, priors)
    for i in range(3):
        row = slice(i, i + 1)
        alone = place_by_landmarks(points[row], seen[row], visibility[row], sizes[row], priors[row])
        torch.testing.assert_close(together[row], alone)


# --- without a camera of the network's own


def rays_from(place: Tensor) -> Tensor:
    there = body_points() + place[:, None]
    return there[..., :2] / there[..., 2:]


@pytest.mark.parametrize("at", [(0.05, -0.1, 4.0), (1.5, 0.3, 3.0), (-3.0, 1.0, 12.0)])
def test_a_body_is_found_by_the_size_that_it_shows(at: tuple[float, float, float]) -> None:
    true = torch.tensor([at])
    found = place_by_size(body_points(), rays_from(true), SEEN)
    torch.testing.assert_close(found, true, atol=1e-3 * at[2], rtol=0)


def test_a_body_half_as_large_is_half_as_far() -> None:
    rays = rays_from(TRUE)
    half = place_by_size(0.5 * body_points(), rays, SEEN)
    torch.testing.assert_close(half, 0.5 * TRUE, atol=2e-3, rtol=0)


def test_one_keypoint_far_off_hardly_pulls() -> None:
    rays = rays_from(TRUE)
    rays[0, 3] += 0.2
    assert (place_by_size(body_points(), rays, SEEN) - TRUE).norm() < 0.2


def test_with_no_visible_keypoint_the_guessed_places_count() -> None:
    found = place_by_size(body_points(), rays_from(TRUE), torch.zeros_like(SEEN))
    torch.testing.assert_close(found, TRUE, atol=4e-3, rtol=0)


def test_keypoints_in_one_place_and_none_sensible_stay_finite() -> None:
    for rays in (torch.full((1, 14, 2), 0.3), torch.randn(1, 14, 2) * 1e3):
        found = place_by_size(body_points(), rays, SEEN)
        assert found.isfinite().all()
        assert NEAREST - 1e-6 <= found[0, 2] <= FARTHEST + 1e-3
    nothing = place_by_size(torch.zeros(1, 14, 3), rays_from(TRUE), SEEN)
    assert nothing.isfinite().all()
