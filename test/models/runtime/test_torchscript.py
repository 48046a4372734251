"""A network as TorchScript computes the same, for any number of people."""

from __future__ import annotations

import gc
import logging
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stdformer_ros.models.default.estimator import KeypointEstimator
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.runtime.torchscript import torchscript


class Turned(nn.Module):
    """Two results, one of which needs the number of people."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        matrices = self.linear(torch.eye(3)).expand(points.shape[0], -1, -1)
        return points @ matrices, points.norm(dim=-1)


class Counting(nn.Module):
    """A network that cannot be traced: a number depends on how many people there are."""

    def forward(self, points: Tensor) -> tuple[Tensor]:
        return (points * float(len(points)),)


def people(number: int) -> tuple[Tensor]:
    return (torch.randn(number, 5, 3, generator=torch.Generator().manual_seed(number)),)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_trace_holds_for_any_number_of_people(number: int) -> None:
    network = Turned()
    scripted = torchscript(network, people)
    assert scripted is not network
    for answer, wanted in zip(scripted(*people(number)), network(*people(number)), strict=True):
        torch.testing.assert_close(answer, wanted, rtol=0, atol=0)


def test_a_network_whose_trace_would_be_wrong_runs_as_it_is_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Counting()
    with caplog.at_level(logging.WARNING):
        assert torchscript(network, people) is network
    assert (
        "Counting runs without TorchScript, slower: its trace gives other results than the network"
        in caplog.text
    )


def test_networks_of_one_structure_share_a_trace_but_not_their_weights() -> None:
    one, other = Turned(), Turned()
    scripted, also_scripted = torchscript(one, people), torchscript(other, people)
    (wanted, _), (otherwise, _) = one(*people(2)), other(*people(2))
    assert not torch.allclose(wanted, otherwise)
    torch.testing.assert_close(scripted(*people(2))[0], wanted, rtol=0, atol=0)
    torch.testing.assert_close(also_scripted(*people(2))[0], otherwise, rtol=0, atol=0)


def test_weights_are_freed_with_their_network() -> None:
    """A node may be configured and cleaned up for years."""

    def weight() -> weakref.ref:
        network = Turned()
        scripted = torchscript(network, people)
        scripted(*people(2))
        return weakref.ref(network.linear.weight)

    gone = [weight() for _ in range(3)]
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


@pytest.mark.parametrize("level", [6890, 431])
def test_the_default_estimator_as_torchscript_gives_the_same_bodies(
    level: int, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    model = STDFormerKeypoints(mesh_level=6890).eval()
    estimator = KeypointEstimator(model)
    estimator.use_mesh_level(level)
    with torch.inference_mode():
        rays = 0.1 * torch.randn(4, model.window, 21, 2)
        visibility = torch.rand(4, model.window, 21)
        features = model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
        windows = {name: tensor.unflatten(0, (4, -1)) for name, tensor in features.items()}
        answer = model.decode(windows)
        bodies = estimator.decode(windows | {"metric": torch.ones(4, model.window)})
    for body, joints, vertices, turn in zip(
        bodies, answer.joints, answer.vertices, answer.view.turn, strict=True
    ):
        assert body.vertices is not None
        assert len(body.vertices) == level
        wanted = (torch.cat([joints, vertices]) @ turn).numpy()
        found = np.concatenate([body.joints, body.vertices])
        np.testing.assert_allclose(found - found[0], wanted - wanted[0], atol=1e-5)
    assert "without TorchScript" not in caplog.text
