"""ResNet-50 (He et al., CVPR 2016) in two parts: the stem, and the four layers behind it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from stdformer_ros.models.published.residual import (
    Bottleneck,
    conv_norm,
    initialise_convolutions,
    residual_layer,
)


class ResNet50(nn.Module):
    """ResNet-50 without its classifier.

    Attributes:
        map_channels: of the stem's map at a quarter of the size, where SGRE adds the joints and
            STDFormer's SD and TD sit.
    """

    map_channels = 64

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, self.map_channels, 7, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = residual_layer(Bottleneck, 64, 64, blocks=3)
        self.layer2 = residual_layer(Bottleneck, 256, 128, blocks=4, stride=2)
        self.layer3 = residual_layer(Bottleneck, 512, 256, blocks=6, stride=2)
        self.layer4 = residual_layer(Bottleneck, 1024, 512, blocks=3, stride=2)
        initialise_convolutions(self)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The stem: normalised images (B, 3, H, W) -> one map, (B, 64, H / 4, W / 4)."""
        return [self.maxpool(self.relu(self.bn1(self.conv1(images))))]

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """The layers behind the stem: [(B, 64, H / 4, W / 4)] -> (B, 2048, H / 32, W / 32)."""
        (x,) = maps
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2048, H / 32, W / 32)."""
        return self.features(self.maps(images))
