"""Networks from keypoints to joints in the stream: landmarks in, 17 joints in metres out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from helpers.paths import ROOT
from stdformer_ros.assets import FOLDER
from stdformer_ros.body.skeleton import H36M_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models import CheckpointError, create_model
from stdformer_ros.models.keypoints import H36M_FROM_LANDMARKS
from stdformer_ros.models.lifting.estimator import LiftingEstimator
from stdformer_ros.models.lifting.keypoint_network import KeypointNetwork
from stdformer_ros.models.lifting.weights import NETWORKS, SHIPPED, describe
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import FloatArray, Frame, Person

CAMERA = Camera(1280, 720, 900.0, 880.0, 650.0, 350.0)
POSE = np.float32(
    [
        (0.0, 0.0, 0.0), (-0.13, 0.01, 0.03), (-0.15, 0.44, -0.02), (-0.14, 0.88, 0.1),
        (0.13, -0.01, -0.03), (0.16, 0.43, -0.2), (0.18, 0.85, 0.05), (0.0, -0.23, 0.03),
        (0.01, -0.49, 0.0), (0.01, -0.6, -0.06), (0.0, -0.72, -0.02), (0.15, -0.47, -0.02),
        (0.35, -0.3, -0.1), (0.4, -0.5, -0.25), (-0.15, -0.46, 0.03), (-0.3, -0.25, 0.1),
        (-0.25, 0.0, -0.05),
    ]
)  # fmt: skip
"""Somebody who walks and waves, in Human3.6M's order."""


class FixedPose(KeypointNetwork):
    """Always gives `POSE`, a little off the origin: only the estimator around it is tested."""

    def __init__(self, frames: int = 3, **options: int) -> None:
        super().__init__(frames, **options)
        self.pose = torch.nn.Parameter(torch.from_numpy(POSE + np.float32(0.3)))

    def _encode(self, keypoints: Tensor) -> Tensor:
        return keypoints.flatten(1)

    def _decode(self, frames: Tensor) -> Tensor:
        return self.pose.flatten().expand(len(frames), -1)


def shown(joints: FloatArray, camera: Camera = CAMERA, track_id: int = 1) -> Person:
    """Somebody whose keypoints are seen exactly where the joints (17, 3) are."""
    pixels = camera.project(joints)
    landmarks = np.linalg.pinv(H36M_FROM_LANDMARKS.numpy()) @ pixels
    box = np.array([*pixels.min(0), *pixels.max(0)], np.float32)
    return Person(track_id, 0.9, box, landmarks.astype(np.float32), np.full(33, 0.8, np.float32))


def frame_of(camera: Camera = CAMERA, stamp: float = 0.0) -> Frame:
    return Frame(np.zeros((camera.height, camera.width, 3), np.uint8), stamp, camera)


def stream(estimator: LiftingEstimator, people: list[Person], camera: Camera = CAMERA) -> list:
    (answer,) = Pipeline(lambda frame: people, estimator).follow([frame_of(camera)])
    return answer.humans


def named(joints: FloatArray) -> dict[str, FloatArray]:
    return dict(zip(LiftingEstimator.joint_names, joints, strict=True))


@pytest.mark.parametrize(
    "place", [(0.0, 0.0, 4.0), (1.5, -0.2, 4.0), (-1.0, 0.3, 2.5), (2.0, 0.5, 9.0)]
)
def test_a_pose_is_put_where_its_keypoints_are_seen(place: tuple[float, float, float]) -> None:
    true = POSE + np.float32(place)
    (human,) = stream(LiftingEstimator("told", FixedPose()), [shown(true)])
    np.testing.assert_allclose(human.body.joints, true, atol=2e-3 * place[2])
    assert human.body.vertices is None


def test_the_same_rays_through_another_lens_are_the_same_person() -> None:
    other = Camera(640, 480, 400.0, 420.0, 300.0, 260.0)
    estimator = LiftingEstimator("told", FixedPose())
    true = POSE + np.float32((0.5, 0.1, 4.0))
    (a,) = stream(estimator, [shown(true)])
    (b,) = stream(estimator, [shown(true, other)], other)
    np.testing.assert_allclose(a.body.joints, b.body.joints, atol=1e-3)


