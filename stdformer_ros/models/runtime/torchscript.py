"""A small network as TorchScript, without Python between its operations, on a CPU.

A small network is thousands of short operations, and the time that Python takes between two of them
is longer than many of the operations. Traced once by `torch.jit.trace`, the same operations run one
after the other without Python, with the same results.

Torch keeps every trace until the process ends. So all networks of one structure share one trace
without weights, and each network runs a copy of it that holds the network's own weights.

Torch calls its tracer deprecated, but nothing else is as fast and as exact here. Milliseconds for
the default estimator's decode of 1 and of 4 people, and the largest difference of joints and
vertices in metres (torch 2.13, OpenVINO 2026.4, one thread on a busy x86 machine with 2 cores;
medians of 100 calls, all variants called in turn in one process):

| variant                             | 1 person | 4 people | difference      |
| ----------------------------------- | -------- | -------- | --------------- |
| `torch.jit.trace`, `Fp16Linear`     | 12.9     | 25.9     | 0               |
| no trace, `Fp16Linear`              | 18.4     | 34.2     | (the reference) |
| `torch.export`, float32 weights     | 26.8     | 49.2     | 4e-6            |
| OpenVINO, any number of people      | 24.2     | 42.5     | 1.3e-5          |
| OpenVINO, a fixed number of people  | 13.7     | 31.4     | 1.2e-5          |
| the same, weights in half precision | 14.1     | 27.9     | 5e-3            |

`torch.export` cannot take `Fp16Linear`, whose weights are a TorchScript object. OpenVINO converts
neither `linalg.solve` nor `diag_embed` (for the measurement both were written out), takes 10 s to
convert, and would need a model for each number of people.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable
from copy import deepcopy
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from stdformer_ros.models.runtime.cpu import Fp16Linear

Tensors = tuple[Tensor, ...]
TensorFunction = Callable[..., Tensors]

TRACED_BATCH, CHECKED_BATCHES = 2, (1, 3)
"""Batch size with which a network is traced, and those with which the trace is then checked."""

_traces: dict[Hashable, Any] = {}
_log = logging.getLogger(__name__)


def torchscript(network: nn.Module, example: Callable[[int], Tensors]) -> TensorFunction:
    """The network as TorchScript; with a warning the network itself, if it cannot be traced.

    Args:
        network: on the CPU and in evaluation mode, from tensors to a tuple of tensors. The
            TorchScript shares its weights: they may change, but not be moved or replaced.
        example: makes the inputs for a given number of people.
    """
    try:
        with torch.no_grad():
            structure = _structure(network)
            if structure not in _traces:
                _traces[structure] = _trace_without_weights(network, example(TRACED_BATCH))
            scripted = _TorchScript(_with_weights_of(network, deepcopy(_traces[structure])))
            for batch in CHECKED_BATCHES:
                _require_equal(network, scripted, example(batch))
    except (RuntimeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        _log.warning("%s runs without TorchScript, slower: %s", type(network).__name__, reason)
        return network
    return scripted


class _TorchScript:
    """Runs a trace without optimising it.

    Torch would optimise it again for each new number of people, which takes longer than it gains
    and would happen whenever somebody enters the image.
    """

    def __init__(self, trace: TensorFunction) -> None:
        self._trace = trace

    def __call__(self, *inputs: Tensor) -> Tensors:
        with torch.jit.optimized_execution(False):
            return self._trace(*inputs)


def _trace_without_weights(network: nn.Module, inputs: Tensors) -> Any:
    with warnings.catch_warnings():
        # See the top of the file. The tracer also warns of values that do not depend on the inputs.
        for category in (torch.jit.TracerWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        trace = torch.jit.trace(network, inputs, check_trace=False)
    for owner, name, weight in _weights(network, trace):
        placeholder = (
            torch.empty(0) if isinstance(weight, Tensor) else Fp16Linear(nn.Linear(1, 1)).packed
        )
        setattr(owner, name, placeholder)
    return trace


def _with_weights_of(network: nn.Module, trace: Any) -> Any:
    for owner, name, weight in _weights(network, trace):
        setattr(owner, name, weight)
    return trace


def _weights(network: nn.Module, trace: Any) -> list[tuple[Any, str, Any]]:
    """For each weight: the module of the trace that holds it, its name there, and the weight."""
    found = []
    for path, module in network.named_modules():
        owner = reduce(getattr, path.split("."), trace) if path else trace
        held = {**module._parameters, **module._buffers}
        if isinstance(module, Fp16Linear):
            held["packed"] = module.packed
        found += [(owner, name, weight) for name, weight in held.items() if weight is not None]
    return found


def _structure(network: nn.Module) -> Hashable:
    """Modules and shapes: networks that have these in common differ in their weights only."""
    modules = tuple((path, type(module)) for path, module in network.named_modules())
    held = [*network.named_parameters(), *network.named_buffers()]
    return modules, tuple((path, tuple(tensor.shape)) for path, tensor in held)


def _require_equal(network: nn.Module, scripted: TensorFunction, inputs: Tensors) -> None:
    """Check that a trace gives the network's results for another number of people.

    Raises:
        RuntimeError: if it does not.
    """
    pairs = zip(network(*inputs), scripted(*inputs), strict=True)
    if not all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in pairs):
        raise RuntimeError("its trace gives other results than the network")
