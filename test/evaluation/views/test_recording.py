"""What is kept of a pipeline's answers to the views, and who is who in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.calibrated_views import (
    CAMERAS,
    FRAMES,
    one_person,
    record,
    two_people,
    walker,
)
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES, BodyLandmarks
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.views.recording import JOINTS, ViewRecorder, people_in_views


def test_the_recorder_gives_the_points_of_the_body_that_blazepose_marks():
    from stdformer_ros.camera.pinhole import Camera
    from stdformer_ros.types import Frame

    pipeline = one_person()
    frame = Frame(np.zeros((1920, 1080, 3), np.uint8), 0.5, Camera.assumed(1080, 1920))
    ((stamp, (observation,)),) = ViewRecorder(pipeline)([frame], CAMERAS[0])
    assert (stamp, observation.track_id, observation.height) == (0.5, 3, 100.0)
    assert pipeline.cameras[0].fx == 1600.0, "the calibrated intrinsics, not the assumed ones"
    assert observation.pixels[JOINTS.index("right_knee")].tolist() == [52.0, 53.0]
    assert observation.blazepose is None

    landmarks = BodyLandmarks()
    turns = torch.from_numpy(pipeline.body.rotations[:1]).expand(24, 3, 3)[None]
    joints = torch.from_numpy(pipeline.body.joints)[None]
    from stdformer_ros.body.body_model import BodyModel

    rest = BodyModel(108).joints_template[None]
    marked = landmarks(turns, joints, rest, torch.zeros(1, 10))[0].numpy()
    for row, name in enumerate(JOINTS):
        np.testing.assert_allclose(
            observation.landmarks[row], marked[LANDMARK_NAMES.index(name)], atol=1e-5
        )
        np.testing.assert_allclose(
            observation.joints[row], pipeline.body.joints[JOINT_NAMES.index(name)], atol=1e-6
        )


def test_an_estimator_with_a_delay_or_without_a_joint_is_refused():
    pipeline = one_person()
    pipeline.estimator.delay_frames = 4
    with pytest.raises(ValueError, match="4 frames late"):
        ViewRecorder(pipeline)
    pipeline.estimator.joint_names = ("pelvis",)
    with pytest.raises(ValueError, match="left_ankle"):
        ViewRecorder(pipeline)


# --- the same person in several views


def test_people_are_matched_across_views_whatever_their_identities():
    people = people_in_views(CAMERAS, two_people())
    assert [{s.track_id for s in track} for track in people[0]] == [{7}] * 4
    assert [{s.track_id for s in track} for track in people[1]] == [{0}, {1}, {2}, {3}]
    larger = people_in_views(CAMERAS, two_people(second_height=900.0))
    assert {s.track_id for s in larger[0][0]} == {0}, "the larger one first"


def test_somebody_in_a_single_view_is_not_evaluated():
    recordings = record(walker())
    stranger = recordings[2][0][0]
    for frame in range(FRAMES):
        away = replace(stranger, track_id=1, height=900.0, pixels=stranger.pixels + 400.0)
        recordings[2][frame] = [away, *recordings[2][frame]]
    ((tracks),) = people_in_views(CAMERAS, recordings)
    assert {s.track_id for s in tracks[2]} == {7}, "though larger"
