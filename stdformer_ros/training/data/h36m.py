"""Human3.6M in the layout that VideoPose3D made common, and windows of it for keypoint networks.

The user brings the data set: a folder with `data_3d_h36m.npz`, `data_2d_h36m_gt.npz` or
`data_2d_h36m_cpn_ft_h36m_dbb.npz`, and VideoPose3D's `common/h36m_dataset.py` beside it or in it,
which holds the calibration of the cameras. That file is not executed: only its literals are read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from stdformer_ros.body.safe_pickle import load_object_npz
from stdformer_ros.training.data.keypoint_windows import KeypointBatch
from stdformer_ros.types import FloatArray

TRAINING_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")
"""The published split."""
LEFT, RIGHT = (4, 5, 6, 11, 12, 13), (1, 2, 3, 14, 15, 16)
"""Corresponding joints of both sides among the 17."""
MOVING = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""The 17 joints of Human3.6M among the 32 of its recordings; the others are copies or constant."""
_MIRROR = list(range(17))
for _left, _right in zip(LEFT, RIGHT, strict=True):
    _MIRROR[_left], _MIRROR[_right] = _right, _left

_INTRINSICS, _EXTRINSICS = "h36m_cameras_intrinsic_params", "h36m_cameras_extrinsic_params"


@dataclass(frozen=True)
class Recording:
    """One action of one subject in the view of one camera, F frames at 50 Hz.

    Attributes:
        subject: as in "S9".
        action: with its number, as in "Walking 1".
        camera: its index.
        keypoints: (F, 17, 2), (2 x - width) / width and (2 y - height) / width.
        joints: (F, 17, 3) metres, camera frame, relative to the pelvis.
    """

    subject: str
    action: str
    camera: int
    keypoints: FloatArray
    joints: FloatArray


def read_recordings(
    folder: Path, keypoints: str = "cpn_ft_h36m_dbb", subjects: tuple[str, ...] = TEST_SUBJECTS
) -> Iterator[Recording]:
    """All recordings of these subjects.

    Args:
        folder: see the top of the file.
        keypoints: "gt", "cpn_ft_h36m_dbb", or another part of the name of a 2D file.
        subjects: S9 and S11, those of the published results, by default.

    Raises:
        FileNotFoundError: if a file is missing; the message says which.
        ValueError: if a file is broken, or the files do not belong together.
    """
    cameras = read_cameras(_camera_file(folder), subjects)
    file_3d, file_2d = folder / "data_3d_h36m.npz", folder / f"data_2d_h36m_{keypoints}.npz"
    positions, points = (
        _content(file, name)
        for file, name in ((file_3d, "positions_3d"), (file_2d, "positions_2d"))
    )
    for subject in subjects:
        for content, file in ((positions, file_3d), (points, file_2d)):
            if subject not in content:
                raise ValueError(f"{file} has no subject {subject}; it has {', '.join(content)}")
        for action in sorted(positions[subject]):
            if action not in points[subject]:
                raise ValueError(f"{file_2d} lacks the action {action!r} of {subject}")
            world = np.asarray(positions[subject][action], np.float64)
            world = world[:, list(MOVING)] if world.shape[1] == 32 else world
            views = zip(points[subject][action], cameras[subject], strict=True)
            for number, (view, camera) in enumerate(views):
                pixels = np.asarray(view, np.float64)[: len(world), :, :2]
                if world.shape[1:] != (17, 3) or pixels.shape != (*world.shape[:2], 2):
                    raise ValueError(
                        f"{subject}, {action}: joints {world.shape} and keypoints {pixels.shape} "
                        "do not belong together; 17 joints of the same frames are needed"
                    )
                yield camera.recording(subject, action, number, pixels, world)


@dataclass(frozen=True)
class RecordingCamera:
    """The pose of a camera and the size of its images.

    Attributes:
        rotation: from camera to world coordinates.
        translation: (3,) metres, the camera's position in the world.
        width: pixels.
        height: pixels.
    """

    rotation: Rotation
    translation: np.ndarray
    width: int
    height: int

    def recording(
        self, subject: str, action: str, number: int, pixels: np.ndarray, world: np.ndarray
    ) -> Recording:
        """The recording of keypoints (F, 17, 2) in pixels and joints (F, 17, 3) in world metres."""
        in_camera = self.rotation.inv().apply((world - self.translation).reshape(-1, 3))
        joints = in_camera.reshape(world.shape)
        size = np.array([self.width, self.height])
        return Recording(
            subject,
            action,
            number,
            ((2 * pixels - size) / self.width).astype(np.float32),
            (joints - joints[:, :1]).astype(np.float32),
        )


