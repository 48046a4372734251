"""Synthetic people: input and targets agree, and posed motion is filmed several times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.handmade_motion import lively, moving, still
from helpers.poses import landmarks_of
from stdformer_ros.body.body_landmarks import LANDMARK_NAMES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.models.estimator import Estimator, Features
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.training.people import landmark_noise, posed_motion, synthetic
from stdformer_ros.training.people.bvh import Motion
from stdformer_ros.training.people.motion_library import MotionLibrary
from stdformer_ros.training.people.retarget import retarget
from stdformer_ros.training.people.synthetic import SyntheticBatch, SyntheticPeople
from stdformer_ros.types import Body, Frame, Person

FRAMES, ANSWERS = 9, 3


def people(*motions: Motion) -> SyntheticPeople:
    library = MotionLibrary([retarget(m) for m in motions], FRAMES)
    return SyntheticPeople(library, ANSWERS)


@pytest.fixture
def perfect_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLAIN", "SHIFT", "GROWTH", "BIAS", "BURST_RATE", "SWAP_RATE", "TRUNCATED"):
        monkeypatch.setattr(landmark_noise, name, 0.0)
    for name in ("SLOW_NOISE", "FAST_NOISE"):
        monkeypatch.setattr(landmark_noise, name, (1e-12, 1e-12))


@pytest.fixture
def usual_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """People with the bones of their shape, who move as captured and whose windows are full."""
    for name in ("BEND", "LIMB_LENGTH", "MIXED", "REACHING", "SEATED", "TIPPED"):
        monkeypatch.setattr(posed_motion, name, 0.0)
    monkeypatch.setattr(synthetic, "JUST_FOUND", 0.0)


def true_landmarks(batch: SyntheticBatch) -> Tensor:
    """(B, K, 21, 3) camera coordinates, from the batch's own truth."""
    count, answers = batch.rotations.shape[:2]
    betas = batch.betas[:, None].expand(-1, answers, -1).flatten(0, 1)
    points = landmarks_of(batch.rotations.flatten(0, 1), betas).unflatten(0, (count, answers))
    return points + batch.pelvis[:, :, None]


