"""Motion capture in front of synthetic cameras: the true people of `cli evaluate --motion`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from stdformer_ros.body.body_landmarks import BodyLandmarks
from stdformer_ros.body.body_model import BodyModel, forward_kinematics
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.training.people.bvh import read_bvh
from stdformer_ros.training.people.posed_motion import quaternion_to_matrix
from stdformer_ros.training.people.retarget import BodyMotion, retarget

FRAME_SECONDS = 1 / 30
CAMERAS = 3
WIDTH, HEIGHT = 1280, 720
DISTANCE = (2.0, 6.0)
"""Metres from the camera to the middle of the person's path."""
PITCH_DEGREES = 25.0
FOCAL = (0.7, 1.4)
"""Focal length in image heights."""
NEAREST = 1.5
"""Metres: the person never comes closer to the camera than this."""
DRAWS = 200
"""Number of random cameras that are tried; then the last one is moved back until it fits."""

Hide = Callable[[NDArray[np.floating], np.random.Generator], NDArray[np.bool_]]


def _unchanged(motion: BodyMotion) -> BodyMotion:
    return motion


def _nothing(pixels: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.zeros(pixels.shape[:2], bool)


@dataclass(frozen=True)
class Case:
    """What is different about the people of an evaluation; by default nothing.

    Attributes:
        move: changes the motion.
        stature: range in metres of the random standing height; None for the body model's adults.
        hide: from the true landmarks (N, 21, 2) in pixels, which of them cannot be seen: (N, 21).
    """

    move: Callable[[BodyMotion], BodyMotion] = _unchanged
    stature: tuple[float, float] | None = None
    hide: Hide = _nothing


PLAIN = Case()


@dataclass(frozen=True)
class Scene:
    """One clip in front of one camera: N frames, camera coordinates, metres.

    Attributes:
        clip: name of the clip.
        camera: intrinsics of 1280 x 720 pixels.
        rotations: (N, 24, 3, 3), the pelvis' in the camera frame, the others relative to their
            parents.
        betas: (10,) shape parameters.
        joints: (N, 24, 3).
        landmarks: (N, 21, 3), see `BodyLandmarks`.
        stature: the person's height in metres when standing.
        up: (3,) the world's up direction in the camera frame.
        hidden: (N, 21) bool, landmarks that the detector cannot see.
        seed: of the detector's random faults in this scene.
    """

    clip: str
    camera: Camera
    rotations: Tensor
    betas: Tensor
    joints: Tensor
    landmarks: Tensor
    stature: float
    up: NDArray[np.float64]
    hidden: NDArray[np.bool_]
    seed: tuple[int, ...]

    @property
    def pixels(self) -> NDArray[np.float32]:
        """(N, 21, 2) pixels, the landmarks in the image."""
        return self.camera.project(self.landmarks.numpy())

    @property
    def pixel_height(self) -> NDArray[np.float32]:
        """(N,) pixels, the height in the image if the person stood upright where the pelvis is.

        It does not shrink when the person lies down, because a detector is not more precise then.
        """
        depth = self.joints[:, 0, 2].numpy()
        return np.asarray(self.camera.fy * self.stature / depth, np.float32)


def read_clip(path: Path) -> BodyMotion:
    """A BVH clip on the embedded body at 30 Hz; clips at a multiple of 30 Hz are subsampled.

    Raises:
        ValueError: naming the file, if it is damaged or has another skeleton or frame rate.
    """
    try:
        motion = retarget(read_bvh(path))
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error
    every = max(round(FRAME_SECONDS / motion.frame_time), 1)
    if abs(every * motion.frame_time - FRAME_SECONDS) > 0.02 * FRAME_SECONDS:
        raise ValueError(
            f"{path} has {1 / motion.frame_time:.4g} frames per second; 30, or a multiple of it, "
            f"are needed: resample the clip"
        )
    return BodyMotion(motion.quaternions[::every], motion.root[::every], FRAME_SECONDS)


class SceneMaker:
    """Adds a body and cameras to clips. The same seed and clip name give the same scenes.

    Args:
        seed: of bodies, cameras and the detector's faults.
        case: what is different about the people.
    """

    def __init__(self, seed: int, case: Case = PLAIN) -> None:
        self.seed = seed
        self.case = case
        self._body = BodyModel(level=1723)
        self._landmarks = BodyLandmarks()

    def __call__(self, clip: str, motion: BodyMotion) -> Iterator[Scene]:
        """The scenes of a clip: one body of random shape in front of `CAMERAS` cameras."""
        motion = self.case.move(motion)
        identity = (self.seed, crc32(clip.encode()))
        rng = np.random.default_rng(identity)
        betas = torch.from_numpy(rng.normal(size=(1, 10)).astype(np.float32))
        if self.case.stature is not None:
            betas = self._of_stature(betas, rng.uniform(*self.case.stature))
        stature = float(standing_height(self._body, betas))
        local = quaternion_to_matrix(torch.from_numpy(motion.quaternions))
        for number in range(CAMERAS):
            camera, turn, pelvis = _draw_camera(motion.root.astype(np.float64), rng)
            rotations = local.clone()
            rotations[:, 0] = torch.from_numpy(turn.astype(np.float32)) @ local[:, 0]
            joints, landmarks = self._pose(rotations, betas)
            place = torch.from_numpy(pelvis.astype(np.float32))[:, None]
            landmarks = landmarks + place
            hidden = self.case.hide(camera.project(landmarks.numpy()), rng)
            yield Scene(
                clip,
                camera,
                rotations,
                betas[0],
                joints + place,
                landmarks,
                stature,
                turn[:, 1],
                hidden,
                (*identity, number),
            )

    def _pose(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (N, 24, 3) and landmarks (N, 21, 3) relative to the pelvis."""
        every = betas.expand(len(rotations), -1)
        rest = self._body.joints_template + torch.einsum(
            "jck,bk->bjc", self._body.joints_shapedirs, every
        )
        global_rotations, joints = forward_kinematics(rotations, rest)
        return joints, self._landmarks(global_rotations, joints, rest, every)

    def _of_stature(self, betas: Tensor, metres: float) -> Tensor:
        """The betas (1, 10), changed as little as possible so that the body has this height."""
        for _ in range(3):  # Newton steps: the height is linear until another vertex is the lowest
            betas = betas.detach().requires_grad_()
            height = standing_height(self._body, betas)
            (slope,) = torch.autograd.grad(height.sum(), betas)
            betas = betas + (metres - height) * slope / slope.square().sum()
        return betas.detach()


def standing_height(body: BodyModel, betas: Tensor) -> Tensor:
    """(B,) metres from sole to crown of bodies of shape `betas` (B, 10) in the rest pose."""
    up = body.template[:, 1] + betas @ body.shapedirs[:, 1].T
    return up.amax(1) - up.amin(1)


def _draw_camera(
    root: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Camera, NDArray[np.float64], NDArray[np.float64]]:
    """A camera that looks at the middle of a path (N, 3) and keeps the pelvis in the image.

    A camera whose view the person leaves, or to which they come too close, is drawn again. If
    `DRAWS` draws do not suffice, the last one is moved back until it fits.

    Returns:
        The intrinsics, the rotation (3, 3) from the world (y up) to the camera, and the pelvis
        (N, 3) in the camera frame.
    """
    around = root - root.mean(axis=0)
    for _ in range(DRAWS):
        distance = rng.uniform(*DISTANCE)
        pitch = np.radians(rng.uniform(-PITCH_DEGREES, PITCH_DEGREES))
        heading = rng.uniform(0.0, 2.0 * np.pi)
        focal = HEIGHT * rng.uniform(*FOCAL)
        turn = (
            Rotation.from_rotvec([pitch, 0.0, 0.0]).as_matrix()
            @ np.diag([1.0, -1.0, -1.0])
            @ Rotation.from_rotvec([0.0, heading, 0.0]).as_matrix()
        )
        pelvis = around @ turn.T + [0.0, 0.0, distance]
        if _in_view(pelvis, focal):
            break
    while not _in_view(pelvis, focal):
        pelvis[:, 2] += 0.1
    return Camera(WIDTH, HEIGHT, focal, focal, 0.5 * WIDTH, 0.5 * HEIGHT), turn, pelvis


def _in_view(pelvis: NDArray[np.float64], focal: float) -> bool:
    reach = 0.5 * np.array([WIDTH, HEIGHT]) / focal * pelvis[:, 2:]
    return bool((pelvis[:, 2] >= NEAREST).all() and (np.abs(pelvis[:, :2]) <= reach).all())
