"""`./run bench --device cuda`: three ways to run STDFormer-L on a GPU.

Each way computes the meshes of all people in the newest frame, an image of 1080p:

- `recompute`: eager float32 over the whole window, as the published code does;
- `stream`: eager float32, one new frame after the other;
- `ours`: what the node runs on that device.

The time to cut the crops out of the image is part of all three.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.bench.streaming import set_batch_norm_statistics
from stdformer_ros.bench.timing import Figures, in_alternation
from stdformer_ros.body.mesh_levels import embedded_mesh_sampling
from stdformer_ros.models.published.acceleration import CudaSTDFormer, fold_batch_norm
from stdformer_ros.models.published.crops import Square, crop, crop_on_device, normalised, upload
from stdformer_ros.models.published.stdformer import IMAGE_MEAN, IMAGE_SIZE, IMAGE_STD, STDFormer
from stdformer_ros.models.registry import create_model

PEOPLE = (1, 4, 16, 32)
HEIGHT, WIDTH = 1080, 1920
MESH = "pred_3d_vertices_fine"


def bench_device(device: torch.device, repeats: int = 10) -> Figures:
    """Milliseconds and frames per second of each way, and how far `ours` is from float32 (mm)."""
    torch.manual_seed(0)
    network = create_model(
        "stdformer_L", mesh_sampling=embedded_mesh_sampling(), smpl_regressor=False
    )
    assert isinstance(network, STDFormer)
    set_batch_norm_statistics(network.backbone)  # otherwise half precision overflows
    network = network.to(device).eval()
    figures: Figures = {}
    with torch.inference_mode():
        for people in PEOPLE:
            figures |= compare(network, device, people, repeats)
    return figures


def compare(network: STDFormer, device: torch.device, people: int, repeats: int) -> Figures:
    """The figures of `bench_device` for this number of people, with crops of 150 to 600 pixels."""
    random = np.random.default_rng(people)
    y, x, _ = np.mgrid[:HEIGHT, :WIDTH, :3]
    image = (128 + 100 * np.sin(x / 37) * np.cos(y / 29)).astype(np.uint8)
    squares = [
        Square(float(random.uniform(0, WIDTH)), float(random.uniform(0, HEIGHT)), float(size))
        for size in random.uniform(150, 600, people)
    ]

    def crops() -> Tensor:
        cuts = np.stack([crop(image, square, IMAGE_SIZE) for square in squares])
        return normalised(
            torch.from_numpy(cuts).to(device).permute(0, 3, 1, 2).float(), IMAGE_MEAN, IMAGE_STD
        )

    def device_crops() -> Tensor:
        return normalised(
            crop_on_device(upload(image, device), squares, IMAGE_SIZE), IMAGE_MEAN, IMAGE_STD
        )

    ours = copy.deepcopy(network)
    fold_batch_norm(ours.backbone)  # before weights are rounded, as in the node
    fast = CudaSTDFormer(ours)
    earlier = [crops()] * (network.window - 1)  # not timed: a recomputation keeps earlier crops

    def recompute() -> Tensor:
        return network(torch.stack([*earlier, crops()], dim=1))[MESH][:, -1]

    def streaming(net: STDFormer | CudaSTDFormer, cutter: Callable[[], Tensor]) -> Callable:
        kept = [net.encode(images) for images in earlier]

        def step() -> Tensor:
            window = [*kept, net.encode(cutter())]
            return net.decode({k: torch.stack([f[k] for f in window], 1) for k in window[0]})[MESH]

        return step

    ways: dict[str, Callable[[], Tensor]] = {
        "recompute": recompute,
        "stream": streaming(network, crops),
        "ours": streaming(fast, device_crops),
    }
    # Copying the meshes to the CPU waits for the device, as the node has to.
    took = in_alternation({name: partial(_to_cpu, way) for name, way in ways.items()}, repeats)
    rounded, exact = streaming(fast, crops)(), streaming(network, crops)()  # from the same crops
    difference = float((rounded - exact).abs().max())
    return {
        **{f"device_{name}_ms_{people}_people": ms for name, ms in took.items()},
        f"device_ours_fps_{people}_people": 1e3 / took["ours"],
        f"device_speedup_{people}_people": took["recompute"] / took["ours"],
        f"device_difference_mm_{people}_people": 1e3 * difference,
    }


def _to_cpu(way: Callable[[], Tensor]) -> Tensor:
    return way().cpu()