@pytest.mark.usefixtures("perfect_detector")
def test_rays_are_the_projected_landmarks_of_the_true_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For all changes of the motion except bone lengths, which the targets do not contain."""
    for name in ("MIXED", "REACHING", "SEATED", "TIPPED"):
        monkeypatch.setattr(posed_motion, name, 0.3)
    monkeypatch.setattr(posed_motion, "LIMB_LENGTH", 0.0)
    monkeypatch.setattr(synthetic, "JUST_FOUND", 0.0)
    torch.manual_seed(0)
    batch = people(lively(60)).sample_fixed(200)
    points = true_landmarks(batch)
    expected = points[..., :2] / points[..., 2:]
    torch.testing.assert_close(batch.rays[:, -ANSWERS:], expected, atol=1e-4, rtol=1e-4)


def test_shapes_are_as_documented() -> None:
    batch = people(lively(60)).sample(5)
    assert batch.rays.shape == (5, FRAMES, 21, 2)
    assert batch.visibility.shape == (5, FRAMES, 21)
    assert batch.rotations.shape == (5, ANSWERS, 24, 3, 3)
    assert batch.betas.shape == (5, 10)
    assert batch.pelvis.shape == (5, ANSWERS, 3)


@pytest.mark.usefixtures("perfect_detector", "usual_people")
def test_the_left_side_of_a_facing_person_is_on_the_right_of_the_image() -> None:
    torch.manual_seed(0)
    batch = people(still(40)).sample_fixed(400)
    towards_camera = batch.rotations[:, -1, 0, :, 2] @ torch.tensor([0.0, 0.0, -1.0])
    left, right = (LANDMARK_NAMES.index(f"{side}_shoulder") for side in ("left", "right"))
    across = batch.rays[:, -1, left, 0] - batch.rays[:, -1, right, 0]
    facing, away = towards_camera > 0.7, towards_camera < -0.7
    assert facing.sum() > 50
    assert away.sum() > 50
    assert (across[facing] > 0).all()
    assert (across[away] < 0).all()


@pytest.mark.usefixtures("perfect_detector", "usual_people")
def test_people_stand_with_their_heads_up_at_small_y() -> None:
    torch.manual_seed(0)
    batch = people(still(40)).sample(100)
    nose, heel = LANDMARK_NAMES.index("nose"), LANDMARK_NAMES.index("left_heel")
    assert (batch.rays[:, :, nose, 1] < batch.rays[:, :, heel, 1]).all()


@pytest.mark.usefixtures("usual_people")
def test_cameras_are_within_the_documented_limits() -> None:
    torch.manual_seed(0)
    batch = people(still(40)).sample_fixed(1000)
    x, y, depth = batch.pelvis[:, -1].T
    low, high = synthetic.DISTANCE
    assert (low, high) == (1.6, 10.0)
    assert low <= depth.min() < 1.1 * low
    assert 0.9 * high < depth.max() <= high
    assert ((x / depth).abs() <= synthetic.OFF_AXIS + 1e-6).all()
    assert ((y / depth).abs() <= synthetic.OFF_AXIS + 1e-6).all()
    # Distances are uniform on a logarithmic scale.
    assert depth.log().median().item() == pytest.approx(0.5 * np.log(low * high), abs=0.12)
    headings = torch.atan2(batch.rotations[:, -1, 0, 0, 2], batch.rotations[:, -1, 0, 2, 2])
    quarters = torch.histc(headings, 4, -np.pi, np.pi)
    assert (quarters > 180).all(), "people are filmed from all sides"


@pytest.mark.usefixtures("usual_people")
def test_pitch_and_roll_are_distributed_as_documented() -> None:
    torch.manual_seed(0)
    up = people(still(40)).sample_fixed(3000).rotations[:, -1, 0, :, 1]  # of the upright body
    pitch = torch.arcsin(up[:, 2].clamp(-1, 1)).rad2deg()
    assert 29.0 < pitch.abs().max() < 30.1
    assert pitch.mean().abs() < 1.5
    assert pitch.std().item() == pytest.approx(60 / 12**0.5, rel=0.04)
    roll = torch.atan2(up[:, 0], -up[:, 1]).rad2deg()
    assert roll.mean().abs() < 1.0
    assert 28.5 < roll.abs().max() < 30.1
    # Beyond three standard deviations of the level cameras: a third, of which 18 of 30 degrees.
    assert (roll.abs() > 12).float().mean().item() == pytest.approx(0.2, abs=0.025)
    level = roll.abs() < 12
    expected = (2 / 3 * 4.0**2 + 1 / 3 * 12 / 30 * 12**2 / 3) / (2 / 3 + 1 / 3 * 12 / 30)
    assert roll[level].square().mean().item() == pytest.approx(expected, rel=0.1)


def test_rotations_are_rotations() -> None:
    batch = people(lively(60)).sample(50)
    product = batch.rotations @ batch.rotations.transpose(-1, -2)
    torch.testing.assert_close(product, torch.eye(3).expand_as(product), atol=1e-4, rtol=0)
    assert (torch.linalg.det(batch.rotations) > 0).all()


def test_shapes_differ_like_adults() -> None:
    torch.manual_seed(0)
    betas = people(still(40)).sample_fixed(500).betas
    assert betas.mean().abs() < 0.06
    assert betas.std().item() == pytest.approx(1.0, abs=0.06)


@pytest.mark.usefixtures("usual_people")
def test_a_walkers_steps_are_in_metres() -> None:
    """lively() walks 0.02 units per frame; there are 2 units to the metre."""
    torch.manual_seed(0)
    motion = lively(60)
    scale = retarget(motion).root[0, 1] / motion.root[0, 1]
    batch = people(motion).sample(100)
    step = (batch.pelvis[:, 1] - batch.pelvis[:, 0]).norm(dim=-1)
    truth = np.linalg.norm(np.diff(motion.root, axis=0), axis=1) * scale
    # windows run at half to double speed
    assert step.min() > 0.5 * truth.min() - 1e-4
    assert step.max() < 2.0 * truth.max() + 1e-4


@pytest.mark.usefixtures("usual_people")
def test_steps_agree_with_the_rotation_of_the_body() -> None:
    """People walk sideways: each step is along the body's left-right axis in every camera."""
    torch.manual_seed(0)
    frames = 40
    root = np.arange(frames)[:, None] * np.array([0.05, 0.0, 0.0])
    batch = people(moving({"hip": np.zeros((frames, 3))}, root)).sample(200)
    step = batch.pelvis[:, 1] - batch.pelvis[:, 0]
    leftward = batch.rotations[:, 1, 0, :, 0]
    along = (step * leftward).sum(-1).abs()
    torch.testing.assert_close(along, step.norm(dim=-1), atol=1e-5, rtol=1e-4)


