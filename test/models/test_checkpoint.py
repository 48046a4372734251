"""load_checkpoint: what fits fills the network, what does not changes nothing and says why."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from stdformer_ros.models import CheckpointError, create_model, load_checkpoint
from stdformer_ros.models.checkpoint import WRAPPERS, recognise
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.lifting.poseformer import PoseFormer
from stdformer_ros.models.lifting.posenets import (
    LSTMPoseNet,
    SimplePoseNet,
    SimpleTransformerPoseNet,
)
from stdformer_ros.models.published.resnet import ResNet50
from stdformer_ros.models.published.sgre import SGRE
from stdformer_ros.models.published.stdformer import STDFormer

State = dict[str, Tensor]

ONE = torch.ones(1)


def network() -> SimplePoseNet:
    torch.manual_seed(1)
    return SimplePoseNet(3)


def trained() -> State:
    torch.manual_seed(2)
    return SimplePoseNet(3).state_dict()


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_state_dict_fills_the_network() -> None:
    model = network()
    report = load_checkpoint(model, trained())
    assert same(model.state_dict(), trained())
    assert set(report.matched) == set(trained())
    assert (report.renamed, report.missing, report.unexpected) == ({}, (), ())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"network": state, "epoch": 3, "optimizer": {"state": {}}},
        lambda state: {"model_pos": state, "lr": 1e-4},
        lambda state: {"model": state},
        lambda state: {"state_dict": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{k}": v for k, v in state.items()},
        lambda state: {"network": {f"module.{k}": v for k, v in state.items()}},
    ],
)
def test_wrappers_of_training_code_are_taken_off(wrap: Callable[[State], Any]) -> None:
    model = network()
    load_checkpoint(model, wrap(trained()))
    assert same(model.state_dict(), trained())


def test_files_of_both_formats_load(tmp_path: Path) -> None:
    torch.save({"model": trained()}, tmp_path / "new.pth")
    torch.save(trained(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(trained(), tmp_path / "a.safetensors")
    for name in ("new.pth", "old.bin", "a.safetensors"):
        model = network()
        load_checkpoint(model, tmp_path / name)
        assert same(model.state_dict(), trained()), name


def test_training_state_beside_the_weights_is_ignored(tmp_path: Path) -> None:
    """PoseFormer's files hold a random state, others the settings and numpy numbers."""
    content = {
        "epoch": 3,
        "lr": np.float64(4e-5),
        "random_state": np.random.RandomState(0),
        "args": argparse.Namespace(frames=np.arange(3)),
        "model_pos": trained(),
    }
    torch.save(content, tmp_path / "best_epoch.bin")
    model = network()
    load_checkpoint(model, tmp_path / "best_epoch.bin")
    assert same(model.state_dict(), trained())


def test_half_precision_is_widened() -> None:
    model = network()
    load_checkpoint(model, {k: v.half() for k, v in trained().items()})
    assert model.fc1.weight.dtype == torch.float32
    torch.testing.assert_close(model.fc1.weight, trained()["fc1.weight"].half().float())


def test_what_is_computed_may_be_missing() -> None:
    torch.manual_seed(0)
    transformer = SimpleTransformerPoseNet(3)
    state = transformer.state_dict()
    positions = state.pop("pos_encoder.permanent_pe")
    report = load_checkpoint(transformer, state)
    assert report.missing == ("pos_encoder.permanent_pe",)
    assert torch.equal(transformer.pos_encoder.permanent_pe, positions)


def test_unexpected_entries_are_reported_and_not_used(caplog: pytest.LogCaptureFixture) -> None:
    model = network()
    with caplog.at_level(logging.WARNING):
        report = load_checkpoint(model, {**trained(), "human_model.faces": torch.zeros(3)})
    assert report.unexpected == ("human_model.faces",)
    assert "1 entries unexpected and not used: human_model.faces" in caplog.text


