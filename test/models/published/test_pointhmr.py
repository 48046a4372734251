"""PointHMR: its masks, its heatmaps, and one frame at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers import published
from helpers.polygon_mesh import MESH
from stdformer_ros.body.mesh_levels import load_mesh_sampling
from stdformer_ros.models import create_model
from stdformer_ros.models.published.pointhmr import (
    OTHERS,
    RINGS,
    PointHMR,
    _on_doubled_map,
    ring_visibility,
)


@pytest.fixture(scope="module")
def network() -> PointHMR:
    torch.manual_seed(0)
    network = create_model("pointhmr_hrnet_w32", mesh_sampling=MESH)
    assert isinstance(network, PointHMR)
    return network.eval()


def crops(people: int) -> Tensor:
    return torch.randn(people, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@published.needs_reference
def test_the_masks_hide_as_much_as_the_published_ones() -> None:
    adjacency = load_mesh_sampling(published.MESH_SAMPLING).coarse_adjacency()
    visible = ring_visibility(adjacency, RINGS, OTHERS)
    assert visible.shape == (4, 495, 495)
    assert (~visible).sum((1, 2)).tolist() == [109726, 142514, 168082, 182756]


def test_a_ring_reaches_as_far_as_its_number_of_edges() -> None:
    path = torch.eye(6, dtype=torch.bool)
    for i in range(5):
        path[i, i + 1] = path[i + 1, i] = True
    visible = ring_visibility(path, (3, 1), others=1)
    assert visible[0, 1].int().tolist() == [1, 1, 1, 1, 1, 0, 0]  # vertex 0, seen from its row
    assert visible[1, 3].int().tolist() == [1, 0, 1, 1, 1, 0, 0]  # vertex 2
    assert visible[:, 0].all()
    assert visible[:, :, 0].all()


def test_places_are_those_of_the_published_doubled_map() -> None:
    heatmaps = torch.randn(2, 5, 56, 56, generator=torch.Generator().manual_seed(0))
    doubled = F.interpolate(heatmaps, scale_factor=2).flatten(2)
    ours = _on_doubled_map(heatmaps.flatten(2).argmax(2))
    assert torch.equal(ours, doubled.argmax(2))


def test_streaming_equals_the_whole(network: PointHMR) -> None:
    """A window of one frame: what is kept of a frame decides alone."""
    images = crops(2)
    with torch.inference_mode():
        whole = network(images)
        kept = [network.encode(image[None]) for image in images]
        for i, features in enumerate(kept):
            streamed = network.decode({k: v[:, None] for k, v in features.items()})
            assert streamed.keys() == whole.keys()
            for key, value in streamed.items():
                torch.testing.assert_close(value, whole[key][i : i + 1], rtol=0, atol=1e-5)


def test_levels_follow_the_given_matrices(network: PointHMR) -> None:
    with torch.inference_mode():
        answer = {k: v[0].numpy() for k, v in network(crops(1)).items()}
    fine, middle = MESH.upsampling
    coarse = answer["pred_3d_vertices_coarse"]
    torch.testing.assert_close(
        torch.from_numpy(answer["pred_3d_vertices_intermediate"]),
        torch.from_numpy(middle @ coarse).float(),
    )
    torch.testing.assert_close(
        torch.from_numpy(answer["pred_3d_vertices_fine"]),
        torch.from_numpy(fine @ (middle @ coarse)).float(),
    )


def test_without_a_mesh_it_says_what_is_missing() -> None:
    network = create_model("pointhmr_hrnet_w32").eval()
    with pytest.raises(RuntimeError, match=r"mesh_sampling=PATH of mesh_downsampling\.npz"):
        network(crops(1))


def test_crops_of_another_size_are_refused(network: PointHMR) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 3, 224, 224\), not \(1, 3, 256, 256\)"):
        network(torch.zeros(1, 3, 256, 256))
