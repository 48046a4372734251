"""What a state dict tells of the network it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class AttentionGroup:
    """The six parameters of one `DisentanglingModule`, whatever they are called.

    Attributes:
        channels: n, the channels of its groups.
        names: the role of each parameter to its name.
    """

    channels: int
    names: dict[str, str]


def attention_groups(state: Mapping[str, Tensor]) -> list[AttentionGroup]:
    """Every SD or TD among the entries, found by shape.

    One has a 1x1 and a 3x3 convolution from n to n channels with biases and a normalisation of n
    channels, all three side by side.

    Args:
        state: named tensors.

    Returns:
        The complete groups, in the order of their names.
    """
    layers: dict[str, dict[str, dict[str, Tensor]]] = {}
    for name, value in state.items():
        parts = name.rsplit(".", 2)
        if len(parts) >= 2 and parts[-1] in ("weight", "bias"):
            parent, layer = (parts[0], parts[1]) if len(parts) == 3 else ("", parts[0])
            layers.setdefault(parent, {}).setdefault(layer, {})[parts[-1]] = value
    groups = (_group(parent, layers[parent]) for parent in sorted(layers))
    return [group for group in groups if group is not None]


def _group(parent: str, layers: Mapping[str, Mapping[str, Tensor]]) -> AttentionGroup | None:
    """The attention whose layers these are, if they are."""
    shapes = {
        layer: tuple(values["weight"].shape)
        for layer, values in layers.items()
        if set(values) == {"weight", "bias"}
    }
    if len(layers) != 3 or len(shapes) != 3:
        return None
    n = next(iter(shapes.values()))[0] if all(shapes.values()) else 0
    roles: dict[Shape, str] = {(n,): "norm", (n, n, 1, 1): "conv1x1", (n, n, 3, 3): "conv3x3"}
    if set(shapes.values()) != set(roles):
        return None
    prefix = f"{parent}." if parent else ""
    names = {
        f"{roles[shape]}.{kind}": f"{prefix}{layer}.{kind}"
        for layer, shape in shapes.items()
        for kind in ("weight", "bias")
    }
    return AttentionGroup(n, names)


def recognise(state: Mapping[str, Tensor]) -> str | None:
    """The system that has parameters of such names, in words, or None."""
    if any(name.startswith("window_encoder.") for name in state):
        return "STDFormer on keypoints (stdformer_s_keypoints)"
    if any(name.startswith("transformer_1.decoder.") for name in state):
        return _recognise_fastmetro(state)
    if any(name.startswith("heatmap_layer.") for name in state):
        return "PointHMR"
    if any(name.startswith("rotation_net.") for name in state):
        return "SGRE"
    if "Temporal_pos_embed" in state:
        return f"PoseFormer of {state['Temporal_pos_embed'].shape[1]} frames"
    if "lstm.weight_ih_l0" in state:
        return "LSTM_PoseNet"
    if any(name.startswith("transformer_encoder.layers.") for name in state):
        return "SimpleTransformerPoseNet"
    if "fc1.weight" in state and "fc2.weight" in state:
        return f"SimplePoseNet of {state['fc1.weight'].shape[1] // 34} frames"
    if any(name.startswith("stage4.") for name in state):
        return "an HRNet backbone on its own"
    if any(name.startswith("layer4.") for name in state):
        return "a ResNet backbone on its own"
    return None


def _recognise_fastmetro(state: Mapping[str, Tensor]) -> str:
    """FastMETRO or STDFormer, its size and backbone."""
    system = "STDFormer" if attention_groups(state) else "FastMETRO"
    layers = {
        m[1] for name in state if (m := re.match(r"transformer_1\.decoder\.layers\.(\d+)", name))
    }
    size = {1: "S", 2: "M", 3: "L"}.get(len(layers), f"of {len(layers)} layers")
    finest = state.get("backbone.stage2.0.branches.0.0.conv1.weight")
    backbone = f"HRNet-W{finest.shape[0]}" if finest is not None else "ResNet"
    return f"{system}-{size} on {backbone}"
