"""The transformer: its parts against torch's own, its masks and positions by their meaning."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from stdformer_ros.models.transformer import (
    Attention,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    Transformer,
    mesh_visibility,
    sine_position_encoding_1d,
    sine_position_encoding_2d,
)


def randoms(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def randomised(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def test_attention_is_torchs_multi_head_attention() -> None:
    theirs = randomised(nn.MultiheadAttention(24, 4, batch_first=True))
    ours = Attention(24, 4).eval()
    ours.load_state_dict(theirs.state_dict())
    q, k, v = randoms(2, 5, 24), randoms(2, 7, 24), randoms(2, 7, 24) + 1.0
    visible = randoms(5, 7) > -0.5
    visible[:, 0] = True
    wanted, _ = theirs(q, k, v, attn_mask=~visible)
    torch.testing.assert_close(ours(q, k, v, visible), wanted)


def test_an_encoder_layer_is_torchs_pre_norm_one() -> None:
    theirs = randomised(nn.TransformerEncoderLayer(24, 4, 48, batch_first=True, norm_first=True))
    ours = EncoderLayer(24, 4, 48).eval()
    ours.load_state_dict(theirs.state_dict())
    x = randoms(2, 6, 24)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_decoder_layer_is_torchs_pre_norm_one() -> None:
    theirs = randomised(nn.TransformerDecoderLayer(24, 4, 48, batch_first=True, norm_first=True))
    ours = DecoderLayer(24, 4, 48).eval()
    ours.load_state_dict(theirs.state_dict())
    x, memory = randoms(2, 6, 24), randoms(2, 9, 24)
    visible = torch.eye(6, dtype=torch.bool)
    torch.testing.assert_close(
        ours(x, memory, visible=visible), theirs(x, memory, tgt_mask=~visible)
    )


def test_positions_move_attention_but_not_values() -> None:
    """With one key, attention cannot move, so positions must not matter."""
    layer = randomised(EncoderLayer(24, 4, 48))
    x, positions = randoms(2, 6, 24), randoms(6, 24)
    assert (layer(x, positions) - layer(x)).abs().max() > 1e-3
    torch.testing.assert_close(layer(x[:, :1], positions[:1]), layer(x[:, :1]))


def test_a_vertex_is_not_influenced_by_one_it_does_not_see() -> None:
    path = torch.zeros(4, 4)
    for a, b in ((0, 1), (1, 2), (2, 3)):
        path[a, b] = path[b, a] = 1.0
    visible = mesh_visibility(path, joints=0)
    layer = randomised(EncoderLayer(24, 4, 48))
    x = randoms(1, 4, 24)
    changed = x.clone()
    changed[:, 3] += randoms(24)
    moved = (layer(changed, visible=visible) - layer(x, visible=visible)).abs().amax(2)[0]
    assert moved[2] > 1e-3  # a neighbour of vertex 3
    assert moved[:2].max() == 0.0


def test_joints_see_and_are_seen_by_all_vertices_only_their_neighbours() -> None:
    adjacency = torch.tensor([[0, 2, 0], [2, 0, 0], [0, 0, 0]])
    visible = mesh_visibility(adjacency, joints=2)
    assert visible.int().tolist() == [
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_the_camera_token_has_no_position() -> None:
    network = randomised(Transformer(24, 4, 48, encoder_layers=1, decoder_layers=1))
    image, camera, queries = randoms(2, 9, 24), randoms(2, 1, 24), randoms(2, 5, 24)
    positions = randoms(9, 24)
    encoded = network.encoder(
        torch.cat([camera, image], 1), torch.cat([torch.zeros(1, 24), positions])
    )
    seen, image_out, _ = network(image, camera, queries, positions)
    torch.testing.assert_close(torch.cat([seen, image_out], 1), encoded)


def test_the_decoder_reads_the_encoded_image_and_not_the_camera() -> None:
    network = randomised(Transformer(24, 4, 48, encoder_layers=1, decoder_layers=1))
    image, camera, queries = randoms(2, 9, 24), randoms(2, 1, 24), randoms(2, 5, 24)
    positions = randoms(9, 24)
    _, encoded, answer = network(image, camera, queries, positions)
    torch.testing.assert_close(network.decoder(queries, encoded, positions), answer)


def test_a_stack_ends_with_a_normalisation_unless_told_not_to() -> None:
    x = randoms(2, 6, 24) * 5.0
    with torch.inference_mode():
        assert Encoder(24, 4, 48, 1).eval()(x).std(2).mean() == pytest.approx(1.0, abs=0.05)
        assert Encoder(24, 4, 48, 1, final_norm=False).eval()(x).std(2).mean() > 3.0


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width of 10 cannot be split into 4 heads"):
        Attention(10, 4)


def test_sine_positions_on_a_grid() -> None:
    """Channel 2 k and 2 k + 1 are sine and cosine of the place over 10000^(2 k / half)."""
    grid = sine_position_encoding_2d(3, 5, 8).view(3, 5, 8)
    for row in range(3):
        for column in range(5):
            y, x = (row + 1) / 3 * 2 * math.pi, (column + 1) / 5 * 2 * math.pi
            wanted = []
            for place in (y, x):
                for k in (0, 1):
                    angle = place / 10000.0 ** (2 * k / 4)
                    wanted += [math.sin(angle), math.cos(angle)]
            torch.testing.assert_close(grid[row, column], torch.tensor(wanted), rtol=0, atol=1e-5)


def test_sine_positions_along_time() -> None:
    encoding = sine_position_encoding_1d(7, 6)
    for place in range(7):
        for k in range(3):
            angle = place / 10000.0 ** (2 * k / 6)
            assert encoding[place, 2 * k].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert encoding[place, 2 * k + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
