"""Bodies and synthetic cameras of `cli evaluate --motion`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.handmade_motion import bvh_text, lively
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.evaluation.motion.scenes import (
    SceneMaker,
    read_clip,
    standing_height,
)
from stdformer_ros.training.people.retarget import BodyMotion, retarget


def motion(frames: int = 60, seed: int = 0) -> BodyMotion:
    return retarget(lively(frames, seed))


def test_cameras_are_within_the_limits_of_the_protocol() -> None:
    make = SceneMaker(seed=0)
    seen = [scene for i in range(12) for scene in make(f"clip_{i}", motion(30, i))]
    assert len(seen) == 36
    for scene in seen:
        assert 0.7 * 720 <= scene.camera.fy <= 1.4 * 720
        assert 2.0 <= scene.joints[:, 0, 2].mean() <= 6.0
        up = scene.up / np.linalg.norm(scene.up)
        assert abs(np.degrees(np.arcsin(up[2]))) <= 25.0 + 1e-6
        assert scene.joints[:, 0, 2].min() >= 1.5
        pelvis = scene.camera.project(scene.joints[:, 0].numpy())
        assert (pelvis >= 0).all()
        assert (pelvis <= [1280, 720]).all()
    headings = [float(scene.rotations[0, 0, 2, 2]) for scene in seen]
    assert min(headings) < -0.7
    assert max(headings) > 0.7


def test_the_root_rotation_is_in_camera_coordinates() -> None:
    """Skinning the scene's rotations gives the scene's joints, around the pelvis."""
    scene = next(iter(SceneMaker(0)("clip", motion())))
    _, joints = BodyModel(108)(scene.rotations, scene.betas.expand(60, -1))
    assert joints.numpy() == pytest.approx((scene.joints - scene.joints[:, :1]).numpy(), abs=1e-5)


def test_the_path_has_the_same_length_in_every_camera() -> None:
    clip = motion()
    walked = np.linalg.norm(np.diff(clip.root, axis=0), axis=1)
    for scene in SceneMaker(0)("clip", clip):
        there = np.linalg.norm(np.diff(scene.joints[:, 0].numpy(), axis=0), axis=1)
        assert there == pytest.approx(walked, abs=1e-4)


def test_a_person_who_walks_far_is_filmed_from_farther_away() -> None:
    clip = motion(90)
    clip.root[:, 0] += np.linspace(0.0, 30.0, 90, dtype=np.float32)
    for scene in SceneMaker(0)("clip", clip):
        pelvis = scene.camera.project(scene.joints[:, 0].numpy())
        assert (pelvis >= 0).all()
        assert (pelvis <= [1280, 720]).all()


def test_the_stature_is_the_height_of_the_mesh() -> None:
    scene = next(iter(SceneMaker(3)("clip", motion())))
    vertices, _ = BodyModel(1723)(torch.eye(3).expand(1, 24, 3, 3), scene.betas[None])
    assert scene.stature == pytest.approx(float(np.ptp(vertices[0, :, 1].numpy())), abs=1e-5)
    assert scene.pixel_height == pytest.approx(
        scene.camera.fy * scene.stature / scene.joints[:, 0, 2].numpy()
    )


def test_the_scenes_of_a_clip_depend_only_on_seed_and_name() -> None:
    def places(seed: int, name: str) -> list[np.ndarray]:
        return [scene.joints.numpy() for scene in SceneMaker(seed)(name, motion())]

    maker = SceneMaker(0)
    list(maker("another clip before", motion()))
    again = [scene.joints.numpy() for scene in maker("clip", motion())]
    for a, b in zip(places(0, "clip"), again, strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(places(0, "clip")[0], places(1, "clip")[0])
    assert not np.array_equal(places(0, "clip")[0], places(0, "other")[0])


def test_clips_of_60_hz_are_subsampled_and_other_rates_refused(tmp_path: Path) -> None:
    source = lively(20)
    path = tmp_path / "clip.bvh"
    path.write_text(bvh_text(replace(source, frame_time=1 / 60)))
    assert len(read_clip(path).root) == 10
    path.write_text(bvh_text(replace(source, frame_time=1 / 50)))
    with pytest.raises(ValueError, match=r"clip\.bvh has 50 frames per second"):
        read_clip(path)


def test_the_standing_height_is_that_of_the_mesh_in_the_rest_pose() -> None:
    body, betas = BodyModel(431), torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    vertices, _ = body(torch.eye(3).expand(4, 24, 3, 3), betas)
    expected = vertices[..., 1].amax(1) - vertices[..., 1].amin(1)
    assert standing_height(body, betas).numpy() == pytest.approx(expected.numpy(), abs=1e-5)
