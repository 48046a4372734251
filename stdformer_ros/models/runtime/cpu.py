"""Two ways to run a small network faster on a CPU: one thread, and weights in half precision.

The third, TorchScript, is `runtime.torchscript`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on the calling thread alone; a context manager and a decorator.

    Torch's threads synchronise after every operation. For operations that take microseconds they
    gain little, and while another process uses a core, every synchronisation waits for that core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Fp16Linear(nn.Module):
    """A linear layer with weights in half precision that computes in single precision, on the CPU.

    With a few rows of input, a large layer takes as long as reading its weights takes. Half
    precision halves the bytes, and FBGEMM's kernels (Khudia et al., "FBGEMM: Enabling
    high-performance low-precision deep learning inference", 2021) read them in their own layout:
    together they take a quarter of the time on an x86 CPU. The layer can no longer be trained,
    saved or moved.

    Args:
        linear: on the CPU; weights beyond float16's range become its largest value.

    Attributes:
        packed: weights and bias in FBGEMM's layout.

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


def use_fp16_linear(network: nn.Module) -> tuple[int, int]:
    """Replace linear layers by `Fp16Linear` where that rounds nothing, if this CPU has the kernels.

    Weights that were saved as float16, like the shipped ones, stay as they are. A user's weights of
    higher precision stay exact, and their layers slower.

    Args:
        network: on the CPU and in evaluation mode; it is changed.

    Returns:
        How many linear layers were replaced, and how many stayed, because they would be rounded or
        because kernels are missing.
    """
    layers = [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if type(child) is nn.Linear
    ]
    try:
        Fp16Linear(nn.Linear(1, 1))
    except (RuntimeError, AttributeError):  # kernels, or the operation, are missing
        return 0, len(layers)
    exact = [
        (module, name, child)
        for module, name, child in layers
        if torch.equal(child.weight.half().to(child.weight.dtype), child.weight)
    ]
    for module, name, child in exact:
        setattr(module, name, Fp16Linear(child))
    return len(exact), len(layers) - len(exact)
