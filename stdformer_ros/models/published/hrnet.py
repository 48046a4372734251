"""HRNet (Wang et al., TPAMI 2020): branches of four resolutions that exchange features.

`HRNet` is the trunk, as PointHMR uses it in width 32 (the pose variant without its head);
`HRNetClassification` adds the head that gathers all branches into 2048 channels, as FastMETRO and
STDFormer use it in width 64. Names of parameters are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from stdformer_ros.models.published.resnet import (
    BasicBlock,
    Bottleneck,
    conv_norm,
    initialise_convolutions,
    residual_layer,
)

STEM_CHANNELS = 64
HEAD_CHANNELS = (32, 64, 128, 256)
"""Channels inside the head's bottlenecks, whose outputs have four times as many."""


class HRNet(nn.Module):
    """The trunk: a stem to a quarter of the size, then stages of 1, 2, 3 and 4 branches.

    Args:
        width: channels w of the finest branch; the others have 2 w, 4 w and 8 w.

    Attributes:
        widths: channels of the four branches.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widths = tuple(width * 2**i for i in range(4))
        self.conv1, self.bn1 = conv_norm(3, STEM_CHANNELS, 3, stride=2)
        self.conv2, self.bn2 = conv_norm(STEM_CHANNELS, STEM_CHANNELS, 3, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = residual_layer(Bottleneck, STEM_CHANNELS, 64, blocks=4)
        self.transition1 = _transition([64 * Bottleneck.expansion], self.widths[:2])
        self.stage2 = _stage(self.widths[:2], modules=1)
        self.transition2 = _transition(self.widths[:2], self.widths[:3])
        self.stage3 = _stage(self.widths[:3], modules=4)
        self.transition3 = _transition(self.widths[:3], self.widths)
        self.stage4 = _stage(self.widths, modules=3)
        initialise_convolutions(self)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The four branches.

        Args:
            images: (B, 3, H, W), normalised; H and W are multiples of 32.

        Returns:
            (B, w, H / 4, W / 4), (B, 2 w, H / 8, W / 8), ... down to H / 32.
        """
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        stages = (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        )
        for transition, stage in stages:
            # A new branch starts from the coarsest existing one.
            branches = [*branches, branches[-1]]
            branches = stage([t(x) for t, x in zip(transition, branches, strict=True)])
        return branches

    def forward(self, images: Tensor) -> list[Tensor]:
        """See `maps`."""
        return self.maps(images)


class HRNetClassification(HRNet):
    """The trunk and the head that joins the branches, fine to coarse, at 1/32 of the size.

    The classifier is never used, but belongs to the published checkpoints.

    Args:
        width: see `HRNet`.

    Attributes:
        map_channels: number of channels of the finest map, on which STDFormer's SD and TD act.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__(width)
        self.map_channels = width
        outputs = [channels * Bottleneck.expansion for channels in HEAD_CHANNELS]
        self.incre_modules = nn.ModuleList(
            residual_layer(Bottleneck, w, channels, blocks=1)
            for w, channels in zip(self.widths, HEAD_CHANNELS, strict=True)
        )
        self.downsamp_modules = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
                nn.BatchNorm2d(coarse),
                nn.ReLU(inplace=True),
            )
            for fine, coarse in pairwise(outputs)
        )
        self.final_layer = nn.Sequential(
            nn.Conv2d(outputs[-1], 2048, 1), nn.BatchNorm2d(2048), nn.ReLU(inplace=True)
        )
        self.classifier = nn.Linear(2048, 1000)
        for head in (self.incre_modules, self.downsamp_modules, self.final_layer):
            initialise_convolutions(head)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Join the branches that `maps` gives, without changing them: (B, 2048, H / 32, W / 32)."""
        first, *others = (
            increase(branch) for increase, branch in zip(self.incre_modules, maps, strict=True)
        )
        x = first
        for down, branch in zip(self.downsamp_modules, others, strict=True):
            x = branch + down(x)
        return self.final_layer(x)

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """(B, 3, H, W) -> (B, 2048, H / 32, W / 32)."""
        return self.features(self.maps(images))


class HighResolutionModule(nn.Module):
    """Four residual blocks in each branch, then every branch receives the sum of all.

    Args:
        widths: channels of the branches, fine to coarse.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(residual_layer(BasicBlock, w, w, blocks=4) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_resample(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Maps of all branches to maps of the same shapes."""
        branches = [layer(x) for layer, x in zip(self.branches, branches, strict=True)]
        fuse_layers = cast("list[nn.ModuleList]", self.fuse_layers)
        return [
            self.relu(sum(layer(x) for layer, x in zip(layers, branches, strict=True)))
            for layers in fuse_layers
        ]


def _resample(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Layers that bring a map of one branch to the size and channels of another."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            *conv_norm(widths[source], widths[target], 1),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    *halvings, last = [widths[source]] * (target - source - 1) + [widths[target]]
    steps = [
        nn.Sequential(*conv_norm(widths[source], w, 3, stride=2), nn.ReLU(inplace=True))
        for w in halvings
    ]
    return nn.Sequential(*steps, nn.Sequential(*conv_norm(widths[source], last, 3, stride=2)))


def _stage(widths: Sequence[int], modules: int) -> nn.Sequential:
    return nn.Sequential(*(HighResolutionModule(widths) for _ in range(modules)))


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """For each branch of the next stage, which has one more: the layers before it."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(before, after, strict=False):
        same = inputs == outputs
        layers.append(
            nn.Identity()
            if same
            else nn.Sequential(*conv_norm(inputs, outputs, 3), nn.ReLU(inplace=True))
        )
    new_branch = nn.Sequential(
        *conv_norm(before[-1], after[-1], 3, stride=2), nn.ReLU(inplace=True)
    )
    return nn.ModuleList([*layers, nn.Sequential(new_branch)])
