"""FastMETRO and STDFormer: sizes, streaming, and who influences whom."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor, nn

from helpers.polygon_mesh import MESH
from stdformer_ros.body.mesh_levels import MeshUpsample
from stdformer_ros.models import create_model
from stdformer_ros.models.disentangling import SpatioTemporalDisentangling
from stdformer_ros.models.published.hrnet import HRNetClassification
from stdformer_ros.models.published.resnet import ResNet50
from stdformer_ros.models.published.stdformer import STDFormer


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def small(**options: object) -> STDFormer:
    """The smallest published STDFormer with a window of three frames."""
    torch.manual_seed(0)
    network = create_model(
        "stdformer_S", backbone="resnet50", window=3, mesh_sampling=MESH, **options
    )
    assert isinstance(network, STDFormer)
    return unsettled(network)


def unsettled(network: STDFormer) -> STDFormer:
    """The network with its attention and its normalisations away from their start."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    disentangling = network.disentangling
    if disentangling is not None:
        for parameter in disentangling.parameters():
            nn.init.normal_(parameter, std=0.5)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> STDFormer:
    return small()


def clip(frames: int = 3, people: int = 2) -> Tensor:
    return torch.randn(people, frames, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_the_backbones_have_the_published_sizes() -> None:
    assert parameters(HRNetClassification(64)) == 128_059_944
    assert parameters(ResNet50()) == 23_508_032  # 25,557,032 without the classifier's 2,049,000


def test_fastmetro_l_has_the_published_size_beyond_its_backbone() -> None:
    network = create_model("fastmetro_L_hrnet_w64", smpl_regressor=False)
    assert parameters(network) - parameters(network.backbone) == 25_679_894


def test_stdformer_has_3296_parameters_more_than_fastmetro() -> None:
    assert (
        parameters(create_model("stdformer_L")) - parameters(create_model("fastmetro_L_hrnet_w64"))
        == 3296
    )


@pytest.mark.parametrize("backbone", ["hrnet_w64", "hrnet_w32", "resnet50"])
def test_every_backbone_gives_a_map_for_sd_and_td_and_2048_channels(backbone: str) -> None:
    body = create_model("stdformer_S", backbone=backbone).backbone.eval()
    with torch.inference_mode():
        maps = body.maps(torch.zeros(1, 3, 224, 224))
        assert maps[0].shape == (1, body.map_channels, 56, 56)
        assert body.features(maps).shape == (1, 2048, 7, 7)


@pytest.mark.parametrize("backbone", ["one map", "four maps"])
def test_streaming_equals_the_whole_window(network: STDFormer, backbone: str) -> None:
    """Frames come one by one; the newest three decide."""
    if backbone == "four maps":
        torch.manual_seed(0)
        attention = SpatioTemporalDisentangling(channels=8, frames=3)
        network = unsettled(STDFormer(HRNetClassification(8), 1, MESH, attention))
    stream = clip(frames=4)
    with torch.inference_mode():
        kept = [network.encode(frame) for frame in stream.unbind(1)]
        for newest in (2, 3):
            window = kept[newest - 2 : newest + 1]
            stacked = {k: torch.stack([f[k] for f in window], 1) for k in window[0]}
            streamed = network.decode(stacked)
            whole = network(stream[:, newest - 2 : newest + 1])
            assert streamed.keys() == whole.keys()
            for key, value in streamed.items():
                torch.testing.assert_close(value, whole[key][:, -1], rtol=0, atol=1e-5)


def test_td_lets_an_old_frame_change_the_newest_answer(network: STDFormer) -> None:
    frames = clip(people=1)
    changed = frames.clone()
    changed[:, 0] = 0.0
    with torch.inference_mode():
        a, b = network(frames), network(changed)
    assert (a["pred_3d_joints"] - b["pred_3d_joints"])[:, -1].abs().max() > 1e-5


def test_people_of_a_batch_do_not_influence_each_other(network: STDFormer) -> None:
    frames = clip()
    with torch.inference_mode():
        together, alone = network(frames), network(frames[1:])
    for key, value in together.items():
        torch.testing.assert_close(value[1:], alone[key], rtol=0, atol=1e-5)


def test_without_sd_and_td_it_is_fastmetro_exactly(network: STDFormer) -> None:
    fastmetro = STDFormer(ResNet50(), 1, MESH).eval()
    fastmetro.load_state_dict(network.state_dict(), strict=False)
    off = small(spatial=False, temporal=False)
    off.load_state_dict(fastmetro.state_dict())
    assert off.state_dict().keys() == fastmetro.state_dict().keys()
    image = clip(frames=1)[:, 0]
    with torch.inference_mode():
        a, b, c = fastmetro(image), off(image), network(image[:, None].expand(-1, 3, -1, -1, -1))
    for key, value in a.items():
        assert torch.equal(value, b[key])
    assert (a["pred_cam"] - c["pred_cam"][:, -1]).abs().max() > 1e-5


def test_rotations_are_rotations(network: STDFormer) -> None:
    with torch.inference_mode():
        rotations = network(clip(people=1))["pred_rotmat"].flatten(0, 2)
    torch.testing.assert_close(
        rotations @ rotations.mT, torch.eye(3).expand_as(rotations), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        torch.linalg.det(rotations), torch.ones(len(rotations)), rtol=0, atol=1e-5
    )


def test_the_finest_mesh_is_the_given_matrix_times_the_middle_one(network: STDFormer) -> None:
    with torch.inference_mode():
        answer = network(clip(people=1))
    middle = answer["pred_3d_vertices_intermediate"][0, -1].numpy()
    fine = answer["pred_3d_vertices_fine"][0, -1].numpy()
    np.testing.assert_allclose(fine, MESH.upsampling[0] @ middle, rtol=0, atol=1e-5)


def test_upsampling_takes_rows_of_different_lengths() -> None:
    matrix = scipy.sparse.csr_matrix([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5], [0, 0, 0]])
    values = torch.randn(2, 3, 4)
    wanted = torch.from_numpy(matrix.toarray()).float() @ values
    torch.testing.assert_close(MeshUpsample(matrix)(values), wanted)


def test_the_regressors_gradients_do_not_reach_the_mesh() -> None:
    network = small()
    answer = network(clip(people=1))
    answer["pred_betas"].sum().backward()
    assert network.smpl_parameter_regressor is not None
    assert all(p.grad is not None for p in network.smpl_parameter_regressor.parameters())
    assert network.coarse2intermediate_upsample.weight.grad is None


def test_without_a_mesh_it_says_what_is_missing() -> None:
    network = create_model("stdformer_S", backbone="resnet50").eval()
    with pytest.raises(RuntimeError, match=r"mesh_sampling=PATH of mesh_downsampling\.npz"):
        network(clip(frames=8, people=1))


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (1, 2, 3, 224, 224), (1, 3, 3, 256, 256)])
def test_crops_of_another_shape_are_refused(network: STDFormer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        network(torch.zeros(shape))