class Small(nn.Module):
    """A network with SD and TD, as small as can be."""

    def __init__(self, spatial: bool = True, temporal: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.disentangling = SpatioTemporalDisentangling(spatial=spatial, temporal=temporal)


def with_unknown_names(state: State) -> State:
    """SD and TD as some other code might have called them."""
    parts = {"gn": "norm", "conv1x1": "pointwise", "conv3x3": "local"}
    renamed = {}
    for name, value in state.items():
        for ours, theirs in (("disentangling.sd.attention", "backbone.ema_s"),
                             ("disentangling.td.attention", "backbone.ema_t")):  # fmt: skip
            if name.startswith(ours):
                layer, kind = name.removeprefix(f"{ours}.").split(".")
                name = f"{theirs}.{parts[layer]}.{kind}"
        renamed[name] = value
    return renamed


def test_sd_and_td_of_unknown_names_are_matched_by_shape(
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.manual_seed(2)
    source = Small().state_dict()
    torch.manual_seed(1)
    model = Small()
    with caplog.at_level(logging.INFO):
        report = load_checkpoint(model, with_unknown_names(source))
    assert same(model.state_dict(), source)
    assert len(report.renamed) == 12
    assert report.renamed["backbone.ema_t.local.bias"] == "disentangling.td.attention.conv3x3.bias"
    assert "SD and TD matched by shape: " in caplog.text
    assert "backbone.ema_s.norm.weight -> disentangling.sd.attention.gn.weight" in caplog.text


def test_the_whole_stdformer_loads_with_unknown_names_of_sd_and_td() -> None:
    torch.manual_seed(2)
    source = create_model("stdformer_S", backbone="resnet50").state_dict()
    torch.manual_seed(1)
    model = create_model("stdformer_S", backbone="resnet50")
    foreign = {f"module.{k}": v for k, v in with_unknown_names(source).items()}
    report = load_checkpoint(model, {"state_dict": foreign})
    assert same(model.state_dict(), source)
    assert (len(report.renamed), report.unexpected) == (12, ())


def test_sd_and_td_of_one_shape_cannot_be_told_apart() -> None:
    """With 32 channels in 4 groups SD has TD's shapes; a guess could swap them."""
    model = Small()
    model.disentangling = SpatioTemporalDisentangling(channels=32)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="it lacks 12 of 14 entries"):
        load_checkpoint(model, with_unknown_names(before))


def test_a_network_without_sd_does_not_drop_it_silently() -> None:
    with pytest.raises(CheckpointError, match=r"lacks the SD and TD of the file: backbone\.ema_s"):
        load_checkpoint(Small(spatial=False), with_unknown_names(Small().state_dict()))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "fc2.bias"}, "lacks 1 of 4.*: fc2.bias"),
        (
            lambda s: {**s, "fc2.bias": torch.zeros(3)},
            r"1 entries have another shape: fc2.bias is \(3,\) instead of \(51,\)",
        ),
        (
            lambda s: {**s, "fc1.weight": torch.full_like(s["fc1.weight"], torch.nan)},
            "not finite, in 1 entries: fc1.weight",
        ),
        (lambda _: {"epoch": 3}, "holds no named weights.*it holds epoch"),
        (lambda _: {}, "it holds nothing"),
        (lambda _: LSTMPoseNet(3).state_dict(), "looks like LSTM_PoseNet; the network is SimpleP"),
        (
            lambda _: SimplePoseNet(9).state_dict(),
            "looks like SimplePoseNet of 9 frames; .* of 3 f",
        ),
    ],
)
def test_what_does_not_fit_says_why_and_changes_nothing(
    break_it: Callable[[State], Any], message: str
) -> None:
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(model, break_it(trained()))
    assert same(model.state_dict(), before)


def test_an_error_names_the_first_few_entries_only() -> None:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(PoseFormer(9), trained())
    message = str(error.value)
    assert "lacks 110 of 110 entries: Spatial_pos_embed, Temporal_pos_embed, " in message
    assert message.count("Spatial") <= 5
    assert "looks like SimplePoseNet of 3 frames; the network is PoseFormer of 9 frames" in message


def test_weights_without_the_regressor_say_how_to_create_the_network() -> None:
    bare = STDFormer(ResNet50(), 1, smpl_regressor=False).state_dict()
    with pytest.raises(CheckpointError, match="create it with smpl_regressor=False"):
        load_checkpoint(STDFormer(ResNet50(), 1), bare)


