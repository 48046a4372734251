"""STDFormer and FastMETRO made fast for a stream: by OpenVINO on a CPU, in fp16 on a GPU.

The backbone is most of the work. On both devices its batch normalisations are folded into its
convolutions first; then `OpenVinoSTDFormer` or `CudaSTDFormer` runs the network. Both have the
`encode` and `decode` of `STDFormer`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stdformer_ros.models.estimator import Features
from stdformer_ros.models.published.stdformer import IMAGE_SIZE, MAP, STDFormer
from stdformer_ros.models.runtime.cuda_graphs import CudaGraphs

IMAGES = "images"
# On newer CPUs OpenVINO's default is bfloat16, which would move vertices by millimetres.
FULL_PRECISION = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

_log = logging.getLogger(__name__)


def accelerate(network: STDFormer, name: str) -> STDFormer | OpenVinoSTDFormer | CudaSTDFormer:
    """The network for streaming on its device.

    Args:
        network: on its device and in evaluation mode; it is changed, and can no longer be trained
            or saved.
        name: the network's name, for the log.

    Returns:
        The fast network; on a CPU, with a warning, the network itself if OpenVINO cannot compile
        its backbone.
    """
    fold_batch_norm(network.backbone)
    if next(network.parameters()).device.type == "cuda":
        return CudaSTDFormer(network)
    try:
        return OpenVinoSTDFormer(network)
    except RuntimeError as error:  # all that OpenVINO raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        _log.warning("%s runs in torch, slower: OpenVINO cannot compile it: %s", name, reason)
        return network


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold batch normalisations into the convolutions before them: the same numbers, fewer passes.

    A pair is two consecutive layers of an `nn.Sequential`, or two layers of one module with the
    names `conv1` and `bn1`, `conv2` and `bn2` ..., as consecutive layers of ResNet and HRNet have.

    Args:
        network: in evaluation mode; it is changed, and can no longer be trained or saved.

    Returns:
        The network, its weights channels last.

    Raises:
        ValueError: if it is in training mode.
    """
    if network.training:
        raise ValueError("only a network in evaluation mode can be folded")
    for module in network.modules():
        names = list(module._modules)
        if isinstance(module, nn.Sequential):
            pairs = list(pairwise(names))
        else:
            pairs = [(name, name.replace("conv", "bn")) for name in names]
        for convolution, normalisation in pairs:
            _fold(module, convolution, normalisation)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fold(module: nn.Module, convolution: str, normalisation: str) -> None:
    before, after = (module._modules.get(name) for name in (convolution, normalisation))
    if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
        module._modules[convolution] = fuse_conv_bn_eval(before, after)
        module._modules[normalisation] = nn.Identity()


class OpenVinoSTDFormer(nn.Module):
    """The network on a CPU, its backbone compiled by OpenVINO from torch's weights.

    Torch runs one convolution after the other and rearranges their weights in every call. OpenVINO
    arranges them once and computes a backbone in less than half the time. Compiling takes seconds
    when the object is made, and doubles the memory for the backbone.

    Crops are encoded one by one: convolutions as large as these gain nothing from a batch, and a
    fixed shape lets OpenVINO choose the fastest kernels.

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
            # OpenVINO uses torch's tracer, which torch calls deprecated and which warns of the
            # shapes that it fixes. They are meant to be fixed.
            for category in (torch.jit.TracerWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            model = ov.convert_model(
                _Maps(network), example_input=torch.zeros(shape), input=[ov.PartialShape(shape)]
            )
        self._request = ov.Core().compile_model(model, "CPU", FULL_PRECISION).create_infer_request()

    def encode(self, images: Tensor) -> Features:
        """See `STDFormer.encode`; one crop at a time."""
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
    """A network's `encode`, as a module from tensors to tensors."""

    def __init__(self, network: STDFormer) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.encode(images).values())


class CudaSTDFormer(nn.Module):
    """The network on a GPU: the backbone in half precision, channels last, and CUDA graphs.

    SD and TD run in half precision, too. The transformers, whose tokens become metres, stay in
    float32: in half precision they would move vertices by millimetres.

    Args:
        network: on its device and in evaluation mode; it is changed.
        dtype: float16, or bfloat16, which never overflows but rounds eight times as coarsely; with
            random weights the vertices then move by 5 mm instead of less than 1 mm.
    """

    def __init__(self, network: STDFormer, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        network.backbone.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if network.disentangling is not None:
            network.disentangling.to(dtype=dtype)
        self.network = network
        self.window = network.window
        self.smpl_parameter_regressor = network.smpl_parameter_regressor
        self._dtype = dtype
        self._encode = CudaGraphs(lambda inputs: network.encode(inputs[IMAGES]))
        # The regressor's SVD waits for the device, which is not allowed in a graph.
        has_svd = network.smpl_parameter_regressor is not None
        self._decode = network.decode if has_svd else CudaGraphs(network.decode)

    def encode(self, images: Tensor) -> Features:
        """See `STDFormer.encode`; features are in half precision."""
        images = images.to(dtype=self._dtype, memory_format=torch.channels_last)
        return self._encode({IMAGES: images})

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """See `STDFormer.decode`; the output is in float32."""
        return self._decode(windows)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> CudaSTDFormer:
        # Torch calls this to move a module; the graphs hold the old addresses of its tensors.
        for graphs in (self._encode, self._decode):
            if isinstance(graphs, CudaGraphs):
                graphs.forget()
        super()._apply(fn, recurse)
        return self
