"""The way of a GPU, as far as a CPU can go it: half a backbone, full batches, crops on it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.image_stream import CAMERA, person
from helpers.tiny_networks import tiny_mesh
from stdformer_ros.models.published.crops import Square, crop
from stdformer_ros.models.published.image_estimator import ImageEstimator
from stdformer_ros.models.registry import BACKBONES, create_model
from stdformer_ros.models.runtime.cuda_graphs import BATCHES, Graphed
from stdformer_ros.models.runtime.cuda_stdformer import AcceleratedSTDFormer
from stdformer_ros.models.runtime.device_crops import cut, upload
from stdformer_ros.models.runtime.folding import folded
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Frame

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=[pytest.mark.cuda, needs_cuda])]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    options = {"backbone": "resnet50", "window": 2, "smpl_regressor": False}
    return create_model("stdformer_S", mesh_sampling=tiny_mesh(), **options).eval()


def smooth_image(height: int, width: int) -> np.ndarray:
    """A picture with slopes, so that a misplaced crop shows."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / 37 + k) * np.cos(y / 29 - k) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@settings(max_examples=40)
@given(
    x=st.floats(-50, 350),
    y=st.floats(-50, 250),
    size=st.floats(16, 700),
)
def test_crops_on_the_device_are_those_of_opencv(device, x, y, size):
    image = smooth_image(200, 300)
    square = Square(x, y, size)
    ours = cut(upload(image, device), [square], 64).cpu().numpy()[0].transpose(1, 2, 0)
    opencv = crop(image, square, 64).astype(np.float32)
    # OpenCV rounds places to 1/32 pixel and values to whole numbers; at black borders steps of
    # 255 make the former visible.
    assert np.abs(ours - opencv).mean() < 1.0
    assert np.quantile(np.abs(ours - opencv), 0.9) < 2.0


def test_everybody_is_cut_in_one_go_each_from_their_place():
    image = upload(smooth_image(200, 300), CPU)
    squares = [Square(50, 60, 40), Square(200, 100, 150), Square(150, 100, 500)]
    together = cut(image, squares, 32)
    for i, square in enumerate(squares):
        torch.testing.assert_close(together[i : i + 1], cut(image, [square], 32))


@pytest.mark.parametrize("people", [1, 2, 3, 7, 32, 33])
def test_batches_are_padded_to_few_sizes_and_answered_in_full(people):
    seen = []

    def double(inputs):
        seen.append(len(inputs["x"]))
        return {"y": 2 * inputs["x"]}

    x = torch.arange(people)
    assert (Graphed(double)({"x": x})["y"] == 2 * x).all()
    assert seen == [next((size for size in BATCHES if size >= people), people)]


def whole(network, images):
    features = network.encode(images.flatten(0, 1))
    windows = {k: v.unflatten(0, images.shape[:2]) for k, v in features.items()}
    return network.decode(windows)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_half_a_backbone_moves_no_vertex_by_a_millimetre(network, device):
    images = torch.randn(3, 2, 3, 224, 224)
    with torch.inference_mode():
        exact = whole(network, images)
        accelerated = AcceleratedSTDFormer(copy.deepcopy(network).to(device))
        rounded = whole(accelerated, images.to(device))
    assert rounded.keys() == exact.keys()
    for name in exact:
        assert rounded[name].dtype == torch.float32
        assert float((rounded[name].cpu() - exact[name]).abs().max()) <= 1e-3, name
    assert not torch.equal(rounded["pred_cam"].cpu(), exact["pred_cam"]), "nothing was rounded"


def test_windows_are_kept_in_half_precision(network):
    accelerated = AcceleratedSTDFormer(copy.deepcopy(network))
    with torch.inference_mode():
        features = accelerated.encode(torch.randn(1, 3, 224, 224))
    assert {f.dtype for f in features.values()} == {torch.float16}
    assert accelerated.network.xyz_regressor.weight.dtype == torch.float32


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_estimator_answers_the_same_the_fast_way(network, device):
    people = [person((100, 100, 220, 400), 1), person((300, 50, 420, 380), 2)]
    image = smooth_image(480, 640)
    frames = [Frame(np.roll(image, 9 * i, axis=1), i / 30, CAMERA) for i in range(3)]
    plain = ImageEstimator("stdformer_S", network, tiny_mesh())
    accelerated = AcceleratedSTDFormer(copy.deepcopy(network).to(device))
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


@pytest.mark.cuda
@needs_cuda
def test_a_graph_answers_anew_each_time_and_leaves_earlier_answers_alone():
    graphed = Graphed(lambda inputs: {"y": inputs["x"].square()})
    with torch.inference_mode():
        answers = [graphed({"x": torch.full((3,), float(i), device="cuda")})["y"] for i in range(4)]
    assert [a.tolist() for a in answers] == [[float(i * i)] * 3 for i in range(4)]


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
    folded(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    with torch.inference_mode():
        a, b = (n.features(n.maps(images)) for n in (plain, network))
    torch.testing.assert_close(b, a, atol=1e-4 * float(a.abs().max()), rtol=0)


def test_a_network_in_training_is_not_folded():
    with pytest.raises(ValueError, match="evaluation mode"):
        folded(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)))
