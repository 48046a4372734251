"""A network without Python between its operations, for a CPU.

A small network is thousands of short operations, and between any two of them Python takes longer
than many of them do. Recorded once by torch's tracer, the same operations run one after the other
by themselves, with the same results.

Torch keeps every record until the process ends. So there is one for all networks of one structure,
without weights, and each network plays a copy that holds its own.
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

from stdformer_ros.models.runtime.fp16_linear import HalfLinear

Answer = tuple[Tensor, ...]
Network = Callable[..., Answer]

RECORDED_BATCH, CHECKED_BATCHES = 2, (1, 3)
"""People that a network is recorded with, and others with whom it is then tried."""

_records: dict[Hashable, Any] = {}
_log = logging.getLogger(__name__)


def recorded(network: nn.Module, example: Callable[[int], Answer]) -> Network:
    """The network's operations, or the network where they cannot be recorded, which the log says.

    Args:
        network: on the CPU and in evaluation mode, from tensors to a tuple of tensors. Its weights
            are shared, so that they may change, but not be moved or replaced.
        example: inputs for so many people.
    """
    try:
        with torch.no_grad():
            structure = _structure(network)
            if structure not in _records:
                _records[structure] = _recorded_without_weights(network, example(RECORDED_BATCH))
            playing = _Playing(_with_weights_of(network, deepcopy(_records[structure])))
            for batch in CHECKED_BATCHES:
                _require_equal(network, playing, example(batch))
    except (RuntimeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        _log.warning("%s runs step by step, slower: %s", type(network).__name__, reason)
        return network
    return playing


class _Playing:
    """Calls a record as it is: to optimise it for each new size takes torch longer than it gains,
    and would come whenever somebody enters the image.
    """

    def __init__(self, record: Network) -> None:
        self._record = record

    def __call__(self, *inputs: Tensor) -> Answer:
        with torch.jit.optimized_execution(False):
            return self._record(*inputs)


def _recorded_without_weights(network: nn.Module, inputs: Answer) -> Any:
    with warnings.catch_warnings():
        # torch calls its tracer old, and warns of everything that does not depend on inputs.
        for category in (torch.jit.TracerWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        record = torch.jit.trace(network, inputs, check_trace=False)
    for place, name, weight in _weights(network, record):
        nothing = (
            torch.empty(0) if isinstance(weight, Tensor) else HalfLinear(nn.Linear(1, 1)).packed
        )
        setattr(place, name, nothing)
    return record


def _with_weights_of(network: nn.Module, record: Any) -> Any:
    for place, name, weight in _weights(network, record):
        setattr(place, name, weight)
    return record


def _weights(network: nn.Module, record: Any) -> list[tuple[Any, str, Any]]:
    """What a network holds: the place in its record, the name there, and the weight."""
    found = []
    for path, module in network.named_modules():
        place = reduce(getattr, path.split("."), record) if path else record
        held = {**module._parameters, **module._buffers}
        if isinstance(module, HalfLinear):
            held["packed"] = module.packed
        found += [(place, name, weight) for name, weight in held.items() if weight is not None]
    return found


def _structure(network: nn.Module) -> Hashable:
    """What networks have in common that do the same with other weights."""
    modules = tuple((path, type(module)) for path, module in network.named_modules())
    held = [*network.named_parameters(), *network.named_buffers()]
    return modules, tuple((path, tuple(tensor.shape)) for path, tensor in held)


def _require_equal(network: nn.Module, playing: Network, inputs: Answer) -> None:
    """See that a record holds for other numbers of people than it was made with.

    Raises:
        RuntimeError: if it does not.
    """
    pairs = zip(network(*inputs), playing(*inputs), strict=True)
    if not all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in pairs):
        raise RuntimeError("its record answers otherwise than it does")
