"""Streaming compared with recomputation.

Streaming encodes only the new frame and keeps the features of the others in the window;
recomputation encodes the whole window again. Networks whose weights cannot be distributed get
random weights, which change neither the operations nor their number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stdformer_ros.bench.timing import Figures, in_alternation
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.body.mesh_levels import embedded_mesh_sampling
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.estimator import Features
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.published.acceleration import accelerate
from stdformer_ros.models.published.stdformer import IMAGE_SIZE, STDFormer
from stdformer_ros.models.registry import create_model

Answer = dict[str, Tensor]


def bench_streaming(repeats: int = 3) -> Figures:
    """Speed-up and largest difference for STDFormer-L, PoseFormer-81 and the default network."""
    torch.manual_seed(0)
    with torch.inference_mode():
        networks = {
            "stdformer_L": (stdformer("stdformer_L"), repeats),
            "poseformer_81": (poseformer(), 5 * repeats),
            "default": (default_network(), 10 * repeats),
        }
        figures: Figures = {}
        for name, (pair, times) in networks.items():
            figures |= _speed(name, *pair, times)
        difference = max(largest_difference(*pair) for pair, _ in networks.values())
    return figures | {"stream_max_abs_difference": difference}


Pair = tuple[Callable[[], Answer], Callable[[], Answer]]
"""The two functions that are compared: streaming, and recomputation as in the published code. Both
return the answer for the newest frame."""


def stdformer(name: str, **options: object) -> Pair:
    """A whole STDFormer on noise; recomputation gives the meshes of all frames, as published."""
    options = {"smpl_regressor": False, **options}  # its SVD is not part of streaming
    network = create_model(name, mesh_sampling=embedded_mesh_sampling(), **options)
    assert isinstance(network, STDFormer)
    set_batch_norm_statistics(network.backbone)
    ours = accelerate(copy.deepcopy(network.eval()), name)  # as the node runs it
    images = torch.randn(1, network.window, 3, IMAGE_SIZE, IMAGE_SIZE)
    kept = [ours.encode(images[:, i]) for i in range(network.window - 1)]

    def recompute() -> Answer:
        return {k: v[:, -1] for k, v in network(images).items()}

    def stream() -> Answer:
        return ours.decode(_stacked([*kept, ours.encode(images[:, -1])]))

    return stream, recompute if network.window > 1 else lambda: network(images[:, 0])


def set_batch_norm_statistics(backbone: nn.Module) -> None:
    """Give batch normalisations the mean and variance of their inputs, as training does.

    With the initial statistics (0 and 1), random weights let feature maps grow to 1e9, and float32
    rounds such numbers much more coarsely than those of a trained network.
    """
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics are the mean over all batches, here one
    backbone.train()(torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE))


def poseformer() -> Pair:
    """PoseFormer over 81 frames, which answers for the newest frame."""
    network = create_model("poseformer_81").eval()
    assert isinstance(network, KeypointNetwork)
    keypoints = torch.rand(1, network.window, 17, 2)
    kept = [network.encode(keypoints[:, i]) for i in range(network.window - 1)]
    future = keypoints[:, -1:].expand(-1, network.frames - network.window, -1, -1)
    whole = torch.cat([keypoints, future], dim=1)

    def stream() -> Answer:
        return network.decode(_stacked([*kept, network.encode(keypoints[:, -1])]))

    return stream, lambda: network(whole)


def default_network() -> Pair:
    """The default network on a window of random landmarks."""
    network: nn.Module = STDFormerKeypoints().eval()
    assert isinstance(network, STDFormerKeypoints)
    landmarks = len(LANDMARK_NAMES)
    rays = 0.2 * torch.randn(1, network.window, landmarks, 2)
    visibility = torch.rand(1, network.window, landmarks)
    kept = [network.encode(rays[:, i], visibility[:, i]) for i in range(network.window - 1)]

    def stream() -> Answer:
        newest = network.encode(rays[:, -1], visibility[:, -1])
        answer = network.decode(_stacked([*kept, newest]))
        return {"pred_cam": answer.camera, "pred_3d_joints": answer.joints}

    return stream, lambda: network(rays, visibility)


def largest_difference(stream: Callable[[], Answer], recompute: Callable[[], Answer]) -> float:
    """The largest absolute difference over all outputs that both functions return."""
    a, b = stream(), recompute()
    return max(float((a[name] - b[name]).abs().max()) for name in a.keys() & b.keys())


def _speed(
    name: str, stream: Callable[[], Answer], recompute: Callable[[], Answer], repeats: int
) -> Figures:
    took = in_alternation({"stream": stream, "recompute": recompute}, repeats)
    return {
        f"stream_speedup_{name}": took["recompute"] / took["stream"],
        f"stream_ms_{name}": took["stream"],
    }


def _stacked(frames: list[Features]) -> Features:
    return {name: torch.stack([frame[name] for frame in frames], dim=1) for name in frames[0]}
