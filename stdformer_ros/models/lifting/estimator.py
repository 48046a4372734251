"""The keypoint networks behind the streaming interface: keypoints in, 17 joints in metres out.

Their poses are relative to the pelvis and have no distance. The body is placed where its keypoints
are seen in the frame that the pose is for, at the distance at which its image has their size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stdformer_ros.body.skeleton import H36M_NAMES
from stdformer_ros.models.estimator import METRIC, SIGHT, Estimator, Features, to_numpy
from stdformer_ros.models.keypoints import VIEW_SCALE, h36m_keypoints, sight_of_joints
from stdformer_ros.models.lifting.keypoint_network import FRAMES, KeypointNetwork
from stdformer_ros.models.placement import place_by_size
from stdformer_ros.types import Body, Frame, Person

KEYPOINTS = "keypoints"

_BONES = (
    ("pelvis", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("pelvis", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("pelvis", "torso"), ("torso", "neck"), ("neck", "head"), ("head", "head_top"),
    ("neck", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("neck", "right_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
)  # fmt: skip


class LiftingEstimator(Estimator):
    """PoseFormer or one of the `posenets` on a stream.

    Each person's frame is encoded on its own: by PoseFormer's spatial blocks; for the other
    networks the features are the keypoints themselves. Joints are Human3.6M's, among them `neck`
    between the shoulders, `head` inside the head and `head_top`. There is no mesh.

    Args:
        name: of the network in the registry.
        model: with its weights, in evaluation mode, on its device.
    """

    joint_names = H36M_NAMES
    skeleton = tuple((H36M_NAMES.index(a), H36M_NAMES.index(b)) for a, b in _BONES)
    faces = None

    def __init__(self, name: str, model: KeypointNetwork) -> None:
        self.name = name
        self.model = model
        self.window = model.window
        self.delay_frames = model.delay_frames
        self.device = next(model.parameters()).device

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`; the keypoints and their visibility are features, too."""
        return self.encode_frames([(frame, people)])

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """See `Estimator.encode_frames`: one batch over all cameras."""
        rays = [f.camera.rays(np.stack([p.landmarks for p in people])) for f, people in seen]
        keypoints = h36m_keypoints(torch.from_numpy(np.concatenate(rays)).to(self.device))
        everybody = [(frame, person) for frame, people in seen for person in people]
        visibility = np.stack(
            [sight_of_joints(p.visibility, self.joint_names) for _, p in everybody]
        )
        known = np.array([frame.camera.known for frame, _ in everybody], np.float32)
        return {
            **self.model.encode(keypoints),
            KEYPOINTS: keypoints,
            SIGHT: torch.from_numpy(visibility).to(self.device),
            METRIC: torch.from_numpy(known).to(self.device),
        }

    def decode(self, windows: Features) -> list[Body]:
        """See `Estimator.decode`."""
        pose = self.model.decode({FRAMES: windows[FRAMES]})["pose"][:, 0]
        pose = pose - pose[:, :1]
        frame = -1 - self.delay_frames
        visibility = windows[SIGHT][:, frame]
        origin = place_by_size(pose, windows[KEYPOINTS][:, frame] / VIEW_SCALE, visibility)
        joints, scores = to_numpy(pose + origin[:, None]), to_numpy(visibility)
        metric = windows[METRIC][:, frame] > 0
        return [
            Body(joints[i], scores[i], None, None, None, bool(metric[i]))
            for i in range(len(joints))
        ]
