"""Write weights as they ship: safetensors, half precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import nn


def export_weights(model: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Save a model's state, floats in half precision, and what the file says of itself."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.clone() for name, value in state.items()}
    save_file(tensors, path, None if metadata is None else dict(metadata))
