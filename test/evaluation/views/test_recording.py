"""What is kept of a pipeline's answers to one view."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.calibrated_views import CAMERAS, one_person
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES, BodyLandmarks
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.views.recording import JOINTS, ViewRecorder


def test_a_recorder_gives_landmarks_where_blazepose_would_mark_the_body():
    from stdformer_ros.camera.pinhole import Camera
    from stdformer_ros.types import Frame

    pipeline = one_person()
    frame = Frame(np.zeros((1920, 1080, 3), np.uint8), 0.5, Camera.assumed(1080, 1920))
    ((stamp, (sight,)),) = ViewRecorder(pipeline)([frame], CAMERAS[0])
    assert (stamp, sight.track_id, sight.height) == (0.5, 3, 100.0)
    assert pipeline.cameras[0].fx == 1600.0, "the calibrated intrinsics, not the assumed ones"
    assert sight.pixels[JOINTS.index("right_knee")].tolist() == [52.0, 53.0]
    assert sight.blazepose is None

    landmarks = BodyLandmarks()
    turns = torch.from_numpy(pipeline.body.rotations[:1]).expand(24, 3, 3)[None]
    joints = torch.from_numpy(pipeline.body.joints)[None]
    from stdformer_ros.body.body_model import BodyModel

    rest = BodyModel(108).joints_template[None]
    marked = landmarks(turns, joints, rest, torch.zeros(1, 10))[0].numpy()
    for row, name in enumerate(JOINTS):
        np.testing.assert_allclose(
            sight.landmarks[row], marked[LANDMARK_NAMES.index(name)], atol=1e-5
        )
        np.testing.assert_allclose(
            sight.joints[row], pipeline.body.joints[JOINT_NAMES.index(name)], atol=1e-6
        )


def test_an_estimator_that_is_late_or_lacks_a_joint_is_refused():
    pipeline = one_person()
    pipeline.estimator.delay_frames = 4
    with pytest.raises(ValueError, match="4 frames late"):
        ViewRecorder(pipeline)
    pipeline.estimator.joint_names = ("pelvis",)
    with pytest.raises(ValueError, match="left_ankle"):
        ViewRecorder(pipeline)
