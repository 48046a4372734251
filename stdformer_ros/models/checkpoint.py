"""Loads weights from files into a network, without running code that a file names.

It accepts safetensors files and torch checkpoints (read with `weights_only=True`), with the names
of the published networks' parameters. The whole checkpoint is checked before any weight changes.

Order: `load_checkpoint`, reading a file, matching its names with the network's, checking them, the
log, and recognising a system by the names and shapes of its weights.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from stdformer_ros.downloads import reason, reason_to_refuse

WRAPPERS = (
    *("network", "model_pos", "model", "state_dict", "model_state_dict", "gen_state_dict"),
    *("net", "module", "params", "weights", "ema", "model_ema"),
)
"""Keys under which training code puts the weights; if there are several, the first one counts."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What `nn.DataParallel`, `torch.compile`, and modules around the network put before every name."""
COMPILED = "_orig_mod."
"""What `torch.compile` puts into the names of a part that was compiled alone."""
COMPUTED = ("num_batches_tracked", "permanent_pe")
"""Ends of the names of entries that are computed, not trained; older files lack them."""
TRAINING_STATE = (
    "argparse.Namespace",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.random.__RandomState_ctor",
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__bit_generator_ctor",
    "numpy.random._mt19937.MT19937",
)
"""Types that published files hold beside the weights (settings, random states); ignored."""
SHOWN = 5
"""Largest number of names that an error lists."""

log = logging.getLogger(__name__)

Shape = tuple[int, ...]


class CheckpointError(ValueError):
    """A file is not an intact checkpoint, or its weights are not those of this network."""


@dataclass(frozen=True)
class CheckpointReport:
    """How a checkpoint's entries were used.

    Attributes:
        matched: the network's names that got a value.
        renamed: name in the file to name in the network, for entries that were matched by shape.
        missing: the network's names that got no value; only entries that are computed, not trained.
        unexpected: names in the file that the network does not have.
    """

    matched: tuple[str, ...]
    renamed: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def load_checkpoint(model: nn.Module, source: str | Path | Mapping[str, Any]) -> CheckpointReport:
    """Load trained weights into a network.

    Names may carry `PREFIXES`, and the weights may lie in dicts under `WRAPPERS`. The names of SD
    and TD were never published, so those are matched by their shapes.

    Args:
        model: its weights are set in place, or not changed at all if anything is wrong.
        source: path of a `.safetensors` file or a torch checkpoint, or a state dict.

    Returns:
        How the entries were used; it is logged, too.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is broken, names code, or belongs to another network.
    """
    if isinstance(source, Mapping):
        content, where = source, "the state dict"
    else:
        content, where = _read(Path(source)), str(source)
    expected = model.state_dict()
    weights = _without_prefixes(_unwrap(content, where), expected, where)
    renamed = _match_attention(weights, expected)
    named = {renamed.get(name, name): value for name, value in weights.items()}
    report = CheckpointReport(
        matched=tuple(n for n in expected if n in named),
        renamed=renamed,
        missing=tuple(n for n in expected if n not in named),
        unexpected=tuple(n for n in weights if renamed.get(n, n) not in expected),
    )
    _check(report, named, weights, expected, where)
    model.load_state_dict({name: named[name] for name in report.matched}, strict=False)
    _log(report, where)
    return report


def _read(path: Path) -> Mapping[str, Any]:
    """The content of a file, whatever kind of checkpoint it is."""
    if refusal := reason_to_refuse(path):
        raise CheckpointError(refusal)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        if path.suffix == ".safetensors" or _is_safetensors(path):
            return safetensors.torch.load_file(path)
        stand_ins: list[Any] = [(_TrainingState, name) for name in TRAINING_STATE]
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{path} was refused, because it names {refused[1]}; a checkpoint holds tensors only. "
            "If a whole network was saved, save its state_dict() instead, where it was made"
            if refused
            else f"{path} is not an intact checkpoint: {reason(error)}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a broken file can raise nearly anything
        raise CheckpointError(
            f"{path} is not an intact checkpoint (truncated, or of another kind): {reason(error)}"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__} instead of named weights")
    return content


class _TrainingState:
    """Stand-in for an ignored object: it accepts any arguments, stores and does nothing."""

    def __new__(cls, *arguments: Any) -> _TrainingState:
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        """Take anything."""

    def __setstate__(self, state: Any) -> None:
        """Take anything."""


