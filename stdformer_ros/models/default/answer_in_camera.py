"""The default network's answer where the camera sees it: metres along its axes."""

from __future__ import annotations

from torch import Tensor, nn

from stdformer_ros.body.landmarks import LIMB_ROWS, BodyLandmarks
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.models.default.network import STDFormerKeypoints
from stdformer_ros.models.placement import place_by_landmarks

_ROWS = list(LIMB_ROWS)


class AnswerInCamera(nn.Module):
    """`STDFormerKeypoints.decode`, put to its place and turned from the window's view.

    Args:
        model: on its device.
    """

    def __init__(self, model: STDFormerKeypoints) -> None:
        super().__init__()
        self.model = model
        self.landmarks = BodyLandmarks().to(model.joint_regressor.device)

    def forward(
        self, rays: Tensor, visibility: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Answer for the newest frame.

        Args:
            rays: (B, window, 21, 2).
            visibility: (B, window, 21).
            maps: (B, window, 64, 7, 7), see `STDFormerKeypoints.encode`.

        Returns:
            Joints (B, 24, 3) and vertices (B, V, 3), metres, camera frame; rotations (B, 24, 3, 3),
            the pelvis' in the camera frame, the others relative to their parents; betas (B, 10);
            scores (B, 24), 0..1.
        """
        answer = self.model.decode({"rays": rays, "visibility": visibility, "map": maps})
        view = answer.view
        place = place_by_landmarks(
            self.landmarks.limbs(answer.turns, answer.joints),
            view.points[:, -1, _ROWS],
            visibility[:, -1, _ROWS],
            view.half_size,
            prior=weak_perspective_to_metres(answer.camera, view.half_size),
        )[:, None]
        turn = view.turn  # rows: x @ turn is turn^T x, from the view to the camera
        rotations = answer.parameters.rotations.clone()
        rotations[:, 0] = turn.transpose(1, 2) @ rotations[:, 0]
        return (
            (answer.joints + place) @ turn,
            (answer.vertices + place) @ turn,
            rotations,
            answer.parameters.betas,
            answer.parameters.confidence.sigmoid(),
        )
