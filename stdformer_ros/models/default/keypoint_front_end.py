"""The light front end of the default estimator: one frame's landmarks drawn on a small map.

It stands where STDFormer has HRNet. Every landmark is a soft spot at its place in the person's
crop, as strong as it is visible, in a channel of its own; convolutions mix them into the 64
channels that SD and TD act on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stdformer_ros.models.default.window_view import view_window

CHANNELS = 64
MAP_SIZE = 7
SPOT = 0.2
"""Standard deviation of a spot, in units of the crop's half size: about two thirds of a cell."""


class KeypointFrontEnd(nn.Module):
    """Landmarks of single frames to feature maps.

    Args:
        landmarks: per frame.
    """

    cells: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(landmarks, CHANNELS, 1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
        )
        centres = (torch.arange(MAP_SIZE) + 0.5) * (2.0 / MAP_SIZE) - 1.0
        self.register_buffer("cells", centres, persistent=False)

    def forward(self, rays: Tensor, visibility: Tensor) -> Tensor:
        """Draw and mix.

        Args:
            rays: (B, L, 2) landmarks of one frame as x/z, y/z.
            visibility: (B, L) 0..1.

        Returns:
            (B, 64, 7, 7).
        """
        points = view_window(rays[:, None], visibility[:, None]).points[:, 0]
        near = torch.exp(-0.5 * ((points[..., None] - self.cells) / SPOT).square())
        across, down = near.unbind(2)  # (B, L, 7) each
        spots = torch.einsum("bly,blx->blyx", down, across) * visibility[..., None, None]
        return self.mix(spots)