def test_keypoints_out_of_sight_hardly_move_the_body() -> None:
    true = POSE + np.float32((0.0, 0.0, 4.0))
    person = shown(true)
    knees_down = [25, 26, 27, 28, 29, 30, 31, 32]
    person.landmarks[knees_down] += np.float32((80.0, -150.0))
    estimator = LiftingEstimator("told", FixedPose())
    (believed,) = stream(estimator, [person])
    person.visibility[knees_down] = 0.0
    (human,) = stream(estimator, [person])
    error, was = (np.abs(h.body.joints - true).max() for h in (human, believed))
    assert error < 0.08
    assert error < 0.3 * was
    scores = named(human.body.joint_scores)
    assert scores["left_ankle"] == 0.0
    assert scores["left_elbow"] == pytest.approx(0.8)


@pytest.mark.parametrize("known", [True, False])
def test_distances_are_metric_where_the_intrinsics_are_known(known: bool) -> None:
    camera = dataclasses.replace(CAMERA, known=known)
    person = shown(POSE + np.float32((0.0, 0.0, 4.0)))
    (human,) = stream(LiftingEstimator("told", FixedPose()), [person], camera)
    assert human.body.metric_depth is known


def test_a_person_whose_landmarks_lie_in_one_place_is_finite_and_in_front_of_the_camera() -> None:
    person = dataclasses.replace(
        shown(POSE + np.float32((0.0, 0.0, 4.0))),
        landmarks=np.full((33, 2), 100.0, np.float32),
        visibility=np.zeros(33, np.float32),
    )
    (human,) = stream(LiftingEstimator("told", FixedPose()), [person])
    assert np.isfinite(human.body.joints).all()
    assert human.body.joints[0, 2] > 0


def test_joints_have_the_common_names_and_the_skeleton_joins_them_all() -> None:
    common = {"pelvis", "neck", "head"} | {
        f"{side}_{name}"
        for side in ("left", "right")
        for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    }
    estimator = LiftingEstimator("told", FixedPose())
    assert common < set(estimator.joint_names)
    reached = {0}
    for _ in estimator.skeleton:
        reached |= {b for a, b in estimator.skeleton if a in reached}
    assert reached == set(range(17))
    assert len(estimator.skeleton) == 16
    assert estimator.faces is None


def test_with_a_delay_the_body_stands_where_the_person_was_in_the_frame_answered_for() -> None:
    """Somebody who walks: place, box and known intrinsics are those of the earlier frame."""
    estimator = LiftingEstimator("told", FixedPose(5, delay_frames=2))
    assert (estimator.window, estimator.delay_frames) == (5, 2)
    places = [(0.2 * i, 0.0, 4.0) for i in range(6)]
    people = [shown(POSE + np.float32(place)) for place in places]
    now = iter(people)
    pipeline = Pipeline(lambda frame: [next(now)], estimator)
    frames = (frame_of(dataclasses.replace(CAMERA, known=i != 2), i / 30) for i in range(6))
    answers = [human for answer in pipeline.follow(frames) for human in answer.humans]
    for i, human in enumerate(answers):
        np.testing.assert_allclose(human.body.joints[0], places[i], atol=0.01)
        np.testing.assert_array_equal(human.person.box, people[i].box)
        assert human.body.metric_depth is (i != 2)
    # low-passed, so not yet the walker's 6 m/s
    assert 3.0 < answers[-1].joint_velocities[0, 0] < 6.0


def weights_of(name: str, folder: Path, **options: int) -> str:
    """A file of random weights; with options one as `cli train` writes them."""
    torch.manual_seed(0)
    network = create_model(name, **options)
    path = folder / f"{name}.safetensors"
    metadata = describe(name, **options) if options else None
    save_file({k: v.clone() for k, v in network.state_dict().items()}, path, metadata)
    return str(path)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_runs_on_a_stream_from_a_file(name: str, tmp_path: Path) -> None:
    estimator = create_estimator(EstimatorSettings(name, checkpoint=weights_of(name, tmp_path)))
    assert estimator.name == name
    assert estimator.joint_names == H36M_NAMES
    (human,) = stream(estimator, [shown(POSE + np.float32((0.0, 0.0, 4.0)))])
    assert human.body.joints.shape == (17, 3)
    assert np.isfinite(human.body.joints).all()


