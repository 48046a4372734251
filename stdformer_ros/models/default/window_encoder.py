"""The fast half of the default network: a residual MLP over the window of landmarks.

It estimates the parameters of the body in the newest frame, from which skinning makes the first
mesh, and one feature vector, from which the vertex transformer starts.

`WindowEncoder` regresses a first set of parameters from smoothed landmarks. `BodyCorrector` then
projects the body's landmarks into the view, compares them with where they are seen, and corrects
the parameters; this is done twice. A network finds it hard to invert the projection in one step,
but easy to tell from the remaining error which way to turn a limb. That is iterative error
feedback: Carreira et al., "Human pose estimation with iterative error feedback", CVPR 2016; for
meshes Kanazawa et al., "End-to-end recovery of human shape and pose", CVPR 2018.

Order: the parameters, the block that both networks are made of, the encoder with the smoothing of
its input, the corrector.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stdformer_ros.body.body_landmarks import LANDMARK_NAMES, BodyLandmarks
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.models.rotations import rotation_from_6d

JOINTS = 24
BETAS = 10
PARAMETERS = JOINTS * 6 + BETAS + 3
TIME_CONSTANTS = (1.0, 2.0, 4.0, 8.0)
"""In frames, of the exponential means of each landmark over the past: the network's input."""
UNSEEN = 0.05
"""Visibility, summed over the window, at which a landmark's first position is half its own mean and
half the mean of all landmarks."""
CORRECTIONS = 2
"""Number of corrections of the parameters."""
NEAR = 0.1
"""Metres within which a joint counts as right, with the pelvises aligned: for the loss of its
confidence, and for the reliability of scores in `evaluation`."""
GAIN = 10.0
"""Projection errors in the view are small numbers; this factor scales the network's input."""


class BodyParameters(NamedTuple):
    """One body per row, in the coordinates of the window's view.

    Attributes:
        rotations: (B, 24, 3, 3), the pelvis' in the view, the others relative to their parents.
        betas: (B, 10).
        camera: (B, 3) weak perspective (s, tx, ty): x = s (X + tx) over the view in [-1, 1].
        confidence: (B, 24) logits of each joint being within 100 mm of the truth.
        feature: (B, width), for the vertex transformer.
    """

    rotations: Tensor
    betas: Tensor
    camera: Tensor
    confidence: Tensor
    feature: Tensor


class RawParameters(NamedTuple):
    """The parameters as unbounded numbers, to which a correction can be added.

    Attributes:
        six: (B, 24, 6), see `rotation_from_6d`.
        betas: (B, 10).
        camera: (B, 3) log(s), tx, ty.
    """

    six: Tensor
    betas: Tensor
    camera: Tensor

    @property
    def rotations(self) -> Tensor:
        """(B, 24, 3, 3)."""
        return rotation_from_6d(self.six)

    @property
    def weak_perspective(self) -> Tensor:
        """(B, 3): s, tx, ty."""
        return torch.cat([self.camera[:, :1].exp(), self.camera[:, 1:]], dim=-1)