def _is_safetensors(path: Path) -> bool:
    """Whether the file begins as such files do: the length of a JSON header, and its brace."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _unwrap(content: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    """The named tensors, out of the dicts that training code wraps around them."""
    inner: Any = content
    while wrappers := [w for w in WRAPPERS if isinstance(inner.get(w), Mapping) and inner[w]]:
        if len(wrappers) > 1:
            others = ", ".join(wrappers[1:])
            log.warning("%s: weights are taken from %r, not from %s", where, wrappers[0], others)
        inner = inner[wrappers[0]]
    weights = {
        name: value
        for name, value in inner.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not weights:
        raise CheckpointError(
            f"{where} holds no named weights, neither at its top nor under one of "
            f"{', '.join(WRAPPERS)}; it holds {_some(map(str, content)) or 'nothing'}"
        )
    return weights


def _without_prefixes(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """Takes off the prefixes that most names have and the network's names have not."""
    while True:
        prefix = next(
            (
                p
                for p in PREFIXES
                if 2 * sum(name.startswith(p) for name in weights) > len(weights)
                and not any(name.startswith(p) for name in expected)
            ),
            None,
        )
        if prefix is None and not any(COMPILED in name for name in weights):
            return weights
        bare = {
            name.removeprefix(prefix or "").replace(COMPILED, ""): value
            for name, value in weights.items()
        }
        if len(bare) < len(weights):
            raise CheckpointError(
                f"{where} holds the same weights twice, with and without {prefix or COMPILED!r}"
            )
        weights = bare


def _match_attention(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, str]:
    """Names in the file to names in the network, for an SD and TD with unknown names."""
    unknown = attention_groups({k: v for k, v in weights.items() if k not in expected})
    wanted = attention_groups({k: v for k, v in expected.items() if k not in weights})
    renamed: dict[str, str] = {}
    for group in wanted:
        fitting = [g for g in unknown if g.channels == group.channels]
        rivals = [g for g in wanted if g.channels == group.channels]
        if len(fitting) == len(rivals) == 1:  # else shapes cannot tell which is which
            names = group.names
            renamed |= {fitting[0].names[part]: names[part] for part in names}
    return renamed


def _check(
    report: CheckpointReport,
    named: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    where: str,
) -> None:
    """Refuse a file that lacks weights of the network, or whose SD and TD would not be used."""
    missing = [n for n in report.missing if not n.endswith(COMPUTED)]
    misshapen = [
        f"{n} is {tuple(named[n].shape)} instead of {tuple(expected[n].shape)}"
        for n in report.matched
        if named[n].shape != expected[n].shape
    ]
    problems = []
    if missing:
        problems.append(f"it lacks {len(missing)} of {len(expected)} entries: {_some(missing)}")
    if misshapen:
        problems.append(f"{len(misshapen)} entries have another shape: {_some(misshapen)}")
    unused = attention_groups({n: weights[n] for n in report.unexpected})
    if unused:
        problems.append(
            "the network lacks the SD and TD of the file: "
            f"{_some(name for group in unused for name in group.names.values())}"
        )
    if problems:
        if report.unexpected and not unused:
            problems.append(
                f"{len(report.unexpected)} entries are unknown: {_some(report.unexpected)}"
            )
        looks, wants = recognise(weights), recognise(expected)
        raise CheckpointError(
            f"{where} does not fit the network: {'; '.join(problems)}. It looks like "
            f"{looks or 'no system known here'}; the network is {wants or 'of no known system'}"
            f"{_advice(missing)}"
        )
    broken = [n for n in report.matched if not named[n].isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{where} holds values that are not finite, in {len(broken)} entries: {_some(broken)}"
        )


def _advice(missing: list[str]) -> str:
    if missing and all(n.startswith("smpl_parameter_regressor.") for n in missing):
        return ". For weights without the regressor, create it with smpl_regressor=False"
    return ""


def _some(names: Iterable[str]) -> str:
    """The first few names."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _log(report: CheckpointReport, where: str) -> None:
    log.info("%s: %d entries matched", where, len(report.matched))
    if report.renamed:
        pairs = (f"{theirs} -> {ours}" for theirs, ours in report.renamed.items())
        log.info("%s: SD and TD matched by shape: %s", where, ", ".join(pairs))
    if report.missing:
        log.info("%s: missing, computed here: %s", where, _some(report.missing))
    if report.unexpected:
        log.warning(
            "%s: %d entries unexpected and not used: %s",
            where,
            len(report.unexpected),
            _some(report.unexpected),
        )


@dataclass(frozen=True)
class AttentionGroup:
    """The six parameters of one `DisentanglingModule`, whatever they are called.

    Attributes:
        channels: n, the channels of its groups.
        names: from the role of each parameter to its name.
    """

    channels: int
    names: dict[str, str]


def attention_groups(state: Mapping[str, Tensor]) -> list[AttentionGroup]:
    """Every SD and TD among the entries, found by shape.

    Each has a 1x1 and a 3x3 convolution from n to n channels with biases and a normalisation of n
    channels, all three in one module.

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
    """The SD or TD that consists of these layers, or None."""
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
    """The system whose parameters have such names, in words, or None."""
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
