"""3DPW (von Marcard et al., ECCV 2018): people outdoors with SMPL as ground truth.

The data set is the user's: its folder holds `sequenceFiles/test/*.pkl` and
`imageFiles/SEQUENCE/image_00000.jpg`. The pickles are read without running what they name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from stdformer_ros.body.safe_pickle import load_pickle
from stdformer_ros.models.keypoints import MARKED
from stdformer_ros.types import FloatArray, ImageArray, Person

FRAMES_PER_SECOND = 30.0

KEYPOINT_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""OpenPose's 18 keypoints in the order of `poses2d`."""


@dataclass(frozen=True)
class Subject:
    """One person of a sequence of F frames.

    Attributes:
        gender: "m" or "f".
        valid: (F,) whether the camera's pose is right in the frame; others are not evaluated.
        keypoints: (F, 18, 3) x, y in pixels and score; found by OpenPose in the image.
        rotations: (F, 24, 3, 3) SMPL's, the first one in the camera frame.
        betas: (10,) SMPL's shape for the gender.
    """

    gender: str
    valid: NDArray[np.bool_]
    keypoints: FloatArray
    rotations: FloatArray
    betas: FloatArray

    def person(self, track_id: int, frame: int) -> Person | None:
        """The person as perception would see them in the frame; None if there is no keypoint."""
        points = self.keypoints[frame]
        found = points[:, 2] > 0
        if found.sum() < 2:
            return None
        landmarks, visibility = np.zeros((33, 2), np.float32), np.zeros(33, np.float32)
        for name, (x, y, score) in zip(KEYPOINT_NAMES, points, strict=True):
            if name != "neck":  # in BlazePose the middle of the shoulders
                landmarks[MARKED[name][0]] = x, y
                visibility[MARKED[name][0]] = min(score, 1.0)
        low, high = points[found, :2].min(axis=0), points[found, :2].max(axis=0)
        box = np.concatenate([low, high]).astype(np.float32)
        return Person(track_id, 1.0, box, landmarks, visibility)


@dataclass(frozen=True)
class Sequence:
    """One video.

    Attributes:
        name: of the sequence.
        intrinsics: (3, 3) of the camera, pixels.
        subjects: who is in it.
        images: folder of its images.
    """

    name: str
    intrinsics: NDArray[np.float64]
    subjects: tuple[Subject, ...]
    images: Path

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.subjects[0].valid)

    def image(self, frame: int) -> ImageArray:
        """The frame, (H, W, 3) uint8 RGB.

        Raises:
            FileNotFoundError: if it is missing or no image.
        """
        path = self.images / f"image_{frame:05d}.jpg"
        image = cv2.imread(str(path))
        if image is None:
            raise FileNotFoundError(f"{path} is missing or no image; it is part of 3DPW's images")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def sequence_files(root: Path, split: str = "test") -> list[Path]:
    """The pickles of a split, in the order of their names.

    Raises:
        FileNotFoundError: if there are none.
    """
    folder = root / "sequenceFiles" / split
    files = sorted(folder.glob("*.pkl"))
    if not files:
        raise FileNotFoundError(
            f"no sequences (*.pkl) in {folder}; give the folder into which 3DPW's "
            "sequenceFiles.zip and imageFiles.zip were unpacked"
        )
    return files


def read_sequence(file: Path) -> Sequence:
    """One sequence of 3DPW.

    Raises:
        ValueError: if the file is broken, names code, or is no sequence of 3DPW.
    """
    data = load_pickle(file)
    try:
        cameras = np.asarray(data["cam_poses"], np.float64)
        if cameras.shape[1:] != (4, 4):
            raise ValueError(f"cam_poses has the shape {cameras.shape}, not (F, 4, 4)")
        subjects = tuple(_subject(data, i, cameras[:, :3, :3]) for i in range(len(data["poses"])))
        name = str(data["sequence"])
        intrinsics = np.asarray(data["cam_intrinsics"], np.float64).reshape(3, 3)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{file} is no sequence of 3DPW: {reason}") from error
    if not subjects:
        raise ValueError(f"{file} is no sequence of 3DPW: there is nobody in it")
    return Sequence(name, intrinsics, subjects, file.parents[2] / "imageFiles" / name)


def _subject(data: dict[str, Any], i: int, cameras: NDArray[np.float64]) -> Subject:
    frames = len(cameras)
    poses = np.asarray(data["poses"][i], np.float64).reshape(frames, 24, 3)
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(frames, 24, 3, 3)
    rotations[:, 0] = cameras @ rotations[:, 0]  # from the world to the camera
    keypoints = np.asarray(data["poses2d"][i], np.float32).reshape(frames, 3, 18)
    gender = str(data["genders"][i])[:1]
    if gender not in ("m", "f"):
        raise ValueError(f"the gender {data['genders'][i]!r} is neither m nor f")
    return Subject(
        gender,
        np.asarray(data["campose_valid"][i]).astype(bool).reshape(frames),
        keypoints.transpose(0, 2, 1),
        rotations.astype(np.float32),
        np.asarray(data["betas"][i], np.float32).ravel()[:10],
    )
