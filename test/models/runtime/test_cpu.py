"""One thread, and linear layers whose weights are kept in half precision."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models.default.window_encoder import WindowEncoder
from stdformer_ros.models.registry import create_estimator, create_model
from stdformer_ros.models.runtime import cpu
from stdformer_ros.models.runtime.cpu import Fp16Linear, one_thread, use_fp16_linear

kernels = pytest.mark.skipif(
    use_fp16_linear(nn.Sequential(nn.Linear(1, 1).half().float()))[0] == 0,
    reason="needs FBGEMM's kernels (x86)",
)


def test_one_thread_gives_the_other_threads_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@kernels
@given(
    st.integers(1, 40),
    st.integers(1, 70),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.booleans(),
)
def test_weights_of_float16_give_the_same_answer(inputs, outputs, batch, bias):
    torch.manual_seed(inputs)
    linear = nn.Linear(inputs, outputs, bias=bias).half().float()
    x = torch.randn(*batch, inputs)
    with torch.inference_mode():
        assert torch.allclose(Fp16Linear(linear)(x), linear(x), atol=1e-5)


@kernels
def test_other_weights_are_rounded_and_huge_ones_stay_finite():
    linear = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0 + 2**-12, 1e6]]))
    half = Fp16Linear(linear)
    with torch.inference_mode():
        assert half(torch.tensor([[1.0, 0.0]])).item() == 1.0
        assert half(torch.tensor([[0.0, 1.0]])).item() == 65504.0


@kernels
def test_a_row_does_not_depend_on_those_beside_it():
    torch.manual_seed(0)
    half = Fp16Linear(nn.Linear(256, 64))
    x = torch.randn(16, 256)
    with torch.inference_mode():
        together = half(x)
        alone = torch.cat([half(row[None]) for row in x])
    assert torch.allclose(alone, together, atol=1e-6)


@kernels
def test_the_window_encoder_gives_the_same_parameters():
    torch.manual_seed(0)
    encoder = WindowEncoder(24, 21).half().float().eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.02)
        parameter.data = parameter.data.half().float()
    points, visibility, size = torch.rand(3, 24, 21, 2), torch.rand(3, 24, 21), torch.rand(3)
    with torch.inference_mode():
        before = encoder(points, visibility, size)
        replaced, kept = use_fp16_linear(encoder)
        after = encoder(points, visibility, size)
    assert (replaced > 0, kept) == (True, 0)
    assert not any(type(module) is nn.Linear for module in encoder.modules())
    for a, b in zip(before, after, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_without_the_kernels_the_layers_stay(monkeypatch):
    def missing(linear):
        raise RuntimeError("Didn't find engine for operation quantized::linear_prepack_fp16")

    monkeypatch.setattr(cpu, "Fp16Linear", missing)
    network = nn.Sequential(nn.Linear(2, 3))
    assert use_fp16_linear(network) == (0, 1)
    assert type(network[0]) is nn.Linear


@kernels
def test_layers_that_would_be_rounded_stay_exact():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8).half().float(), nn.Linear(8, 8))
    exact = network[1]
    assert use_fp16_linear(network) == (1, 1)
    assert network[1] is exact


def test_a_float32_checkpoint_of_a_user_is_answered_exactly_and_said(tmp_path, caplog):
    torch.manual_seed(0)
    network = create_model("stdformer_s_keypoints")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 1e-4 * torch.rand(()))
    network.eval()
    path = tmp_path / "mine.pth"
    torch.save(network.state_dict(), path)
    rays, visibility = torch.rand(2, 24, 21, 2), torch.ones(2, 24, 21)
    loaded = create_estimator(EstimatorSettings("stdformer_s_keypoints", checkpoint=str(path)))
    assert "keep float32" in caplog.text
    answers = []
    with torch.inference_mode():
        for model in (network, loaded.model):
            features = model.encode(rays.flatten(0, 1), visibility.flatten(0, 1))
            maps = features["map"].unflatten(0, (2, 24))
            answers.append(model.decode({"rays": rays, "visibility": visibility, "map": maps}))
    assert torch.equal(answers[0].joints, answers[1].joints)


@kernels
def test_the_default_estimator_has_no_other():
    kinds = {
        type(m)
        for m in create_estimator(EstimatorSettings("stdformer_s_keypoints")).model.modules()
    }
    assert Fp16Linear in kinds
    assert nn.Linear not in kinds
