"""SGRE: the joints it is given, the joints it finds, and the tree of its rotations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from stdformer_ros.models import create_model
from stdformer_ros.models.published.sgre import (
    GRAPH_NAMES,
    JOINT_NAMES,
    PARENTS,
    SGRE,
    camera_translation,
    gaussian_maps,
    graph_adjacency,
    relative_rotations,
)


@pytest.fixture(scope="module")
def network() -> SGRE:
    torch.manual_seed(0)
    network = create_model("sgre_resnet50")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    assert isinstance(network, SGRE)
    return network.eval()


def inputs(people: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(people, 3, 256, 256, generator=generator)
    joints = 64 * torch.rand(people, 30, 2, generator=generator)
    valid = torch.ones(people, 30)
    valid[:, 7] = 0
    return images, joints, valid


def test_a_given_joint_is_a_gaussian_of_sigma_two_and_a_half() -> None:
    joints = torch.tensor([[[10.0, 20.0]]])
    bell = gaussian_maps(joints)[0, 0]
    assert bell.shape == (64, 64)
    assert bell[20, 10] == 1.0  # row y, column x
    assert bell[20, 15].item() == pytest.approx(math.exp(-0.5 * (5 / 2.5) ** 2))
    assert bell[24, 13].item() == pytest.approx(math.exp(-0.5 * (25 / 2.5**2)))


def test_a_joint_that_is_not_valid_has_no_influence(network: SGRE) -> None:
    images, joints, valid = inputs()
    elsewhere = joints.clone()
    elsewhere[:, 7] = 1.0
    with torch.inference_mode():
        a = network(images, joints, valid)
        b = network(images, elsewhere, valid)
        c = network(images, elsewhere, torch.ones_like(valid))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert (a["global_6d"] - c["global_6d"]).abs().max() > 0


def test_a_peaked_volume_gives_its_place(network: SGRE) -> None:
    """A volume that is one cell: the joint lies there and its score is one."""
    net = network.position_net
    volume = torch.full((30, 8, 8, 8), -100.0)
    volume[:, 2, 5, 3] = 100.0  # z, y, x
    features = torch.randn(1, 2048, 8, 8)
    original = net.conv
    net.conv = nn.Sequential(_Constant(volume.flatten(0, 1)[None]))
    try:
        joints, scores = net(features)
    finally:
        net.conv = original
    torch.testing.assert_close(joints, torch.tensor([3.0, 5.0, 2.0]).expand(1, 30, 3))
    torch.testing.assert_close(scores, torch.ones(1, 30, 1))


class _Constant(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, _: Tensor) -> Tensor:
        return self.value


def test_relative_rotations_compose_to_the_global_ones() -> None:
    sixes = torch.randn(2, 24, 6, generator=torch.Generator().manual_seed(0))
    relative = relative_rotations(sixes)
    composed = [relative[:, 0]]
    for joint in range(1, 24):
        composed.append(composed[PARENTS[joint]] @ relative[:, joint])
    for joint, rotation in enumerate(composed):
        columns = sixes[:, joint].view(-1, 3, 2)
        first = columns[:, :, 0] / columns[:, :, 0].norm(dim=1, keepdim=True)
        torch.testing.assert_close(rotation[:, :, 0], first, rtol=0, atol=1e-5)
        # The second axis is what is left of the second column beside the first.
        side = columns[:, :, 1] - (first * columns[:, :, 1]).sum(1, keepdim=True) * first
        side = side / side.norm(dim=1, keepdim=True)
        torch.testing.assert_close(rotation[:, :, 1], side, rtol=0, atol=1e-5)
        assert torch.linalg.det(rotation).sub(1).abs().max() < 1e-5


def test_a_child_starts_from_its_parents_rotation(network: SGRE) -> None:
    """With branches that correct nothing, every joint turns like the pelvis."""
    net = network.rotation_net
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    try:
        for branch in net.pose_branch:
            nn.init.zeros_(branch[-1].weight)
            nn.init.zeros_(branch[-1].bias)
        with torch.inference_mode():
            sixes, _, _ = net(
                torch.randn(2, 2048, 8, 8), 4 * torch.rand(2, 30, 3), torch.rand(2, 30, 1)
            )
    finally:
        net.load_state_dict(kept)
    assert torch.equal(sixes, sixes[:, :1].expand(-1, 24, -1))


def test_the_graph_joins_bones_and_sides() -> None:
    adjacency = graph_adjacency()
    index = {name: i for i, name in enumerate(GRAPH_NAMES)}
    degree = {"pelvis": 4, "left_hip": 4, "left_wrist": 3, "neck": 5, "head_top": 2}
    for a, b in (("pelvis", "left_hip"), ("neck", "head_top"), ("left_hip", "left_hip")):
        wanted = 1 / math.sqrt(degree[a] * degree[b])
        assert adjacency[index[a], index[b]].item() == pytest.approx(wanted)
    assert adjacency[index["left_wrist"], index["right_wrist"]].item() == pytest.approx(1 / 3)
    assert adjacency[index["left_wrist"], index["neck"]] == 0
    assert torch.equal(adjacency, adjacency.T)


def test_joints_are_smpls_and_six_of_the_head() -> None:
    assert len(JOINT_NAMES) == 30
    assert JOINT_NAMES[24:] == (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "head_top",
    )  # fmt: skip


def test_streaming_equals_the_whole(network: SGRE) -> None:
    """A window of one frame and person: what is kept of it decides alone."""
    images, joints, valid = inputs()
    with torch.inference_mode():
        whole = network(images, joints, valid)
        for i in range(2):
            row = slice(i, i + 1)
            features = network.encode(images[row], joints[row], valid[row])
            streamed = network.decode({k: v[:, None] for k, v in features.items()})
            for key, value in streamed.items():
                torch.testing.assert_close(value, whole[key][row], rtol=0, atol=1e-5)


def test_the_camera_lies_between_zero_and_where_two_and_a_half_metres_fill_the_crop() -> None:
    translation = camera_translation(torch.tensor([[0.1, -0.2, 0.0], [0.0, 0.0, 50.0]]))
    depth = 5000 * 2.5 / 256
    wanted = torch.tensor([[0.1, -0.2, depth / 2], [0.0, 0.0, depth]])
    torch.testing.assert_close(translation, wanted)


def test_inputs_of_other_shapes_are_refused(network: SGRE) -> None:
    images, joints, valid = inputs()
    with pytest.raises(ValueError, match="images, joints and validity must be"):
        network(images, joints[:, :24], valid)
