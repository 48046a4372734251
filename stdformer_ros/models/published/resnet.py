"""ResNet (He et al., CVPR 2016): its residual blocks, and ResNet-50 in two parts.

HRNet and PointHMR's heads consist of the same blocks. ResNet-50 is split into its stem and the four
layers after it, because SGRE and STDFormer change the map between them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """A convolution without bias that keeps the size (up to `stride`), and batch normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """The projection of a block's input to its output's shape; None if the shapes are equal."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(*conv_norm(inputs, outputs, 1, stride))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions.

    Args:
        inputs: number of input channels.
        channels: number of output channels.
        stride: of the first convolution.
    """

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(inputs, channels, 3, stride)
        self.conv2, self.bn2 = conv_norm(channels, channels, 3)
        self.downsample = _shortcut(inputs, channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions; the output has four times `channels`.

    Args:
        inputs: number of input channels.
        channels: number of channels of the 3x3 convolution.
        stride: of the 3x3 convolution.
    """

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1, self.bn1 = conv_norm(inputs, channels, 1)
        self.conv2, self.bn2 = conv_norm(channels, channels, 3, stride)
        self.conv3, self.bn3 = conv_norm(channels, outputs, 1)
        self.downsample = _shortcut(inputs, outputs, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def residual_layer(
    block: type[BasicBlock] | type[Bottleneck],
    inputs: int,
    channels: int,
    blocks: int,
    stride: int = 1,
) -> nn.Sequential:
    """A sequence of blocks, the first of which changes channels and size."""
    outputs = channels * block.expansion
    first = block(inputs, channels, stride)
    return nn.Sequential(first, *(block(outputs, channels) for _ in range(blocks - 1)))


def initialise_convolutions(network: nn.Module) -> None:
    """Initialise convolutions as He et al. (ICCV 2015), for training from scratch."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNet50(nn.Module):
    """ResNet-50 without its classifier.

    Attributes:
        map_channels: number of channels of the stem's map at a quarter of the size, to which SGRE
            adds the joints and on which STDFormer's SD and TD act.
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
        """The layers after the stem: [(B, 64, H / 4, W / 4)] -> (B, 2048, H / 32, W / 32)."""
        (x,) = maps
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2048, H / 32, W / 32)."""
        return self.features(self.maps(images))
