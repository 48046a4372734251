"""Runs a function of tensors as CUDA graphs: one call starts hundreds of kernels."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from stdformer_ros.models.estimator import Features

_log = logging.getLogger(__name__)

BATCHES = (1, 2, 4, 8, 16, 32)
"""A graph is for one exact batch size; with these sizes there is little padding and few graphs."""


class CudaGraphs:
    """Calls a function on batches of few sizes, on a GPU by replaying a captured graph.

    Batches are padded to the next size by repeating their last row, so each row of the function's
    result must depend only on the same row of its input. Batches larger than all sizes are passed
    on unchanged, without a graph. On a CPU there is the same padding, but no graph.

    Args:
        function: from named tensors (B, ...) to named tensors (B, ...); names, types and shapes,
            except for B, are the same in every call. It must not wait for the device.
    """

    def __init__(self, function: Callable[[Features], Features]) -> None:
        self._function = function
        self._graphs: dict[int, _CapturedGraph] = {}
        self._can_capture = True

    def __call__(self, inputs: Features) -> Features:
        """The function's result, in tensors that later calls do not overwrite."""
        people = len(next(iter(inputs.values())))
        size = next((size for size in BATCHES if size >= people), None)
        if size is None:
            return self._function(inputs)
        padded = {name: _padded(tensor, size) for name, tensor in inputs.items()}
        if next(iter(inputs.values())).device.type == "cuda" and self._can_capture:
            self._capture(size, padded)
        if size not in self._graphs:
            return {name: tensor[:people] for name, tensor in self._function(padded).items()}
        result = self._graphs[size].replay(padded)
        # The next replay writes to the same memory.
        return {name: tensor[:people].clone() for name, tensor in result.items()}

    def forget(self) -> None:
        """Drop all graphs; call it before the tensors that they read are moved in memory."""
        self._graphs.clear()

    def _capture(self, size: int, example: Features) -> None:
        if size in self._graphs:
            return
        try:
            self._graphs[size] = _CapturedGraph(self._function, example)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # an operation that this torch or driver cannot capture
            self._can_capture = False
            _log.warning("no CUDA graph, kernels are started one by one: %s", error)


class _CapturedGraph:
    """A CUDA graph with its inputs and outputs, whose addresses in memory are fixed."""

    def __init__(self, function: Callable[[Features], Features], example: Features) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in example.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries choose their kernels before the capture
            for _ in range(3):
                function(self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(self._inputs)

    def replay(self, inputs: Features) -> Features:
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor)
        self._graph.replay()
        return self._outputs


def _padded(tensor: Tensor, size: int) -> Tensor:
    """The tensor with `size` rows, the last of its own repeated."""
    missing = size - len(tensor)
    if not missing:
        return tensor
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])