def test_systems_are_recognised_by_their_names() -> None:
    with torch.device("meta"):  # names and shapes only
        sd_td = SpatioTemporalDisentangling()
        systems: dict[str, nn.Module] = {
            "STDFormer-M on ResNet": STDFormer(ResNet50(), 2, disentangling=sd_td),
            "FastMETRO-L on HRNet-W64": create_model("fastmetro_L_hrnet_w64"),
            "PointHMR": create_model("pointhmr_hrnet_w32"),
            "SGRE": SGRE(),
            "PoseFormer of 27 frames": PoseFormer(27),
            "LSTM_PoseNet": LSTMPoseNet(),
            "SimpleTransformerPoseNet": SimpleTransformerPoseNet(),
            "SimplePoseNet of 81 frames": SimplePoseNet(),
            "a ResNet backbone on its own": ResNet50(),
        }
    for name, system in systems.items():
        assert recognise(system.state_dict()) == name
    assert recognise({"weight": torch.zeros(1)}) is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*gone\.pth"):
        load_checkpoint(network(), tmp_path / "gone.pth")


@pytest.mark.parametrize(
    "prefix",
    ["module.module.", "_orig_mod.", "model.", "module._orig_mod.", "model.network._orig_mod."],
)
def test_prefixes_of_training_code_are_taken_off(prefix: str) -> None:
    model = network()
    report = load_checkpoint(model, {f"{prefix}{n}": v for n, v in trained().items()})
    assert same(model.state_dict(), trained())
    assert report.unexpected == ()


def test_a_part_that_was_compiled_alone_keeps_its_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    state = {n.replace("1.", "1._orig_mod."): v for n, v in model.state_dict().items()}
    assert load_checkpoint(model, state).unexpected == ()


def test_lightnings_metrics_beside_the_network_are_not_used() -> None:
    model = network()
    state = {f"model.{n}": v for n, v in trained().items()} | {"loss.weight": torch.zeros(1)}
    assert load_checkpoint(model, {"state_dict": state}).unexpected == ("loss.weight",)


def test_the_same_weights_twice_are_refused() -> None:
    state = trained() | {f"module.{n}": v for n, v in trained().items()} | {"module.x": ONE}
    with pytest.raises(CheckpointError, match="the same weights twice"):
        load_checkpoint(network(), state)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_is_opened_even_beside_tensors(wrapper: str) -> None:
    model = network()
    load_checkpoint(model, {"epoch": ONE, wrapper: {"state_dict": trained()}})
    assert same(model.state_dict(), trained())


def test_of_several_wrappers_the_first_counts_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = network()
    load_checkpoint(model, {"ema": network().state_dict(), "model": trained()})
    assert same(model.state_dict(), trained())
    assert "weights are taken from 'model', not from ema" in caplog.text


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    safetensors.torch.save_file(trained(), tmp_path / "a.bin")
    model = network()
    load_checkpoint(model, tmp_path / "a.bin")
    assert same(model.state_dict(), trained())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_no_message_advises_to_run_code_from_the_file(tmp_path: Path, suffix: str) -> None:
    for number, content in enumerate([b"noise" * 100, b"\x80\x04N.", b"\x80\x02c__main__\nA\n."]):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as raised:
            load_checkpoint(network(), path)
        assert "weights_only" not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_tensor_on_its_own_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds a Tensor instead of named weights"):
        load_checkpoint(network(), tmp_path / "a.pth")


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of intact checkpoints, small, and for a network of other shapes."""
    folder = tmp_path_factory.mktemp("intact")
    state = {"fc1.weight": torch.randn(4, 5), "fc1.bias": torch.randn(4)}
    torch.save(state, folder / "a.pth")
    torch.save(state, folder / "a.bin", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, folder / "a.safetensors")
    return folder


SUFFIXES = st.sampled_from([".pth", ".bin", ".safetensors"])


@given(suffix=SUFFIXES, share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_an_error_wherever_it_ends(
    intact: Path, suffix: str, share: float
) -> None:
    content = (intact / f"a{suffix}").read_bytes()
    path = intact / f"truncated{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError):
        load_checkpoint(network(), path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(
    suffix=SUFFIXES,
    noise=st.dictionaries(
        st.floats(0, 1, exclude_max=True), st.integers(0, 255), min_size=1, max_size=8
    ),
)
def test_noise_is_an_error(intact: Path, suffix: str, noise: dict[float, int]) -> None:
    content = bytearray((intact / f"a{suffix}").read_bytes())
    for share, value in noise.items():
        content[int(share * len(content))] = value
    path = intact / f"noise{suffix}"
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError):
        load_checkpoint(network(), path)
