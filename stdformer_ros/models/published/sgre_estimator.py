"""SGRE behind the streaming interface: people in, SMPL bodies out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stdformer_ros.body.skeleton import BONES
from stdformer_ros.body.skeleton import JOINT_NAMES as SMPL_NAMES
from stdformer_ros.body.smpl import VERTICES, SmplBody
from stdformer_ros.models.estimator import Estimator, Features, concatenated
from stdformer_ros.models.published.crop_view import METRIC, SIGHT, VIEW, crop_view, place_in_camera
from stdformer_ros.models.published.crops import Square, crop, square_around, to_input
from stdformer_ros.models.published.landmark_joints import marked_joints, sight_of_joints
from stdformer_ros.models.published.sgre import (
    FEATURES,
    FOCAL_LENGTH,
    IMAGE_SIZE,
    JOINT_NAMES,
    MAP,
    SGRE,
    camera_translation,
)
from stdformer_ros.types import Body, FloatArray, Frame, Person

CROP_SCALE = 1.25
"""Side of the crop in longer sides of the keypoints' box, as published."""
GIVEN_VISIBILITY = 0.3
"""A landmark that is less likely in sight is not given; OpenPose, as published, leaves it out."""


class SGREEstimator(Estimator):
    """The published network, live; the given 2D joints are the tracked landmarks.

    Of its 30 joints those are given that OpenPose gives as well: 12 of the limbs, five of the head,
    neck and pelvis.

    Args:
        model: with its weights, in evaluation mode, on its device.
        smpl: on the same device.
        mesh_level: 6890, SMPL's own vertices.

    Raises:
        ValueError: if another mesh level is asked for.
    """

    name = "sgre_resnet50"
    window = SGRE.window
    reads_images = True
    joint_names = SMPL_NAMES
    skeleton = BONES

    def __init__(self, model: SGRE, smpl: SmplBody, mesh_level: int = VERTICES) -> None:
        if mesh_level != VERTICES:
            raise ValueError(f"{self.name} has meshes of {VERTICES} vertices, not {mesh_level}")
        self.model = model
        self.faces = smpl.faces
        self._smpl = smpl
        self.device = next(model.parameters()).device

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`; where the crops lie travels along."""
        return self.encode_frames([(frame, people)])

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """See `Estimator.encode_frames`: the backbone runs once over all cameras' crops."""
        device = self.device
        crops, views, given, sight = [], [], [], []
        for frame, people in seen:
            squares = [square_around(p, frame.image.shape, CROP_SCALE) for p in people]
            crops += [crop(frame.image, square, IMAGE_SIZE) for square in squares]
            views.append(crop_view(squares, frame.camera, device))
            given += [given_joints(p, square) for p, square in zip(people, squares, strict=True)]
            sight += [sight_of_joints(p.visibility, self.joint_names) for p in people]
        joints, valid = (torch.from_numpy(np.stack(x)).to(device) for x in zip(*given, strict=True))
        return {
            **self.model.encode(to_input(crops).to(device), joints, valid),
            **concatenated(views),
            SIGHT: torch.from_numpy(np.stack(sight)).to(device),
        }

    def decode(self, windows: Features) -> list[Body]:
        """See `Estimator.decode`."""
        answer = self.model.decode({FEATURES: windows[FEATURES]})
        rotations, betas = answer["rotmat"], answer["betas"]
        vertices, joints = self._smpl(rotations, betas)
        # The published camera is so far away that it is a weak-perspective one.
        x, y, z = camera_translation(answer["cam"]).unbind(dim=1)
        weak = torch.stack([2 * FOCAL_LENGTH / (IMAGE_SIZE * z), x, y], dim=1)
        place = place_in_camera(weak, windows[VIEW][:, -1])[:, None]
        joints, vertices = joints + place, vertices + place
        scores, metric = windows[SIGHT][:, -1], windows[METRIC][:, -1] > 0
        return [
            Body(_array(j), _array(s), _array(v), _array(r), _array(b), bool(m))
            for j, s, v, r, b, m in zip(
                joints, scores, vertices, rotations, betas, metric, strict=True
            )
        ]


def given_joints(person: Person, square: Square) -> tuple[FloatArray, FloatArray]:
    """What SGRE is told of a person.

    Returns:
        (30, 2) x, y on the map of 64 x 64 cells over the crop, and (30,) 1 where the joint is known
        and lies on the map, 0 elsewhere.
    """
    points, sight = marked_joints(person.landmarks, person.visibility, JOINT_NAMES)
    cells = np.nan_to_num(square.to_crop(points, IMAGE_SIZE) * (MAP / IMAGE_SIZE))
    on_map = ((cells >= 0) & (cells < MAP)).all(axis=1)
    return cells, ((sight > GIVEN_VISIBILITY) & on_map).astype(np.float32)


def _array(tensor: Tensor) -> FloatArray:
    return tensor.float().cpu().numpy()
