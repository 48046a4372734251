"""STDFormer and FastMETRO as a CPU likes them: the backbone by OpenVINO, made from torch's weights.

Torch runs one convolution after the other and arranges their weights anew in every call; OpenVINO
arranges them once and computes a backbone in less than half the time. That takes seconds when the
network is made, and the backbone's memory a second time.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from stdformer_ros.models.estimator import Features
from stdformer_ros.models.published.stdformer import IMAGE_SIZE, MAP, STDFormer
from stdformer_ros.models.runtime.folding import folded

# On newer CPUs the default is bfloat16, which would move vertices by millimetres.
FULL_PRECISION = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

_log = logging.getLogger(__name__)


def compiled(network: STDFormer, name: str) -> STDFormer | CompiledSTDFormer:
    """The network for streaming on the CPU, by torch where OpenVINO cannot take its backbone.

    Args:
        network: in evaluation mode; it is changed, and can no longer be trained or saved.
        name: of it, for the log.
    """
    folded(network.backbone)
    try:
        return CompiledSTDFormer(network)
    except RuntimeError as error:  # all that OpenVINO raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        _log.warning("%s runs by torch, slower: OpenVINO cannot compile it: %s", name, reason)
        return network


class CompiledSTDFormer(nn.Module):
    """Behaves as the network does in a stream, faster.

    Crops are encoded one by one: convolutions as large as these gain nothing from a batch, and a
    shape that is known lets OpenVINO choose the fastest.

    Args:
        network: on the CPU and in evaluation mode.

    Raises:
        RuntimeError: if OpenVINO cannot compile its backbone.
    """

    def __init__(self, network: STDFormer) -> None:
        super().__init__()
        self.network = network
        self.window = network.window
        self.smpl_parameter_regressor = network.smpl_parameter_regressor
        shape = [1, 3, IMAGE_SIZE, IMAGE_SIZE]
        with torch.no_grad(), warnings.catch_warnings():
            # OpenVINO traces, which torch calls old, and which fixes shapes, as it is meant to.
            for category in (torch.jit.TracerWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            model = ov.convert_model(
                _Maps(network), example_input=torch.zeros(shape), input=[ov.PartialShape(shape)]
            )
        self._request = ov.Core().compile_model(model, "CPU", FULL_PRECISION).create_infer_request()

    def encode(self, images: Tensor) -> Features:
        """See `STDFormer.encode`."""
        frames = [self._maps(image[None]) for image in images.numpy()]
        maps = [torch.from_numpy(np.concatenate(batch)) for batch in zip(*frames, strict=True)]
        return {MAP.format(i): m for i, m in enumerate(maps)}

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """See `STDFormer.decode`."""
        return self.network.decode(windows)

    def _maps(self, image: np.ndarray) -> list[np.ndarray]:
        self._request.infer([np.ascontiguousarray(image)], share_inputs=True)
        count = len(self._request.model_outputs)
        return [self._request.get_output_tensor(i).data.copy() for i in range(count)]


class _Maps(nn.Module):
    """A network's `encode`, as something that takes and gives tensors."""

    def __init__(self, network: STDFormer) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.encode(images).values())
