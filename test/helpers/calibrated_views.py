"""A walker in front of four calibrated cameras, and a pipeline with a constant answer."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation.views.cameras import CalibratedCamera
from stdformer_ros.evaluation.views.evaluate import evaluate_views
from stdformer_ros.evaluation.views.recording import JOINTS, Observation

FRAMES, RATE = 60, 60.0
ONE = np.ones(12)
REST = {
    "shoulder": (0.18, 0.0, 1.4),
    "elbow": (0.25, 0.05, 1.1),
    "wrist": (0.25, -0.1, 0.9),
    "hip": (0.1, 0.0, 0.95),
    "knee": (0.1, -0.1, 0.5),
    "ankle": (0.1, 0.05, 0.1),
}


def camera(name: str, heading: float, distance: float = 4.0) -> CalibratedCamera:
    """A camera at a height of 1.6 m that looks at a point one metre above the origin."""
    place = np.array([distance * np.cos(heading), distance * np.sin(heading), 1.6])
    z = np.array([0.0, 0.0, 1.0]) - place
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z])
    return CalibratedCamera(
        name,
        (1080, 1920),
        np.array([[1600.0, 0, 540], [0, 1610, 950], [0, 0, 1]]),
        np.array([-0.05, 0.1, 0.001, -0.001]),
        rotation,
        -rotation @ place,
    )


CAMERAS = [camera(f"cam{i}", heading) for i, heading in enumerate((0.3, 1.8, 3.3, 5.0))]


def walker() -> np.ndarray:
    """(F, 12, 3) joints of somebody who sways by 10 cm once per second; world, z up, metres."""
    rest = np.array(
        [
            [x if side == "left" else -x, y, z]
            for name in JOINTS
            for side, _, part in [name.partition("_")]
            for x, y, z in [REST[part]]
        ]
    )
    sway = 0.1 * np.sin(2 * np.pi * np.arange(FRAMES) / RATE)
    return rest + np.stack([sway, 0.5 * sway, 0 * sway], axis=1)[:, None]


def record(points: np.ndarray, change=None) -> list[list[list[Observation]]]:
    """Perfect views of `points` (world); `change` turns true joints (camera frame) into answers."""
    views = []
    for cam in CAMERAS:
        true, pixels = cam.in_camera(points), cam.project(points)
        answers = true if change is None else change(true)
        views.append(
            [
                [Observation(7, 800.0, pixels[f], ONE, answers[f], answers[f], true[f], 0.9 * ONE)]
                for f in range(len(points))
            ]
        )
    return views


def two_people(second_height=300.0):
    """The walker (7), and somebody a metre aside who has another identity in each view."""
    both = []
    for view, (near, far) in enumerate(
        zip(record(walker()), record(np.array([1.0, 0.3, 0.0]) + walker()), strict=True)
    ):
        far = [[replace(s[0], track_id=view, height=second_height)] for s in far]
        order = (near, far) if view % 2 else (far, near)
        both.append([[*a, *b] for a, b in zip(*order, strict=True)])
    return both


def evaluate(recordings, **options):
    names = [f"{c.name}.mp4" for c in CAMERAS]
    return evaluate_views(names, CAMERAS, recordings, RATE, **options)


def write_toml(path, cameras=CAMERAS):
    text = ""
    for cam in cameras:
        turn = cv2.Rodrigues(cam.rotation)[0].ravel().tolist()
        text += (
            f'[{cam.name}]\nname = "{cam.name}"\nsize = [ {cam.size[0]}.0, {cam.size[1]}.0,]\n'
            f"matrix = {cam.matrix.tolist()}\ndistortions = {cam.distortion.tolist()}\n"
            f"rotation = {turn}\ntranslation = {cam.translation.tolist()}\nfisheye = false\n\n"
        )
    path.write_text(text + "[metadata]\nadjusted = false\nerror = 0.0\n")
    return path


class OnePerson:
    """A pipeline that always answers with the same posed body."""

    def __init__(self, body, person):
        from types import SimpleNamespace

        self.estimator = SimpleNamespace(name="one", joint_names=JOINT_NAMES, delay_frames=0)
        self.body, self.person, self.cameras = body, person, []

    def follow(self, frames):
        from stdformer_ros.types import Answer, Human

        for frame in frames:
            self.cameras.append(frame.camera)
            human = Human(self.person, self.body, np.zeros_like(self.body.joints), 1.0)
            yield Answer(frame, [human])


def one_person() -> OnePerson:
    from stdformer_ros.body.body_model import BodyModel, forward_kinematics
    from stdformer_ros.types import Body, Person

    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    rotations[0, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    model = BodyModel(108)
    _, joints = forward_kinematics(rotations, model.joints_template[None])
    place = np.array([0.0, 0.0, 4.0], np.float32)
    body = Body(
        joints[0].numpy() + place,
        np.ones(24, np.float32),
        None,
        rotations[0].numpy(),
        np.zeros(10, np.float32),
        True,
    )
    marks = np.arange(66, dtype=np.float32).reshape(33, 2)
    box = np.array([0, 10, 20, 110], np.float32)
    return OnePerson(body, Person(3, 0.9, box, marks, np.linspace(0, 1, 33, dtype=np.float32)))
