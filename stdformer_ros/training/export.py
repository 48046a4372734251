"""Write weights as they ship: safetensors, half precision."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import nn


def export_weights(model: nn.Module, path: Path) -> None:
    """Save a model's state, floats in half precision."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.clone() for name, value in state.items()}, path)
