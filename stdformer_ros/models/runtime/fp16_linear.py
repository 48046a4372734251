"""Linear layers that keep their weights in half precision and compute in single.

A few people through a large layer take as long as reading its weights does. Half as many bytes,
laid out for the product by FBGEMM's kernels (Khudia et al., "FBGEMM: Enabling high-performance
low-precision deep learning inference", 2021), take a quarter of the time on an x86 CPU. Weights
that come from float16, as those that ship, stay what they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HalfLinear(nn.Module):
    """Behaves as a linear layer on the CPU; it can no longer be trained, saved or moved.

    Args:
        linear: on the CPU; weights beyond float16's range become its largest.

    Attributes:
        packed: weights and bias as FBGEMM keeps them.

    Raises:
        RuntimeError: if this CPU has no such kernels.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        bias = None if linear.bias is None else linear.bias.detach().float()
        weight = linear.weight.detach().float()
        self.packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., inputs) -> (N, ..., outputs), float32."""
        return torch.ops.quantized.linear_dynamic_fp16(x, self.packed)


def half_weights_where_possible(network: nn.Module) -> bool:
    """Replace a network's linear layers by `HalfLinear`.

    Args:
        network: on the CPU and in evaluation mode; it is changed unless False is returned.

    Returns:
        Whether this CPU has the kernels for it.
    """
    try:
        HalfLinear(nn.Linear(1, 1))
    except (RuntimeError, AttributeError):  # kernels, or the operation, are missing
        return False
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, HalfLinear(child))
    return True
