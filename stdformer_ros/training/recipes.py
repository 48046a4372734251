"""How each network is trained unless the user says otherwise.

`PUBLISHED` are the published schedules. Those of PoseFormer (zczcwh/PoseFormer) and of the PoseNets
count epochs of Human3.6M: 1,559,752 frames of the five training subjects, each mirrored too, 512 at
a time, are 6,093 steps. That of STDFormer and FastMETRO is the one of STDFormer's training code,
whose 600 epochs of 3DPW are 105,600 steps. They take no moving average and do not warm up.

`SHIPPED` are the small causal networks whose weights come with this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from stdformer_ros.training.loop import Schedule, constant, exponential

EPOCH = 6093
DECAY = 0.99
"""Of the learning rate from one epoch of Human3.6M to the next."""


@dataclass(frozen=True)
class Recipe:
    """How to train one network.

    Attributes:
        schedule: see there.
        options: of `create_model`, for networks of other sizes than the published.
        answers: neighbouring windows in each sequence of a batch.
        precision: see `precision_of`.
    """

    schedule: Schedule
    options: Mapping[str, int] = field(default_factory=dict)
    answers: int = 1
    precision: str = "auto"


def _by_epochs(epochs: int, learning_rate: float, weight_decay: float) -> Recipe:
    return Recipe(
        Schedule(
            steps=epochs * EPOCH,
            sequences=512,
            learning_rate=learning_rate,
            warmup=0,
            weight_decay=weight_decay,
            gradient_clip=inf,
            ema_decay=0.0,
            report_every=EPOCH,
            fall=exponential(DECAY**epochs),
        )
    )


_MESH = Recipe(
    Schedule(
        steps=105_600,
        sequences=16,
        learning_rate=1e-4,
        warmup=0,
        weight_decay=1e-4,
        gradient_clip=0.3,
        ema_decay=0.0,
        report_every=176,
        fall=constant,
    )
)
_POSENET = _by_epochs(15, 1e-3, 0.0)

PUBLISHED: dict[str, Recipe] = {
    **{f"stdformer_{size}": _MESH for size in "SML"},
    **{f"fastmetro_{size}_hrnet_w64": _MESH for size in "SML"},
    "fastmetro_S_resnet50": _MESH,
    **{f"poseformer_{frames}": _by_epochs(200, 1e-4, 0.1) for frames in (9, 27, 81)},
    "lstm_posenet_81": _POSENET,
    "simple_posenet_81": _POSENET,
    "simple_transformer_posenet_81": _POSENET,
}

SHIPPED: dict[str, Recipe] = {
    "poseformer_27": Recipe(
        Schedule(steps=3400, sequences=8, learning_rate=1.5e-3, report_every=200),
        options={"future_frames": 0, "joint_channels": 8},
        answers=4,
        precision="float32",
    ),
    "lstm_posenet_81": Recipe(
        Schedule(steps=2900, sequences=32, learning_rate=1e-3, report_every=200),
        options={"future_frames": 0},
        answers=54,
    ),
}

RECIPES = {"published": PUBLISHED, "shipped": SHIPPED}


def recipe_of(model: str, name: str) -> Recipe:
    """The recipe of that name for a model.

    Raises:
        ValueError: if there is none.
    """
    recipes = RECIPES[name]
    if model not in recipes:
        raise ValueError(
            f"there is no {name} recipe for {model!r}; there is one for {', '.join(recipes)}"
        )
    return recipes[model]
