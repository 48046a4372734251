"""The mesh levels 6890, 1723, 431 and 108 of the embedded body, and upsampling between them."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from helpers.poses import random_betas, random_pose
from stdformer_ros.body.body_model import LEVELS, BodyModel, level_index, load_body_arrays
from stdformer_ros.body.mesh_levels import Upsample, upsampling_matrix

STEPS = [(coarse, fine) for fine, coarse in combinations(LEVELS, 2)]


@pytest.mark.parametrize(("coarse", "fine"), STEPS)
def test_coarse_vertices_are_a_subset_of_the_fine_ones(coarse: int, fine: int) -> None:
    data = load_body_arrays()
    assert set(level_index(data, coarse)) <= set(level_index(data, fine))
    assert len(set(level_index(data, coarse))) == coarse


@pytest.mark.parametrize("level", LEVELS[1:])
def test_posed_coarse_vertices_equal_the_fine_ones(level: int) -> None:
    rotations, betas = random_pose(0, 2), random_betas(0, 2)
    fine, fine_joints = BodyModel()(rotations, betas)
    coarse, joints = BodyModel(level)(rotations, betas)
    torch.testing.assert_close(coarse, fine[:, level_index(load_body_arrays(), level)])
    torch.testing.assert_close(joints, fine_joints)


@pytest.mark.parametrize("level", LEVELS)
def test_every_vertex_is_in_a_face_and_the_mesh_is_closed(level: int) -> None:
    faces = BodyModel(level).faces
    assert set(faces.ravel()) == set(range(level))
    edges = np.concatenate([faces[:, [i, (i + 1) % 3]] for i in range(3)])
    directed = {tuple(e) for e in edges.tolist()}
    assert len(directed) == len(edges), "an edge is used twice in the same direction"
    assert all((b, a) in directed for a, b in directed), "an edge has one face only"


@pytest.mark.parametrize(("coarse", "fine"), STEPS)
def test_upsampling_does_not_change_coarse_vertices(coarse: int, fine: int) -> None:
    data = load_body_arrays()
    values = torch.randn(2, coarse, 3, generator=torch.Generator().manual_seed(0))
    place = {vertex: i for i, vertex in enumerate(level_index(data, fine))}
    kept = [place[vertex] for vertex in level_index(data, coarse)]
    torch.testing.assert_close(Upsample(coarse, fine)(values)[:, kept], values)


@pytest.mark.parametrize(("coarse", "fine"), STEPS)
def test_rows_of_the_upsampling_matrix_are_weighted_means(coarse: int, fine: int) -> None:
    matrix = torch.from_numpy(upsampling_matrix(coarse, fine))
    assert matrix.shape == (fine, coarse)
    assert matrix.min() >= 0
    torch.testing.assert_close(matrix.sum(1), torch.ones(fine), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("coarse", "fine", "millimetres"), [(1723, 6890, 1.2), (431, 6890, 4.0), (108, 6890, 16.0)]
)
def test_upsampling_the_template_gives_nearly_the_fine_template(
    coarse: int, fine: int, millimetres: float
) -> None:
    """The error is how far the fine skin bulges over the coarse triangles."""
    data = load_body_arrays()
    template = torch.from_numpy(data["v_template"])
    coarse_template = template[torch.from_numpy(level_index(data, coarse))]
    error = (Upsample(coarse, fine)(coarse_template[None])[0] - template).norm(dim=-1)
    assert 1e3 * error.mean() < millimetres
    assert 1e3 * error.max() < 8 * millimetres


def test_upsampling_a_batch_equals_upsampling_each_alone() -> None:
    values = torch.randn(3, 108, 3, generator=torch.Generator().manual_seed(0))
    upsample = Upsample(108, 6890)
    matrix = torch.from_numpy(upsampling_matrix(108, 6890))
    torch.testing.assert_close(upsample(values), matrix @ values, atol=1e-6, rtol=0)
    torch.testing.assert_close(upsample(values)[1:2], upsample(values[1:2]), atol=0, rtol=0)


def test_gradients_pass_through_upsampling() -> None:
    values = torch.randn(2, 108, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    Upsample(108, 431)(values).sum().backward()
    wanted = torch.from_numpy(upsampling_matrix(108, 431)).sum(0)[:, None].expand(2, 108, 3)
    torch.testing.assert_close(values.grad, wanted, atol=1e-4, rtol=0)


def test_upsampling_over_several_levels_equals_the_single_steps() -> None:
    values = torch.randn(1, 108, 3, generator=torch.Generator().manual_seed(0))
    stepwise = values
    for fine, coarse in reversed(list(pairwise(LEVELS))):
        stepwise = Upsample(coarse, fine)(stepwise)
    torch.testing.assert_close(Upsample(108, 6890)(values), stepwise, atol=1e-5, rtol=0)


def test_upsampling_to_the_same_level_changes_nothing() -> None:
    values = torch.randn(1, 431, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Upsample(431, 431)(values), values)


@pytest.mark.parametrize(("coarse", "fine"), [(431, 108), (100, 431), (431, 7000)])
def test_impossible_levels_are_refused(coarse: int, fine: int) -> None:
    with pytest.raises(ValueError, match=f"cannot upsample {coarse} to {fine}"):
        Upsample(coarse, fine)
