"""Every estimator: frame by frame through the pipeline equals the whole window at once.

The window is computed anew by the network's own `forward`, which knows no stream. Two people are
followed, so that an answer that leaks from one to the other shows too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.tiny_networks import PlainSmpl, tiny_mesh
from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models import create_model
from stdformer_ros.models.default.estimator import KeypointEstimator
from stdformer_ros.models.default.window_view import view_window
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.models.keypoints import KEYPOINTS, h36m_keypoints
from stdformer_ros.models.lifting.estimator import LiftingEstimator
from stdformer_ros.models.published.crops import crop, square_around, to_input
from stdformer_ros.models.published.image_estimator import CROP_SCALE, ImageEstimator
from stdformer_ros.models.published.sgre import CROP_SCALE as SGRE_CROP_SCALE
from stdformer_ros.models.published.sgre import IMAGE_SIZE, SGREEstimator, given_joints
from stdformer_ros.models.published.stdformer import IMAGE_MEAN, IMAGE_STD
from stdformer_ros.models.registry import create_estimator
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import FloatArray, Frame, Human, Person

CAMERA = Camera(640, 480, 600.0, 600.0, 330.0, 235.0)
Seen = list[tuple[Frame, Person]]
Whole = Callable[[Seen], FloatArray]
"""From a window of real frames to the joints, relative to the first one."""


def somebody(track_id: int, frame: int) -> Person:
    """Somebody who fidgets on the left (1) or right (2) of the image."""
    rng = np.random.default_rng(100 * track_id + frame)
    standing = np.random.default_rng(track_id).uniform((-50, -150), (50, 150), (33, 2))
    landmarks = standing + np.array([200 * track_id, 240]) + rng.normal(size=(33, 2), scale=3.0)
    visibility = rng.uniform(0.6, 1.0, 33)
    low, high = landmarks[list(KEYPOINTS)].min(0), landmarks[list(KEYPOINTS)].max(0)
    return Person(
        track_id,
        0.9,
        np.array([*low, *high], np.float32),
        landmarks.astype(np.float32),
        visibility.astype(np.float32),
    )


def frame_at(number: int) -> Frame:
    image = np.random.default_rng(number).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return Frame(image, number / 30, CAMERA)


def streamed(estimator: Estimator, frames: int, start: int = 0) -> list[list[Human]]:
    now = iter(range(start, start + frames))

    def perceive(frame: Frame) -> list[Person]:
        number = next(now)
        return [somebody(1, number), somebody(2, number)]

    pipeline = Pipeline(perceive, estimator)
    stream = (frame_at(start + i) for i in range(frames))
    return [answer.humans for answer in pipeline.follow(stream)]


def check(estimator: Estimator, whole: Whole) -> None:
    """The newest frame, one that the window had moved on to, and the padded first one."""
    count = estimator.window + 1
    answers = streamed(estimator, count)
    assert len(answers) == count
    seen = [(frame_at(i), [somebody(1, i), somebody(2, i)]) for i in range(count)]
    for number in (count - 1 - estimator.delay_frames, 0):
        slots = range(number + estimator.delay_frames + 1 - estimator.window,
                      number + estimator.delay_frames + 1)  # fmt: skip
        window = [seen[min(max(i, 0), count - 1)] for i in slots]
        for person, human in enumerate(answers[number]):
            expected = whole([(frame, people[person]) for frame, people in window])
            found = human.body.joints - human.body.joints[:1]
            assert found == pytest.approx(expected, abs=1e-5), (number, person)
    one, other = (human.body.joints for human in answers[-1])
    assert np.abs((one - one[:1]) - (other - other[:1])).max() > 1e-4, "the input has no effect"


# --- from keypoints and landmarks


def lifting(name: str, **options: int) -> LiftingEstimator:
    torch.manual_seed(0)
    model = create_model(name, **options)
    with torch.no_grad():  # positions start at zero
        for parameter in (n for k, n in model.named_parameters() if k.endswith("_embed")):
            parameter.normal_()
    return LiftingEstimator(name, model.eval())  # type: ignore[arg-type]


def whole_keypoints(estimator: LiftingEstimator, window: Seen) -> FloatArray:
    model = estimator.model
    rays = np.stack([frame.camera.rays(person.landmarks) for frame, person in window])
    keypoints = h36m_keypoints(torch.from_numpy(rays))
    future = keypoints[-1:].expand(model.frames - len(keypoints), -1, -1)
    with torch.inference_mode():
        pose = model(torch.cat([keypoints, future])[None])["pose"][0, 0].numpy()
    return np.asarray(pose - pose[:1])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("poseformer_9", {}),
        ("poseformer_9", {"delay_frames": 4}),
        ("poseformer_27", {}),
        ("poseformer_27", {"delay_frames": 13}),
        ("poseformer_27", {"future_frames": 0, "joint_channels": 16}),
        ("poseformer_81", {}),
        ("poseformer_81", {"delay_frames": 40}),
        ("lstm_posenet_81", {}),
        ("lstm_posenet_81", {"delay_frames": 40}),
        ("lstm_posenet_81", {"future_frames": 0, "channels": 64}),
        ("simple_posenet_81", {}),
        ("simple_posenet_81", {"delay_frames": 40}),
        ("simple_transformer_posenet_81", {}),
        ("simple_transformer_posenet_81", {"delay_frames": 40}),
    ],
)
def test_keypoint_networks(name: str, options: dict[str, int]) -> None:
    estimator = lifting(name, **options)
    check(estimator, partial(whole_keypoints, estimator))


def test_the_default_estimator() -> None:
    estimator = create_estimator(EstimatorSettings("stdformer_s_keypoints", mesh_level=431))
    assert isinstance(estimator, KeypointEstimator)
    index = list(BLAZEPOSE_INDEX)

    def whole(window: Seen) -> FloatArray:
        rays, visibility = (
            torch.from_numpy(np.stack(values))[None]
            for values in (
                [frame.camera.rays(person.landmarks[index]) for frame, person in window],
                [person.visibility[index] for _, person in window],
            )
        )
        with torch.inference_mode():
            joints = estimator.model(rays, visibility)["pred_3d_joints"][0]
            turned = (joints - joints[:1]) @ view_window(rays, visibility).turn[0]
        return turned.numpy()

    check(estimator, whole)


# --- from crops


def whole_crops(estimator: ImageEstimator, window: Seen) -> FloatArray:
    crops = [
        crop(frame.image, square_around(person, frame.image.shape, CROP_SCALE), 224)
        for frame, person in window
    ]
    images = to_input(crops, IMAGE_MEAN, IMAGE_STD)
    with torch.inference_mode():
        answer = estimator.model(images[None] if estimator.window > 1 else images)
    joints = answer["pred_3d_joints"].flatten(0, -3)[-1]
    hips = [estimator.joint_names.index(n) - 1 for n in ("right_hip", "left_hip")]
    return torch.cat([torch.zeros(1, 3), joints - joints[hips].mean(0)]).numpy()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fastmetro_S_resnet50", {"smpl_regressor": False}),
        pytest.param("fastmetro_S_hrnet_w64", {"smpl_regressor": False}, marks=pytest.mark.slow),
        ("stdformer_S", {"backbone": "resnet50", "window": 2, "smpl_regressor": False}),
        ("stdformer_S", {"backbone": "hrnet_w32", "window": 2, "smpl_regressor": False}),
        pytest.param("pointhmr_hrnet_w32", {}, marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("backbone", ""),
)
def test_image_networks(name: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = create_model(name, mesh_sampling=tiny_mesh(), **options).eval()
    estimator = ImageEstimator(name, model, tiny_mesh(), mesh_level=431)  # type: ignore[arg-type]
    assert estimator.window == options.get("window", 1)
    check(estimator, partial(whole_crops, estimator))


def test_sgre() -> None:
    torch.manual_seed(0)
    model, smpl = create_model("sgre_resnet50").eval(), PlainSmpl()
    estimator = SGREEstimator(model, smpl, 6890)  # type: ignore[arg-type]

    def whole(window: Seen) -> FloatArray:
        ((frame, person),) = window
        square = square_around(person, frame.image.shape, SGRE_CROP_SCALE)
        images = to_input([crop(frame.image, square, IMAGE_SIZE)])
        joints, valid = (torch.from_numpy(x)[None] for x in given_joints(person, square))
        with torch.inference_mode():
            answer: dict[str, Tensor] = model(images, joints, valid)
            _, posed = smpl(answer["rotmat"], answer["betas"])
        return (posed - posed[:, :1])[0].numpy()

    check(estimator, whole)
