"""`cli models`: what exists, what it reads and gives, what a user must bring."""

from __future__ import annotations

from typing import NamedTuple

from stdformer_ros.models import MODELS
from stdformer_ros.models.keypoint_weights import SHIPPED


class _Family(NamedTuple):
    """Models that differ in size only.

    Attributes:
        prefix: of their names; the first family that fits counts.
        reads: of each person.
        gives: of each person.
        needs: files that cannot come with the package, as options of `cli run` and of the node.
    """

    prefix: str
    reads: str
    gives: str
    needs: tuple[str, ...] = ()


_MESH = ("checkpoint", "mesh_sampling")
_FAMILIES = (
    _Family("stdformer_s_keypoints", "8 frames of landmarks", "24 joints, mesh, SMPL-style pose"),
    _Family("stdformer_", "8 crops", "14 joints, SMPL's mesh", _MESH),
    _Family("fastmetro_", "crop", "14 joints, SMPL's mesh", _MESH),
    _Family("pointhmr_", "crop", "14 joints, SMPL's mesh", _MESH),
    _Family("sgre_", "crop and 2D joints", "SMPL's joints, mesh, pose", ("checkpoint", "smpl")),
    _Family("poseformer_", "frames of 17 keypoints", "17 joints", ("checkpoint",)),
    _Family("lstm_posenet_", "frames of 17 keypoints", "17 joints", ("checkpoint",)),
    _Family("simple_", "frames of 17 keypoints", "17 joints", ("checkpoint",)),
)
_HEADER = ("model", "reads", "gives", "needs")
_FOOTER = "Files to bring: docs/official_weights.md."


def needs(name: str) -> tuple[str, ...]:
    """Names of the files that a model needs from the user."""
    return () if name in SHIPPED else _family(name).needs


def model_table() -> str:
    """A line for each model."""
    rows = [_HEADER]
    for name in MODELS:
        family = _family(name)
        brought = ", ".join(needs(name)) or "nothing: its weights ship"
        rows.append((name, family.reads, family.gives, brought))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", _FOOTER])


def _family(name: str) -> _Family:
    return next(family for family in _FAMILIES if name.startswith(family.prefix))
