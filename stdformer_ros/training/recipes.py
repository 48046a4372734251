"""The recipes: how each network is trained by default.

`PUBLISHED` are the published schedules, without moving average and warm-up. Those of PoseFormer
(zczcwh/PoseFormer) and of the PoseNets count epochs of Human3.6M: 1,559,752 frames of the five
training subjects, each also mirrored, in batches of 512, are 6,093 steps. That of STDFormer and
FastMETRO is from STDFormer's training code, whose 600 epochs of 3DPW are 105,600 steps.

`SHIPPED` are the small causal keypoint networks whose weights come with this package;
`WINDOW_ENCODER` and `REFINER` are the two stages of the default network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from stdformer_ros.training.loop import Schedule, constant, exponential

EPOCH = 6093
DECAY = 0.99
"""Factor on the learning rate from one epoch of Human3.6M to the next."""


@dataclass(frozen=True)
class Recipe:
    """How to train one network.

    Attributes:
        schedule: how long and with which learning rates.
        options: of `create_model`, for networks whose size is not the published one.
        answers: number of consecutive frames of each sequence that the network answers for.
        precision: name for `precision_of`.
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
            decay=exponential(DECAY**epochs),
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
        decay=constant,
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

WINDOW_ENCODER = Schedule(
    steps=26000, sequences=320, learning_rate=1e-3, gradient_clip=3.0, report_every=500
)
REFINER = Schedule(steps=200, sequences=64, learning_rate=1e-3, warmup=50, report_every=50)

RECIPES = {"published": PUBLISHED, "shipped": SHIPPED}


def recipe_of(model: str, name: str) -> Recipe:
    """The recipe with a name, "published" or "shipped", for a model.

    Raises:
        ValueError: if there is none.
    """
    recipes = RECIPES[name]
    if model not in recipes:
        raise ValueError(
            f"there is no {name} recipe for {model!r}; there is one for {', '.join(recipes)}"
        )
    return recipes[model]