class ResidualBlock(nn.Module):
    """Pre-norm residual MLP: x + W2 gelu(W1 norm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return x + self.layers(self.norm(x))


class WindowEncoder(nn.Module):
    """Residual MLP from a window's landmarks to `BodyParameters`.

    Args:
        window: number of frames.
        landmarks: number of landmarks per frame.
        width: units of the hidden layers.
        blocks: number of residual blocks, of two layers each.
    """

    means: Tensor

    def __init__(self, window: int, landmarks: int, width: int = 1024, blocks: int = 3) -> None:
        super().__init__()
        self.input = nn.Linear(len(TIME_CONSTANTS) * landmarks * 3 + 1, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.rotations = nn.Linear(width, JOINTS * 6)
        self.betas = nn.Linear(width, BETAS)
        self.camera = nn.Linear(width, 3)
        self.confidence = nn.Linear(width, JOINTS)
        self.corrector = BodyCorrector(width, len(TIME_CONSTANTS))
        self.register_buffer("means", exponential_means(window), persistent=False)
        self._start_at_rest()

    def _start_at_rest(self) -> None:
        """Initialise the heads so that training starts with a standing person facing the camera."""
        for head in (self.rotations, self.betas, self.camera):
            nn.init.normal_(head.weight, std=1e-3)
            nn.init.zeros_(head.bias)
        upright = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(JOINTS, 1)
        upright[0, 4] = -1.0  # y points down in camera coordinates
        with torch.no_grad():
            self.rotations.bias.copy_(upright.flatten())

    def forward(self, points: Tensor, visibility: Tensor, half_size: Tensor) -> BodyParameters:
        """Estimate the body in the newest frame.

        Args:
            points: (B, window, L, 2) from `view_window`.
            visibility: (B, window, L); see `hold_unseen`.
            half_size: (B,) tangent of the view's half size.
        """
        steady = hold_unseen(points.clamp(-4.0, 4.0), visibility)
        size = half_size.clamp(min=1e-3).log()[:, None] + 2.0
        frames = self.means @ torch.cat([steady.flatten(2), visibility], dim=-1)
        x = self.input(torch.cat([frames.flatten(1), size], dim=-1))
        for block in self.blocks:
            x = block(x)
        feature = self.norm(x)
        raw = RawParameters(
            self.rotations(feature).float().unflatten(-1, (JOINTS, 6)),
            self.betas(feature).float(),
            self.camera(feature).float(),
        )
        seen = (self.means @ steady.flatten(2)).unflatten(-1, steady.shape[2:])
        visible = (self.means[:1] @ visibility)[:, 0]
        for _ in range(CORRECTIONS):
            raw, feature = self.corrector(raw, feature, seen, visible, half_size)
        return BodyParameters(
            raw.rotations,
            raw.betas,
            raw.weak_perspective,
            self.confidence(feature).float(),
            feature.float(),
        )


def hold_unseen(points: Tensor, visibility: Tensor) -> Tensor:
    """Let visible landmarks follow their detections, and keep invisible ones where they were.

    In between, the visibility is the weight of the detection. If a lost landmark jumped to the
    view's centre, the pose would follow it.

    Args:
        points: (B, T, L, 2).
        visibility: (B, T, L) 0..1.

    Returns:
        (B, T, L, 2); a landmark that is never seen lies at the mean of the visible ones.
    """
    weight = visibility[..., None]
    overall = (weight * points).flatten(1, 2).sum(1) / weight.flatten(1, 2).sum(1).clamp(1e-6)
    own_weight = weight.sum(1) / (weight.sum(1) + UNSEEN)
    own = (weight * points).sum(1) / weight.sum(1).clamp(1e-6)
    held = torch.lerp(overall[:, None], own, own_weight)
    result = []
    for frame in range(points.shape[1]):
        held = torch.lerp(held, points[:, frame], weight[:, frame])
        result.append(held)
    return torch.stack(result, dim=1)


def exponential_means(window: int) -> Tensor:
    """(len(TIME_CONSTANTS), window): exponential means over the past, rows that sum to one.

    The network's input is as smooth as the mean with the shortest time constant, and the
    differences between the means show how the landmarks move. A network whose input is single
    frames passes their noise on.
    """
    age = torch.arange(window - 1, -1, -1)
    weights = torch.exp(-age / torch.tensor(TIME_CONSTANTS)[:, None])
    return weights / weights.sum(1, keepdim=True)


class BodyCorrector(nn.Module):
    """One step of correction from the projection error of the body's landmarks.

    Args:
        width: units of the feature and of the hidden layers.
        means: number of exponential means of each landmark's position.
    """

    def __init__(self, width: int, means: int) -> None:
        super().__init__()
        landmarks = len(LANDMARK_NAMES)
        self.input = nn.Linear(landmarks * (2 * means + 4) + PARAMETERS, width)
        self.feature = nn.Linear(width, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.change = nn.Linear(width, PARAMETERS)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)
        self.body = BodyModel(level=108)
        self.landmarks = BodyLandmarks()

    def forward(
        self, raw: RawParameters, feature: Tensor, seen: Tensor, visible: Tensor, half_size: Tensor
    ) -> tuple[RawParameters, Tensor]:
        """Correct the parameters.

        Args:
            raw: the parameters so far.
            feature: (B, width) of the window, or of the previous correction.
            seen: (B, means, L, 2) where the landmarks are seen in the view, [-1, 1] over it.
            visible: (B, L) 0..1.
            half_size: (B,) tangent of the view's half size.

        Returns:
            The corrected parameters, and the feature (B, width) that they come from.
        """
        with torch.autocast(seen.device.type, enabled=False):
            projected, depth = self._project(raw, half_size)
            error = (seen - projected[:, None]).clamp(-1.0, 1.0) * visible[:, None, :, None]
        x = torch.cat(
            [
                GAIN * error.flatten(1),
                projected.clamp(-4.0, 4.0).flatten(1),
                depth,
                visible,
                raw.six.flatten(1),
                raw.betas,
                raw.camera,
            ],
            dim=-1,
        )
        x = self.input(x) + self.feature(feature)
        for block in self.blocks:
            x = block(x)
        feature = self.norm(x)
        six, betas, camera = self.change(feature).float().split([JOINTS * 6, BETAS, 3], dim=-1)
        corrected = RawParameters(
            raw.six + six.unflatten(-1, (JOINTS, 6)), raw.betas + betas, raw.camera + camera
        )
        return corrected, feature

    def _project(self, raw: RawParameters, half_size: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks in the view (B, L, 2), and their depths behind the pelvis (B, L), metres."""
        body = self.body.skeleton(raw.rotations, raw.betas)
        points = self.landmarks(body.global_rotations, body.joints, body.rest, raw.betas)
        origin = weak_perspective_to_metres(raw.weak_perspective, half_size)
        placed = points + origin[:, None]
        tangent = placed[..., :2] / placed[..., 2:].clamp(min=0.2)
        return tangent / half_size[:, None, None], points[..., 2]
