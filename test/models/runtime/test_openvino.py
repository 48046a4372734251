"""The published networks on a CPU: OpenVINO's backbone says what torch's says."""

from __future__ import annotations

import copy
import logging

import numpy as np
import openvino as ov
import pytest
import torch

from helpers.tiny_networks import tiny_mesh
from stdformer_ros.models import create_model
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.models.runtime.openvino_backbone import CompiledSTDFormer, compiled


@pytest.fixture(scope="module")
def network() -> STDFormer:
    torch.manual_seed(0)
    model = create_model(
        "stdformer_S",
        backbone="resnet50",
        window=2,
        mesh_sampling=tiny_mesh(),
        smpl_regressor=False,
    )
    assert isinstance(model, STDFormer)
    return model.eval()


@pytest.fixture(scope="module")
def ours(network: STDFormer) -> CompiledSTDFormer:
    found = compiled(copy.deepcopy(network), "stdformer_S")
    assert isinstance(found, CompiledSTDFormer)
    return found


@pytest.mark.parametrize("people", [1, 3])
def test_its_maps_are_those_of_the_network(
    network: STDFormer, ours: CompiledSTDFormer, people: int
) -> None:
    images = torch.randn(people, 3, 224, 224)
    with torch.inference_mode():
        expected, found = network.encode(images), ours.encode(images)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        error = (found[name] - value).abs().max() / value.abs().max()
        assert error < 1e-5, name


def test_maps_that_are_kept_are_not_overwritten_by_the_next_frame(ours: CompiledSTDFormer) -> None:
    first = ours.encode(torch.randn(1, 3, 224, 224))
    kept = {name: value.clone() for name, value in first.items()}
    ours.encode(torch.randn(1, 3, 224, 224))
    for name, value in first.items():
        assert (value == kept[name]).all()


def test_frame_by_frame_it_answers_as_the_network_does_for_the_window(
    network: STDFormer, ours: CompiledSTDFormer
) -> None:
    images = torch.randn(1, 2, 3, 224, 224)
    with torch.inference_mode():
        expected = network(images)
        frames = [ours.encode(images[:, i]) for i in range(2)]
        windows = {name: torch.stack([f[name] for f in frames], dim=1) for name in frames[0]}
        found = ours.decode(windows)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value[:, -1], atol=1e-4)


def test_what_openvino_cannot_compile_runs_by_torch(
    network: STDFormer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr(ov, "convert_model", refuse)
    images = torch.randn(1, 3, 224, 224)
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        found = compiled(copy.deepcopy(network), "stdformer_S")
        assert isinstance(found, STDFormer)
        for name, value in network.encode(images).items():
            np.testing.assert_allclose(found.encode(images)[name], value, rtol=1e-3, atol=1e-3)
    assert "stdformer_S runs by torch, slower" in caplog.text
    assert "no such operation" in caplog.text
    assert "and more" not in caplog.text