def read_cameras(
    file: Path, subjects: tuple[str, ...] = TEST_SUBJECTS
) -> dict[str, list[RecordingCamera]]:
    """The four cameras of each subject, from the literals in VideoPose3D's source code.

    Raises:
        ValueError: if the file does not hold them.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        literals = {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in (_INTRINSICS, _EXTRINSICS)
        }
        return {
            subject: [
                RecordingCamera(
                    Rotation.from_quat(np.roll(np.asarray(place["orientation"], np.float64), -1)),
                    np.asarray(place["translation"], np.float64) / 1000,
                    int(lens["res_w"]),
                    int(lens["res_h"]),
                )
                for lens, place in zip(
                    literals[_INTRINSICS], literals[_EXTRINSICS][subject], strict=True
                )
            ]
            for subject in subjects
        }
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} does not hold the cameras as VideoPose3D's common/h36m_dataset.py does: "
            f"{error!r}"
        ) from error


def _camera_file(folder: Path) -> Path:
    name = "h36m_dataset.py"
    places = [folder / name, folder / "common" / name, folder.parent / "common" / name]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"there is no {name} of VideoPose3D, which holds the cameras; searched "
        f"{', '.join(map(str, places))}"
    )


def _content(file: Path, name: str) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no {file}; VideoPose3D's DATASETS.md says how to make it from Human3.6M"
        )
    try:
        content = load_object_npz(file, (name,))[name].item()
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}[{name!r}] holds no subjects")
    return content


class RecordedKeypoints:
    """A `KeypointSource` of Human3.6M; half of the sequences are mirrored, as published.

    A sequence that extends beyond an end of its recording repeats the first or last frame.

    Args:
        folder: see the top of the file.
        keypoints: "gt" or "cpn_ft_h36m_dbb", see `read_recordings`.
        subjects: whose recordings are read.
        frames: F, the length of the sequences.
        answers: K, the number of consecutive frames whose poses are given.
        future_frames: number of frames after the last answer.
        device: that holds all data.

    Raises:
        FileNotFoundError, ValueError: as `read_recordings`.
    """

    def __init__(
        self,
        folder: Path,
        keypoints: str,
        subjects: tuple[str, ...],
        frames: int,
        answers: int,
        future_frames: int,
        device: torch.device | str = "cpu",
    ) -> None:
        recordings = list(read_recordings(folder, keypoints, subjects))
        self._keypoints = torch.cat([torch.from_numpy(r.keypoints) for r in recordings]).to(device)
        self._poses = torch.cat([torch.from_numpy(r.joints) for r in recordings]).to(device)
        lengths = torch.tensor([len(r.joints) for r in recordings])
        ends = lengths.cumsum(0)
        self._first = torch.repeat_interleave(ends - lengths, lengths).to(device)
        self._last = torch.repeat_interleave(ends - 1, lengths).to(device)
        self._frames = torch.arange(1 - frames, 1, device=device) + future_frames
        self._answers = torch.arange(1 - answers, 1, device=device)

    def sample(self, count: int) -> KeypointBatch:
        """See `KeypointSource`."""
        device = self._poses.device
        chosen = torch.randint(len(self._poses), (count,), device=device)
        flip = (torch.rand(count, device=device) < 0.5)[:, None, None, None]
        keypoints, poses = self._batch(chosen)
        return KeypointBatch(
            torch.where(flip, mirrored(keypoints), keypoints),
            torch.where(flip, mirrored(poses), poses),
        )

    def sample_fixed(self, count: int) -> KeypointBatch:
        """See `KeypointSource`; the sequences are spread over all recordings."""
        last = len(self._poses) - 1
        return self._batch(torch.linspace(0, last, count, device=self._poses.device).round().long())

    def _batch(self, chosen: Tensor) -> KeypointBatch:
        """Sequences whose last answer is for these frames."""
        first, last = self._first[chosen, None], self._last[chosen, None]
        frames = (chosen[:, None] + self._frames).clamp(first, last)
        answers = (chosen[:, None] + self._answers).clamp(first, last)
        return KeypointBatch(self._keypoints[frames], self._poses[answers])


def mirrored(points: Tensor) -> Tensor:
    """Points (..., 17, 2 or 3) with x negated and left and right exchanged."""
    sign = torch.ones(points.shape[-1], device=points.device)
    sign[0] = -1.0
    return points[..., _MIRROR, :] * sign


def h36m_splits(
    folder: Path,
    keypoints: str,
    frames: int,
    answers: int,
    future_frames: int,
    device: torch.device | str = "cpu",
) -> tuple[RecordedKeypoints, RecordedKeypoints]:
    """Sequences of the training subjects, and of the test subjects."""
    train_data, val_data = (
        RecordedKeypoints(folder, keypoints, subjects, frames, answers, future_frames, device)
        for subjects in (TRAINING_SUBJECTS, TEST_SUBJECTS)
    )
    return train_data, val_data
