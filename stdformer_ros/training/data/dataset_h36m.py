"""Human3.6M in the layout that VideoPose3D made common, for the keypoint systems.

The data set is the user's: a folder with `data_3d_h36m.npz`, `data_2d_h36m_gt.npz` or
`data_2d_h36m_cpn_ft_h36m_dbb.npz`, and VideoPose3D's `common/h36m_dataset.py` beside it or in it,
which holds the calibration of the cameras. That file is not run: only the literals are read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stdformer_ros.body.safe_pickle import load_object_npz
from stdformer_ros.types import FloatArray

TEST_SUBJECTS = ("S9", "S11")
LEFT, RIGHT = (4, 5, 6, 11, 12, 13), (1, 2, 3, 14, 15, 16)
"""Twins among the 17 joints."""
MOVING = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Human3.6M's 17 joints among the 32 of its recordings; the others repeat these or stand still."""
_INTRINSICS, _EXTRINSICS = "h36m_cameras_intrinsic_params", "h36m_cameras_extrinsic_params"


@dataclass(frozen=True)
class Recording:
    """One action of one subject, seen by one camera, F frames at 50 Hz.

    Attributes:
        subject, action, camera: which one; actions are numbered, as "Walking 1".
        keypoints: (F, 17, 2), (2 x - w) / w and (2 y - h) / w.
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
    """Everything that is known of these subjects.

    Args:
        folder: see the top of the file.
        keypoints: "gt", "cpn_ft_h36m_dbb", or what else stands in the name of the file.
        subjects: the published results are on S9 and S11.

    Raises:
        FileNotFoundError: if a file is missing; the message says which.
        ValueError: if a file is broken, or the files do not fit each other.
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
    """Where a camera stood, and the size of its images.

    Attributes:
        rotation: from the camera to the world.
        translation: (3,) metres, in the world.
        width, height: pixels.
    """

    rotation: Rotation
    translation: np.ndarray
    width: int
    height: int

    def recording(
        self, subject: str, action: str, number: int, pixels: np.ndarray, world: np.ndarray
    ) -> Recording:
        """What this camera saw: keypoints (F, 17, 2) pixels, joints (F, 17, 3) in the world."""
        inside = self.rotation.inv().apply((world - self.translation).reshape(-1, 3))
        joints = inside.reshape(world.shape)
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
    """The four cameras of each subject, from the literals in VideoPose3D's source.

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
        f"no {name} of VideoPose3D, which holds the cameras; looked for it at "
        f"{', '.join(map(str, places))}"
    )


def _content(file: Path, name: str) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file}; VideoPose3D's DATASETS.md says how to make it from Human3.6M"
        )
    try:
        content = load_object_npz(file, (name,))[name].item()
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}[{name!r}] holds no subjects")
    return content
