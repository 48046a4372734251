"""The default estimator's network: streaming, causal, one person at a time, residual."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import BodyModel, level_index, load_body_arrays
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.models.default.network import (
    TEMPORAL_FRAMES,
    TOKEN_JOINTS,
    WINDOW,
    STDFormerKeypoints,
)

LANDMARKS = 21


def with_random_heads(model: STDFormerKeypoints) -> STDFormerKeypoints:
    """Heads start at or near zero; with random weights what is before them has an effect."""
    torch.manual_seed(1)
    refiner, encoder = model.refiner, model.window_encoder
    for head in (refiner.xyz, refiner.camera, encoder.rotations, encoder.betas, encoder.camera):
        nn.init.normal_(head.weight, std=0.02)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> STDFormerKeypoints:
    torch.manual_seed(0)
    return with_random_heads(STDFormerKeypoints(mesh_level=108))


def windows(count: int = 3, frames: int = WINDOW) -> tuple[Tensor, Tensor]:
    """Rays and visibility of people who differ and move."""
    generator = torch.Generator().manual_seed(2)
    pose = 0.3 * torch.rand(count, 1, LANDMARKS, 2, generator=generator)
    rays = pose + 0.02 * torch.randn(count, frames, LANDMARKS, 2, generator=generator)
    return rays, torch.rand(count, frames, LANDMARKS, generator=generator)


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], atol=tolerance, rtol=tolerance, msg=name)


def largest_change(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@torch.no_grad()
def test_frame_by_frame_equals_the_whole_window_at_every_step(model: STDFormerKeypoints) -> None:
    frames = WINDOW + 4
    rays, visibility = windows(frames=frames)
    encoded = [model.encode(rays[:, t], visibility[:, t]) for t in range(frames)]
    for newest in range(WINDOW - 1, frames):
        part = slice(newest - WINDOW + 1, newest + 1)
        window = {k: torch.stack([e[k] for e in encoded[part]], dim=1) for k in encoded[0]}
        streamed = model.decode(window)
        whole = model(rays[:, part], visibility[:, part])
        torch.testing.assert_close(streamed.joints, whole["pred_3d_joints"], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            streamed.vertices, whole["pred_3d_vertices_108"], atol=1e-5, rtol=0
        )
        torch.testing.assert_close(streamed.camera, whole["pred_cam"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_sd_and_td_give_the_newest_frame_as_they_would_in_the_whole_window(
    model: STDFormerKeypoints,
) -> None:
    maps = torch.randn(2, TEMPORAL_FRAMES, 64, 7, 7, generator=torch.Generator().manual_seed(0))
    whole, newest = model.disentangling(maps), model.disentangling.newest(maps)
    torch.testing.assert_close(newest, whole[:, -1], atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_reversed_window_has_another_answer(model: STDFormerKeypoints) -> None:
    rays, visibility = windows()
    answer, reverse = model(rays, visibility), model(rays.flip(1), visibility.flip(1))
    assert largest_change(answer, reverse) > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("frame", range(WINDOW))
def test_every_frame_of_the_window_counts(model: STDFormerKeypoints, frame: int) -> None:
    rays, visibility = windows()
    changed = visibility.clone()
    changed[:, frame] *= 0.5
    assert largest_change(model(rays, visibility), model(rays, changed)) > 1e-4


@torch.no_grad()
def test_a_batch_of_three_equals_three_alone(model: STDFormerKeypoints) -> None:
    rays, visibility = windows(3)
    together = model(rays, visibility)
    for i in range(3):
        alone = model(rays[i : i + 1], visibility[i : i + 1])
        assert_same({k: v[i : i + 1] for k, v in together.items()}, alone)


@torch.no_grad()
def test_nothing_of_one_person_reaches_another(model: STDFormerKeypoints) -> None:
    rays, visibility = windows(3)
    before = model(rays, visibility)
    rays[1], visibility[1] = 0.4 * torch.rand_like(rays[1]), 1 - visibility[1]
    after = model(rays, visibility)
    others = [0, 2]
    assert_same(
        {k: v[others] for k, v in before.items()}, {k: v[others] for k, v in after.items()}, 1e-6
    )
    assert (
        largest_change({k: v[1] for k, v in before.items()}, {k: v[1] for k, v in after.items()})
        > 1e-2
    )


@torch.no_grad()
def test_where_an_invisible_landmark_is_reported_does_not_matter(
    model: STDFormerKeypoints,
) -> None:
    rays, visibility = windows()
    visibility[:, 12:22, 11] = 0.0
    before = model(rays, visibility)
    rays[:, 12:22, 11] = -0.6
    assert_same(before, model(rays, visibility), 1e-6)


@torch.no_grad()
def test_an_untrained_refiner_changes_nothing() -> None:
    model = STDFormerKeypoints(mesh_level=431).eval()
    rays, visibility = windows()
    features = model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
    answer = model.decode({k: v.unflatten(0, rays.shape[:2]) for k, v in features.items()})
    vertices, joints = BodyModel(431)(answer.parameters.rotations, answer.parameters.betas)
    assert torch.equal(answer.vertices, vertices)
    assert torch.equal(answer.joints, joints)
    assert torch.equal(answer.camera, answer.parameters.camera)


@torch.no_grad()
def test_the_refiner_moves_joints_and_vertices_but_not_the_origin(
    model: STDFormerKeypoints,
) -> None:
    rays, visibility = windows()
    features = model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
    answer = model.decode({k: v.unflatten(0, rays.shape[:2]) for k, v in features.items()})
    _, first = BodyModel(108)(answer.parameters.rotations, answer.parameters.betas)
    moves = (answer.joints - first).norm(dim=-1)
    assert (moves[:, list(TOKEN_JOINTS)] > 1e-4).all()
    assert (answer.joints[:, JOINT_NAMES.index("pelvis")] == 0).all()
    assert (answer.camera[:, 0] > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("level", [431, 1723, 6890])
def test_finer_meshes_are_the_same_body(model: STDFormerKeypoints, level: int) -> None:
    fine = STDFormerKeypoints(mesh_level=level).eval()
    fine.load_state_dict(model.state_dict())
    rays, visibility = windows(1)
    coarse_answer, fine_answer = model(rays, visibility), fine(rays, visibility)
    key = {431: "coarse", 1723: "intermediate", 6890: "fine"}[level]
    vertices = fine_answer[f"pred_3d_vertices_{key}"]
    assert vertices.shape == (1, level, 3)
    data = load_body_arrays()
    place = {int(v): i for i, v in enumerate(level_index(data, level))}
    kept = [place[int(v)] for v in level_index(data, 108)]
    torch.testing.assert_close(
        vertices[:, kept], coarse_answer["pred_3d_vertices_108"], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        fine_answer["pred_3d_joints"], coarse_answer["pred_3d_joints"], atol=1e-5, rtol=0
    )


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("spatial", "temporal", "parameters"),
    [(True, True, 3296), (True, False, 2624), (False, True, 672), (False, False, 0)],
)
def test_sd_and_td_hold_the_published_number_of_parameters(
    spatial: bool, temporal: bool, parameters: int
) -> None:
    model = STDFormerKeypoints(spatial=spatial, temporal=temporal, mesh_level=108)
    assert count(model.disentangling) == parameters


@torch.no_grad()
@pytest.mark.parametrize("temporal", [True, False])
def test_only_td_lets_earlier_frames_into_the_refinement(temporal: bool) -> None:
    torch.manual_seed(0)
    model = with_random_heads(STDFormerKeypoints(temporal=temporal, mesh_level=108))
    rays, visibility = windows()
    features = model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
    window = {k: v.unflatten(0, rays.shape[:2]) for k, v in features.items()}
    answer = model.decode(window)
    maps = window["map"][:, -TEMPORAL_FRAMES:].clone()
    maps[:, :-1] = maps[:, :-1].flip(1)
    other = model.refine(answer.parameters, answer.view, maps)
    change = (answer.joints - other.joints).abs().max()
    assert change > 1e-7 if temporal else change == 0


@torch.no_grad()
def test_td_sees_the_newest_eight_frames_and_the_window_encoder_all_24(
    model: STDFormerKeypoints,
) -> None:
    assert (WINDOW, TEMPORAL_FRAMES) == (24, 8)
    rays, visibility = windows()
    features = model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
    window = {k: v.unflatten(0, rays.shape[:2]) for k, v in features.items()}
    before = model.decode(window).joints
    for frame, matters in ((0, False), (15, False), (16, True), (23, True)):
        maps = window["map"].clone()
        maps[:, frame] += 1.0
        change = (model.decode(window | {"map": maps}).joints - before).abs().max()
        assert change > 1e-7 if matters else change == 0, frame
    changed = window["rays"].clone()
    changed[:, 15] += 0.05
    assert (model.decode(window | {"rays": changed}).joints - before).abs().max() > 1e-4


@torch.no_grad()
def test_sd_changes_the_refinement() -> None:
    torch.manual_seed(0)
    with_sd = with_random_heads(STDFormerKeypoints(mesh_level=108))
    without = STDFormerKeypoints(spatial=False, mesh_level=108).eval()
    kept = {k: v for k, v in with_sd.state_dict().items() if not k.startswith("disentangling.sd")}
    without.load_state_dict(kept)
    rays, visibility = windows()
    assert largest_change(with_sd(rays, visibility), without(rays, visibility)) > 1e-6


def test_every_part_learns_from_the_answer() -> None:
    torch.manual_seed(0)
    model = with_random_heads(STDFormerKeypoints(mesh_level=108)).train()
    answer = model(*windows())
    sum(value.square().sum() for value in answer.values()).backward()
    silent = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    # the joints' confidences are not in the dict
    assert {name.rpartition(".")[0] for name in silent} <= {"window_encoder.confidence"}


@torch.no_grad()
@pytest.mark.parametrize("frames", [TEMPORAL_FRAMES, WINDOW - 1, WINDOW + 1])
def test_a_window_of_another_length_is_refused(model: STDFormerKeypoints, frames: int) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        model(*windows(frames=frames))