def test_a_delay_reaches_the_network_and_is_checked_against_its_window(tmp_path: Path) -> None:
    published = weights_of("poseformer_9", tmp_path)
    estimator = create_estimator(
        EstimatorSettings("poseformer_9", checkpoint=published, delay_frames=4)
    )
    assert (estimator.delay_frames, estimator.window) == (4, 9)
    for delay, said in ((5, "0 to 4, not 5"), (-1, "between 0 and 1000, not -1")):
        with pytest.raises(ValueError, match=f"delay_frames must be {said}"):
            create_estimator(
                EstimatorSettings("poseformer_9", checkpoint=published, delay_frames=delay)
            )
    ours = weights_of("poseformer_9", tmp_path, future_frames=0, joint_channels=8)
    with pytest.raises(ValueError, match=r"delay_frames must be 0 .*newest frame, not 4"):
        create_estimator(EstimatorSettings("poseformer_9", checkpoint=ours, delay_frames=4))


@pytest.mark.parametrize("name", ["stdformer_s_keypoints", "stdformer_S", "sgre_resnet50"])
def test_models_that_answer_for_the_newest_frame_cannot_be_delayed(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} answers for the newest frame.*not 2"):
        create_estimator(EstimatorSettings(name, delay_frames=2))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in SHIPPED])
def test_without_weights_it_says_that_a_checkpoint_is_missing(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs checkpoint.*official_weights\.md"):
        create_estimator(EstimatorSettings(name))


def test_weights_of_another_system_are_named(tmp_path: Path) -> None:
    lstm = weights_of("lstm_posenet_81", tmp_path)
    with pytest.raises(CheckpointError, match=r"looks like LSTM_PoseNet; the network is PoseForm"):
        create_estimator(EstimatorSettings("poseformer_27", checkpoint=lstm))
    with pytest.raises(ValueError, match="no use for smpl"):
        create_estimator(EstimatorSettings("poseformer_27", checkpoint=lstm, smpl="smpl.pkl"))


def test_one_persons_features_never_reach_another(tmp_path: Path) -> None:
    """SimpleTransformerPoseNet above all, which was published to attend across the batch."""
    name = "simple_transformer_posenet_81"
    estimator = create_estimator(EstimatorSettings(name, checkpoint=weights_of(name, tmp_path)))
    one, two = (shown(POSE + np.float32((x, 0.0, 4.0)), track_id=i) for i, x in enumerate((0, 1)))
    (alone,) = stream(estimator, [one])
    together, _ = stream(estimator, [one, two])
    np.testing.assert_allclose(together.body.joints, alone.body.joints, atol=1e-6)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_run_without_files_of_the_users(name: str) -> None:
    if not (FOLDER / SHIPPED[name]).exists():
        pytest.skip(f"{SHIPPED[name]} is not among the assets yet")
    estimator = create_estimator(EstimatorSettings(name))
    assert estimator.delay_frames == 0
    (human,) = stream(estimator, [shown(POSE + np.float32((0.0, 0.0, 4.0)))])
    joints = named(human.body.joints)
    assert joints["head_top"][1] < joints["pelvis"][1] < joints["right_ankle"][1]
    assert human.body.joints[0, 2] == pytest.approx(4.0, rel=0.25)


def test_the_parameter_file_for_published_weights_fits_the_node() -> None:
    config = ROOT / "config"
    default, published = (
        yaml.safe_load((config / name).read_text())["/**"]["ros__parameters"]
        for name in ("default.yaml", "poseformer.yaml")
    )
    assert published.keys() <= default.keys()
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*detected81f\.bin"):
        create_estimator(
            EstimatorSettings(
                published["model"],
                checkpoint=published["checkpoint"],
                delay_frames=published["delay_frames"],
            )
        )
