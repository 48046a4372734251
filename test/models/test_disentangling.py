"""SD and TD: their size, their sums, what they mix and what not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stdformer_ros.models.disentangling import (
    DisentanglingModule,
    SpatialDisentangling,
    SpatioTemporalDisentangling,
    TemporalDisentangling,
)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def window(frames: int = 8, channels: int = 64, size: int = 9) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, frames, channels, size, size)


def fusion(**options: bool) -> SpatioTemporalDisentangling:
    torch.manual_seed(1)
    network = SpatioTemporalDisentangling(**options).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


@pytest.mark.parametrize("n", [1, 8, 16])
def test_a_module_of_n_channels_has_10_n2_plus_4_n_parameters(n: int) -> None:
    assert parameters(DisentanglingModule(n)) == 10 * n**2 + 4 * n


def test_sd_and_td_hold_what_the_run_log_shows() -> None:
    both = SpatioTemporalDisentangling()
    assert both.sd is not None
    assert both.td is not None
    assert (parameters(both.sd), parameters(both.td)) == (2624, 672)
    assert parameters(both) == 3296


def test_the_attention_map_is_the_described_sum() -> None:
    """Place by place, in plain loops, for one group of three channels on a 4 x 5 map."""
    torch.manual_seed(0)
    module = DisentanglingModule(3)
    nn.init.normal_(module.gn.weight)
    nn.init.normal_(module.gn.bias)
    x = torch.randn(1, 3, 4, 5)

    weight, bias = module.conv1x1.weight[:, :, 0, 0], module.conv1x1.bias
    rows = torch.sigmoid(weight @ x[0].mean(2) + bias[:, None])  # (3, 4): means along the width
    columns = torch.sigmoid(weight @ x[0].mean(1) + bias[:, None])  # (3, 5): along the height
    a = x[0] * rows[:, :, None] * columns[:, None, :]
    for c in range(3):
        spread = (a[c].var(unbiased=False) + module.gn.eps).sqrt()
        a[c] = (a[c] - a[c].mean()) / spread * module.gn.weight[c] + module.gn.bias[c]
    b = module.conv3x3(x)[0]
    wa, wb = a.mean((1, 2)).softmax(0), b.mean((1, 2)).softmax(0)
    total = sum(wa[c] * b[c] + wb[c] * a[c] for c in range(3))

    torch.testing.assert_close(module.attention_map(x)[0, 0], torch.sigmoid(total))
    torch.testing.assert_close(module(x)[0], x[0] * torch.sigmoid(total))


def test_td_makes_the_newest_answer_depend_on_every_frame() -> None:
    network, x = fusion(), window()
    newest = network.newest(x)
    for frame in range(8):
        changed = x.clone()
        changed[:, frame] += 1.0
        assert (network.newest(changed) - newest).abs().max() > 1e-4


def test_td_knows_the_order_of_the_frames() -> None:
    network, x = fusion(), window()
    x[:, 0] = x[:, 2]  # so that the newest frame and the set of frames stay what they are
    swapped = x[:, [1, 0, *range(2, 8)]]
    assert (network.newest(swapped) - network.newest(x)).abs().max() > 1e-4


def test_without_td_the_newest_answer_depends_on_the_newest_frame_alone() -> None:
    network, x = fusion(temporal=False), window()
    changed = x.clone()
    changed[:, :-1] = 0.0
    torch.testing.assert_close(network.newest(changed), network.newest(x), rtol=0, atol=0)


def test_windows_of_different_people_do_not_mix() -> None:
    network, x = fusion(), window()
    alone = network(x[:1])
    x[1] = 7.0
    torch.testing.assert_close(network(x)[:1], alone)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"spatial": False},
        {"temporal": False},
        {"spatial": False, "temporal": False},
    ],
)
def test_the_newest_frame_is_that_of_the_whole_window(parts: dict[str, bool]) -> None:
    network, x = fusion(**parts), window()
    torch.testing.assert_close(network.newest(x), network(x)[:, -1], rtol=0, atol=1e-6)


def test_the_fusion_is_sd_times_the_sigmoid_of_td() -> None:
    network, x = fusion(), window()
    sd, td = network.sd, network.td
    assert sd is not None
    assert td is not None
    wanted = torch.stack([sd(frame) for frame in x.unbind(1)], 1) * td(x).sigmoid()
    torch.testing.assert_close(network(x), wanted)


def test_without_both_nothing_changes() -> None:
    network, x = fusion(spatial=False, temporal=False), window()
    assert network(x) is x
    assert parameters(network) == 0


def test_channels_that_groups_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="66 channels cannot be split into 4 groups"):
        SpatialDisentangling(66, 4)


def test_a_window_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="windows of 8 frames, not 5"):
        TemporalDisentangling(8)(window(frames=5))