def test_the_fixed_batch_is_always_the_same_and_keeps_the_random_state() -> None:
    source = people(lively(60))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = source.sample_fixed(10)
    assert torch.rand(3).tolist() == expected.tolist()
    second = source.sample_fixed(10)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.rays, source.sample_fixed(10, seed=1).rays)


def test_batches_differ() -> None:
    source = people(lively(60))
    assert not torch.equal(source.sample(4).rays, source.sample(4).rays)


def test_a_sequence_is_filmed_by_a_new_camera_each_time() -> None:
    """The same body appears again at another place in front of the camera."""
    torch.manual_seed(0)
    source = people(lively(60))
    batches = [source.sample(6) for _ in range(30)]
    betas = torch.cat([batch.betas for batch in batches])
    pelvis = torch.cat([batch.pelvis[:, -1] for batch in batches])
    same = (betas[:, None] == betas).all(-1)
    same.fill_diagonal_(False)
    assert same.any(1).float().mean() > 0.8
    a, b = same.nonzero().T
    assert (pelvis[a] - pelvis[b]).norm(dim=-1).min() > 0.01


# --- people who were found recently


def first_of(batch: SyntheticBatch) -> Tensor:
    """(B,) the frame in which each person was found; all earlier frames are copies of it."""
    changes = (batch.rays[:, 1:] != batch.rays[:, :-1]).flatten(2).any(2)
    return torch.where(changes.any(1), changes.int().argmax(1), FRAMES - 1)


def test_windows_of_just_found_people_are_padded_with_their_first_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are found before or in the first frame that has a target."""
    monkeypatch.setattr(synthetic, "JUST_FOUND", 1.0)
    batch = people(lively(60)).sample_fixed(1400)
    first = first_of(batch)
    assert set(first.tolist()) == set(range(FRAMES - ANSWERS + 1))
    counts = torch.bincount(first)
    assert ((counts - 200).abs() < 60).all(), "all frames are equally likely"
    for i in range(0, 1400, 50):
        start = int(first[i])
        assert (batch.rays[i, :start] == batch.rays[i, start]).all()
        assert (batch.visibility[i, :start] == batch.visibility[i, start]).all()
        assert (batch.rays[i, start + 1 :] != batch.rays[i, start:-1]).flatten(1).any(1).all()


def test_a_tenth_of_the_people_were_just_found() -> None:
    batch = people(lively(60)).sample_fixed(2000)
    padded = (first_of(batch) > 0).float().mean()
    # Those who are found in the first frame have a full window.
    expected = synthetic.JUST_FOUND * (1 - 1 / (FRAMES - ANSWERS + 1))
    assert synthetic.JUST_FOUND == 0.1
    assert padded.item() == pytest.approx(expected, abs=0.02)


class Recorder(Estimator):
    """Keeps the windows that the pipeline passes to it."""

    name = "recorder"
    window = FRAMES - ANSWERS + 1
    joint_names = ("pelvis",)
    skeleton = ()
    faces = None

    def __init__(self) -> None:
        self.windows: list[Tensor] = []

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        return {"rays": torch.from_numpy(np.stack([p.landmarks[:21] for p in people]))}

    def decode(self, windows: Features) -> list[Body]:
        self.windows.append(windows["rays"][0].clone())
        return [Body(np.zeros((1, 3), np.float32), np.ones(1), None, None, None, True)]


def test_the_padding_is_that_of_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all windows with targets, and people found at any time."""
    monkeypatch.setattr(synthetic, "JUST_FOUND", 1.0)
    batch = people(lively(60)).sample_fixed(40)
    camera = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
    for rays, first in zip(batch.rays, first_of(batch).tolist(), strict=True):
        now: list[Person] = []
        recorder = Recorder()
        pipeline = Pipeline(lambda frame, now=now: list(now), recorder)
        for number in range(first, FRAMES):
            landmarks = np.zeros((33, 2), np.float32)
            landmarks[:21] = rays[number].numpy()
            now[:] = [Person(1, 1.0, np.zeros(4, np.float32), landmarks, np.ones(33, np.float32))]
            pipeline(Frame(np.zeros((48, 64, 3), np.uint8), number / 30, camera))
        for answer in range(ANSWERS):
            ours = rays[answer : answer + recorder.window]
            assert torch.equal(ours, recorder.windows[answer - ANSWERS])
