"""STDFormer and FastMETRO as a GPU likes them: half a backbone, channels last, CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stdformer_ros.models.estimator import Features
from stdformer_ros.models.published.stdformer import STDFormer
from stdformer_ros.models.runtime.cuda_graphs import Graphed

IMAGES = "images"


class AcceleratedSTDFormer(nn.Module):
    """Behaves as the network does in a stream, faster and a little less exact.

    The backbone, with SD and TD, is most of the work and runs in half precision. The transformers,
    whose tokens become metres, stay in float32: rounded, they would move vertices by millimetres.

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
        self._encode = Graphed(lambda inputs: network.encode(inputs[IMAGES]))
        # The regressor's SVD asks the host how it went, which a graph cannot.
        graphed = network.smpl_parameter_regressor is None
        self._decode = Graphed(network.decode) if graphed else network.decode

    def encode(self, images: Tensor) -> Features:
        """See `STDFormer.encode`; features are in half precision."""
        images = images.to(dtype=self._dtype, memory_format=torch.channels_last)
        return self._encode({IMAGES: images})

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """See `STDFormer.decode`; the answer is in float32."""
        return self._decode(windows)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AcceleratedSTDFormer:
        # What torch calls to move a module: graphs hold the places that tensors have left.
        for graphed in (self._encode, self._decode):
            if isinstance(graphed, Graphed):
                graphed.forget()
        super()._apply(fn, recurse)
        return self
