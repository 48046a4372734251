"""Weights from files, without running what the files name.

Accepted are safetensors files and torch checkpoints (read with `weights_only=True`), with the names
that the published networks give. A checkpoint is looked at as a whole before any weight changes.
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

from stdformer_ros.models.recognition import attention_groups, recognise

WRAPPERS = ("network", "model_pos", "model", "state_dict")
"""Under which keys published training code puts the weights."""
PARALLEL_PREFIX = "module."
"""What `nn.DataParallel` puts before every name."""
COMPUTED = ("num_batches_tracked", "permanent_pe")
"""Last parts of names whose values do not come from training; older files lack them."""
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
"""What published files hold beside the weights (settings, random states); it is read over."""
SHOWN = 5
"""How many names an error lists."""

log = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A file that is no intact checkpoint, or not one of this network."""


@dataclass(frozen=True)
class CheckpointReport:
    """What became of a checkpoint's entries.

    Attributes:
        matched: the network's names that got a value.
        renamed: name in the file to name in the network, for what was matched by shape.
        missing: the network's names that got none; only such as are computed, not trained.
        unexpected: names of the file that the network has no use for.
    """

    matched: tuple[str, ...]
    renamed: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def load_checkpoint(model: nn.Module, source: str | Path | Mapping[str, Any]) -> CheckpointReport:
    """Fill a network with trained weights.

    Names may carry the prefix `module.`, and the weights may lie in a dict under one of
    `WRAPPERS`. The names of SD and TD were never published, so those are matched by their shapes.

    Args:
        model: filled in place, or left as it is if anything is wrong.
        source: path of a `.safetensors` file or a torch checkpoint, or a state dict.

    Returns:
        What was matched; the log says it too.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is broken, names code, or belongs to another network.
    """
    if isinstance(source, Mapping):
        content, where = source, "the state dict"
    else:
        content, where = _read(Path(source)), str(source)
    weights = _without_prefix(_unwrap(content, where))
    expected = model.state_dict()
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
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        stand_ins: list[Any] = [(_TrainingState, name) for name in TRAINING_STATE]
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{path} was refused, because it names {refused[1]}; a checkpoint holds tensors only. "
            "Of a network that was saved as a whole, save its state_dict() where it was made"
            if refused
            else f"{path} is not an intact checkpoint: {str(error).splitlines()[0]}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a broken file can raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is not an intact checkpoint (truncated, or of another kind): {reason}"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__} instead of named weights")
    return content


class _TrainingState:
    """Stands for what is read over: it takes anything, keeps nothing and does nothing."""

    def __new__(cls, *arguments: Any) -> _TrainingState:
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        """Take anything."""

    def __setstate__(self, state: Any) -> None:
        """Take anything."""


def _unwrap(content: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    """The named tensors, out of the dicts that training code wraps around them."""
    inner: Any = content
    while isinstance(inner, Mapping) and not any(isinstance(v, Tensor) for v in inner.values()):
        wrapper = next((w for w in WRAPPERS if isinstance(inner.get(w), Mapping)), None)
        if wrapper is None:
            break
        inner = inner[wrapper]
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


def _without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PARALLEL_PREFIX): value for name, value in weights.items()}


def _match_attention(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, str]:
    """Names in the file to names in the network, for SD and TD under names of their own."""
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
    """Refuse what would leave the network half filled, or would leave out half of the file."""
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
            "the network has no place for its SD and TD: "
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
