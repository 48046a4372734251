"""The contest's candidates look at the past only, and give in a stream what they give at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stdformer_ros.training.contest.answer import Asked, Candidate
from stdformer_ros.training.contest.candidates import CANDIDATES, load_weights
from stdformer_ros.training.contest.data import FilmedPeople, subject_of
from stdformer_ros.training.contest.motion import SOURCE_RATE, TimedMotion
from stdformer_ros.training.contest.protocol import EVERY_FRAME, NEWEST_FRAME, Protocol, draw_asked
from stdformer_ros.training.contest.train import Run
from stdformer_ros.training.contest.views import FRAME_FEATURES, see
from stdformer_ros.training.people.retarget import BodyMotion

FRAMES = 12


def turning(frames: int = 200) -> BodyMotion:
    """Somebody who turns about the vertical by one radian per second, and walks along x."""
    angle = np.arange(frames) / SOURCE_RATE
    quaternions = np.zeros((frames, 24, 4), np.float32)
    quaternions[..., 3] = 1.0
    quaternions[:, 0, 1], quaternions[:, 0, 3] = np.sin(angle / 2), np.cos(angle / 2)
    root = np.stack([angle, np.ones(frames), np.zeros(frames)], axis=-1).astype(np.float32)
    return BodyMotion(quaternions, root, 1 / SOURCE_RATE)


def detected(count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Rays, visibility and seconds of people who move about and of whom parts are lost."""
    torch.manual_seed(3)
    stand = torch.linspace(-0.2, 0.2, 21)[:, None] * torch.tensor([0.3, 1.0])
    drift = 0.02 * torch.randn(count, FRAMES, 1, 2).cumsum(1)
    rays = stand + drift + 0.01 * torch.randn(count, FRAMES, 21, 2)
    visibility = (torch.rand(count, FRAMES, 21) > 0.2).float()
    return rays, visibility, 0.02 + 0.1 * torch.rand(count, FRAMES)


@pytest.fixture(params=sorted(CANDIDATES))
def model(request: pytest.FixtureRequest) -> Candidate:
    torch.manual_seed(0)
    candidate = CANDIDATES[request.param].make().eval().requires_grad_(False)
    with torch.no_grad():  # beyond the standing person that they begin with
        for parameter in candidate.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return candidate


def test_a_stream_gives_what_whole_sequences_give(model: Candidate) -> None:
    rays, visibility, seconds = detected()
    asked = Asked(torch.arange(2).repeat_interleave(FRAMES), torch.arange(FRAMES).repeat(2))
    at_once = model(see(rays, visibility, seconds), asked)
    rotations = at_once.parameters.rotations.unflatten(0, (2, FRAMES))
    memory = None
    for frame in range(FRAMES):
        memory, answers = model.step(
            memory, rays[:, frame], visibility[:, frame], seconds[:, frame]
        )
        torch.testing.assert_close(
            answers.parameters.rotations, rotations[:, frame], atol=1e-4, rtol=0
        )


def test_the_future_changes_nothing(model: Candidate) -> None:
    rays, visibility, seconds = detected()
    now = FRAMES // 2
    asked = Asked(torch.arange(2), torch.full((2,), now))
    before = model(see(rays, visibility, seconds), asked)
    rays[:, now + 1 :] += 1.0
    visibility[:, now + 1 :] = 1.0
    after = model(see(rays, visibility, seconds), asked)
    assert torch.equal(before.parameters.rotations, after.parameters.rotations)


def test_views_look_straight_at_people_wherever_they_stand() -> None:
    rays, _, seconds = detected()
    visibility = torch.ones(rays.shape[:-1])
    seen = see(rays, visibility, seconds)
    assert seen.features.shape[-1] == FRAME_FEATURES
    assert seen.places[:, :, 0].mean(2).abs().max() < 0.05


def test_a_lost_landmark_goes_along_with_the_others() -> None:
    rays, _, seconds = detected()
    rays = rays[:, :1].repeat(1, FRAMES, 1, 1) + torch.linspace(0, 0.3, FRAMES)[:, None, None]
    visibility = torch.ones(rays.shape[:-1])
    seen = see(rays, visibility, seconds)
    visibility[:, 4:, 7] = 0.0
    lost = see(rays, visibility, seconds)
    torch.testing.assert_close(lost.places, seen.places, atol=1e-5, rtol=0)


def test_motion_keeps_its_speed_at_any_frame_rate() -> None:
    motion = TimedMotion([turning()], [1.0])
    for rate in (10.0, 30.0, 60.0):
        moving = motion.steady(4, 20, rate)
        steps = moving.root[:, 1:, 0] - moving.root[:, :-1, 0]
        torch.testing.assert_close(steps, torch.full_like(steps, 1 / rate), atol=1e-4, rtol=0)


def test_sequences_beyond_a_clips_end_go_back() -> None:
    motion = TimedMotion([turning(40)], [1.0])
    moving = motion.steady(4, 64, 8.0)
    assert torch.isfinite(moving.root).all()
    assert moving.root[..., 0].amax() - moving.root[..., 0].amin() <= 40 / SOURCE_RATE


@pytest.mark.parametrize("plan", [EVERY_FRAME, NEWEST_FRAME])
def test_a_training_step_has_finite_losses_and_gradients(plan: object) -> None:
    torch.manual_seed(0)
    filmed = FilmedPeople(TimedMotion([turning()], [1.0]), 26, 6)
    candidate = CANDIDATES["recurrent_light"].make()
    losses = Protocol().losses(candidate, filmed.sample(), plan)  # type: ignore[arg-type]
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in candidate.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_newest_frame_is_asked_for_once() -> None:
    asked, moving = draw_asked(NEWEST_FRAME, 30, 26)
    assert moving == 10
    assert len(asked.row) == 3 * 10 + 20
    assert set(asked.row.tolist()) == set(range(30))
    assert ((asked.frame >= 0) & (asked.frame < 26)).all()


def test_aliases_tell_subjects() -> None:
    assert subject_of("cmu_16_07") == "16"
    assert subject_of("cmu_aux_indian_04") == "94"
    assert subject_of("cmu_03_01_cut1") == "03"


def test_a_kept_file_is_the_average_and_another_run_starts_from_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "first", "recurrent_light", 1e-3)
    with torch.no_grad():
        for value in run.average.parameters():
            value.copy_(torch.randn_like(value).half())
    run.keep(tmp_path / "kept", {})
    (file,) = (tmp_path / "kept").glob("*.safetensors")
    other = Run(tmp_path / "second", "recurrent_light", 1e-3)
    other.start_from(file)
    for model in (load_weights(file), other.model, other.average):
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, run.average.state_dict()[name], atol=0, rtol=0)
    assert other.seconds == 0.0
