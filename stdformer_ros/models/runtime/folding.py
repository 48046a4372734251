"""Batch normalisation folded into the convolution before it: the same numbers in fewer passes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(network: nn.Module) -> nn.Module:
    """The network for inference: without batch normalisations, weights channels last.

    Pairs are found where they follow each other in an `nn.Sequential`, and by the names `conv1` and
    `bn1`, `conv2` and `bn2` ... of one module, as ResNet and HRNet call what follows each other.

    Args:
        network: in evaluation mode; it is changed, and can no longer be trained or saved.

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
