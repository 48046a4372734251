"""The published networks made fast: by OpenVINO on a CPU, in half precision on a GPU."""

from __future__ import annotations

import copy
import logging

import numpy as np
import openvino as ov
import pytest
import torch

from helpers.image_stream import CAMERA, person, wavy_image
from helpers.tiny_networks import tiny_mesh
from stdformer_ros.models import create_model
from stdformer_ros.models.published.acceleration import (
    CudaSTDFormer,
    OpenVinoSTDFormer,
    accelerate,
    fold_batch_norm,
)
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.models.registry import BACKBONES
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Frame

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = [
    torch.device("cpu"),
    pytest.param(torch.device("cuda"), marks=[pytest.mark.cuda, needs_cuda]),
]


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


# --- both: batch normalisations are folded


@pytest.mark.parametrize("backbone", ["resnet50", "hrnet_w32"])
def test_folding_leaves_no_normalisation_and_the_same_answer(backbone):
    torch.manual_seed(0)
    network = BACKBONES[backbone]()
    images = torch.randn(2, 3, 224, 224)
    network.train()
    with torch.no_grad():
        network.features(network.maps(images))  # running means and variances that do something
    network.eval()
    plain = copy.deepcopy(network)
    fold_batch_norm(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    with torch.inference_mode():
        a, b = (n.features(n.maps(images)) for n in (plain, network))
    torch.testing.assert_close(b, a, atol=1e-4 * float(a.abs().max()), rtol=0)


def test_a_network_in_training_is_not_folded():
    with pytest.raises(ValueError, match="evaluation mode"):
        fold_batch_norm(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)))


# --- on a CPU: OpenVINO


@pytest.fixture(scope="module")
def ours(network: STDFormer) -> OpenVinoSTDFormer:
    found = accelerate(copy.deepcopy(network), "stdformer_S")
    assert isinstance(found, OpenVinoSTDFormer)
    return found


@pytest.mark.parametrize("people", [1, 3])
def test_its_maps_are_those_of_the_network(
    network: STDFormer, ours: OpenVinoSTDFormer, people: int
) -> None:
    images = torch.randn(people, 3, 224, 224)
    with torch.inference_mode():
        expected, found = network.encode(images), ours.encode(images)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        error = (found[name] - value).abs().max() / value.abs().max()
        assert error < 1e-5, name


def test_maps_that_are_kept_are_not_overwritten_by_the_next_frame(ours: OpenVinoSTDFormer) -> None:
    first = ours.encode(torch.randn(1, 3, 224, 224))
    kept = {name: value.clone() for name, value in first.items()}
    ours.encode(torch.randn(1, 3, 224, 224))
    for name, value in first.items():
        assert (value == kept[name]).all()


def test_frame_by_frame_it_answers_as_the_network_does_for_the_window(
    network: STDFormer, ours: OpenVinoSTDFormer
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
        found = accelerate(copy.deepcopy(network), "stdformer_S")
        assert isinstance(found, STDFormer)
        for name, value in network.encode(images).items():
            np.testing.assert_allclose(found.encode(images)[name], value, rtol=1e-3, atol=1e-3)
    assert "stdformer_S runs in torch, slower" in caplog.text
    assert "no such operation" in caplog.text
    assert "and more" not in caplog.text


# --- on a GPU, as far as a CPU can do the same: half precision, full batches, crops on it


def whole(network, images):
    features = network.encode(images.flatten(0, 1))
    windows = {k: v.unflatten(0, images.shape[:2]) for k, v in features.items()}
    return network.decode(windows)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_backbone_in_half_precision_moves_no_vertex_by_a_millimetre(network, device):
    images = torch.randn(3, 2, 3, 224, 224)
    with torch.inference_mode():
        exact = whole(network, images)
        accelerated = CudaSTDFormer(copy.deepcopy(network).to(device))
        rounded = whole(accelerated, images.to(device))
    assert rounded.keys() == exact.keys()
    for name in exact:
        assert rounded[name].dtype == torch.float32
        assert float((rounded[name].cpu() - exact[name]).abs().max()) <= 1e-3, name
    assert not torch.equal(rounded["pred_cam"].cpu(), exact["pred_cam"]), "nothing was rounded"


def test_features_are_kept_in_half_precision(network):
    accelerated = CudaSTDFormer(copy.deepcopy(network))
    with torch.inference_mode():
        features = accelerated.encode(torch.randn(1, 3, 224, 224))
    assert {f.dtype for f in features.values()} == {torch.float16}
    assert accelerated.network.xyz_regressor.weight.dtype == torch.float32


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_accelerated_estimator_gives_the_same_bodies(network, device):
    people = [person((100, 100, 220, 400), 1), person((300, 50, 420, 380), 2)]
    image = wavy_image(480, 640)
    frames = [Frame(np.roll(image, 9 * i, axis=1), i / 30, CAMERA) for i in range(3)]
    plain = ImageEstimator("stdformer_S", network, tiny_mesh())
    accelerated = CudaSTDFormer(copy.deepcopy(network).to(device))
    fast = ImageEstimator("stdformer_S", accelerated, tiny_mesh(), device_crops=True)
    answers = []
    for estimator in (plain, fast):
        pipeline = Pipeline(lambda frame: people, estimator)
        answers.append(list(pipeline.follow(frames))[-1].humans)
    for a, b in zip(*answers, strict=True):
        # About the pelvis, which moves by as much again: depth goes with 1 / scale, and these
        # weights leave scale near 0.
        a_mesh, b_mesh = (h.body.vertices - h.body.joints[:1] for h in (a, b))
        assert np.abs(a_mesh - b_mesh).max() <= 2e-3
