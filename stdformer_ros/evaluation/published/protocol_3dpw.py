"""3DPW (von Marcard et al., ECCV 2018) under its published protocol: people outdoors with SMPL.

The user brings the data set: a folder with `sequenceFiles/test/*.pkl` and
`imageFiles/SEQUENCE/image_00000.jpg`. First the sequences are read; pickles are read without
running any code that they name. Then the same pipeline as in a live run answers every frame, and
its meshes are compared with the true ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from tqdm import tqdm

from stdformer_ros.body.safe_pickle import load_pickle
from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.body.smpl import SmplBody
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.evaluation.summaries import ErrorTable
from stdformer_ros.metrics import (
    acceleration_error,
    aligned_position_error,
    mean_position_error,
)
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.models.keypoints import MARKED
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import FloatArray, Frame, ImageArray, Person

FRAMES_PER_SECOND = 30.0

KEYPOINT_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""OpenPose's 18 keypoints in the order of `poses2d`."""

SMPL_VERTICES = 6890
HIPS = [2, 3]
"""Right and left hip among the 14 joints of the evaluation."""

_GENDERED = {
    "m": ("basicmodel_m_", "smpl_male"),
    "f": ("basicmodel_f_", "smpl_female"),
}
"""How the names of SMPL's male and female pickles begin, in lower case."""


@dataclass(frozen=True)
class Subject:
    """One person of a sequence of F frames.

    Attributes:
        gender: "m" or "f".
        valid: (F,) whether the camera's pose is correct; other frames are not evaluated.
        keypoints: (F, 18, 3) x, y in pixels and score, as OpenPose found them in the image.
        rotations: (F, 24, 3, 3) SMPL's; the root's is in the camera frame, the others are
            relative to their parents.
        betas: (10,) SMPL's shape parameters for the gender.
    """

    gender: str
    valid: NDArray[np.bool_]
    keypoints: FloatArray
    rotations: FloatArray
    betas: FloatArray

    def person(self, track_id: int, frame: int) -> Person | None:
        """The person as perception would give them; None with fewer than two keypoints."""
        points = self.keypoints[frame]
        found = points[:, 2] > 0
        if found.sum() < 2:
            return None
        landmarks, visibility = np.zeros((33, 2), np.float32), np.zeros(33, np.float32)
        for name, (x, y, score) in zip(KEYPOINT_NAMES, points, strict=True):
            if name != "neck":  # BlazePose has no neck: it is the middle of the shoulders
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
        subjects: the people in it.
        images: folder of its images.
    """

    name: str
    intrinsics: NDArray[np.float64]
    subjects: tuple[Subject, ...]
    images: Path

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.subjects[0].valid)

    def image(self, frame: int) -> ImageArray:
        """The frame, (H, W, 3) uint8 RGB.

        Raises:
            FileNotFoundError: if it is missing or not an image.
        """
        path = self.images / f"image_{frame:05d}.jpg"
        image = cv2.imread(str(path))
        if image is None:
            raise FileNotFoundError(
                f"{path} is missing or not an image; it is part of 3DPW's images"
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def sequence_files(root: Path, split: str = "test") -> list[Path]:
    """The pickles of a split, sorted by name.

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
    """Read a sequence.

    Raises:
        ValueError: if the file is broken, names code, or is not a sequence of 3DPW.
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
        raise ValueError(f"{file} is not a sequence of 3DPW: {reason}") from error
    if not subjects:
        raise ValueError(f"{file} is not a sequence of 3DPW: there is nobody in it")
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


def true_smpl_files(path: Path) -> dict[str, Path]:
    """SMPL's file for each gender.

    Args:
        path: folder with the male and the female file, or one file for both.

    Raises:
        FileNotFoundError: if the folder lacks one of them.
    """
    if not path.is_dir():
        return {"m": path, "f": path}
    found: dict[str, Path] = {}
    for gender, beginnings in _GENDERED.items():
        files = [f for f in sorted(path.glob("*.pkl")) if f.name.lower().startswith(beginnings)]
        if not files:
            raise FileNotFoundError(
                f"no SMPL for gender {gender!r} in {path}; its name must begin with "
                f"{' or '.join(beginnings)}, as in the downloads of the SMPL project"
            )
        found[gender] = files[-1]
    return found


def evaluate_3dpw(
    estimator: Estimator,
    root: Path,
    bodies: dict[str, SmplBody],
    joint_regressor: Tensor,
    split: str = "test",
) -> ErrorTable:
    """Errors over the frames with a valid camera, as FastMETRO and later work report them.

    Crops surround the keypoints of the data set. The 14 joints are regressed from the predicted
    and the true mesh; they are aligned at the middle of the hips (MPJPE) or by a similarity
    transform (PA-MPJPE), vertices at the regressed pelvis (MPVPE). Accel is computed over runs of
    consecutive frames.

    Args:
        estimator: one whose meshes have SMPL's vertices.
        root: folder of 3DPW.
        bodies: SMPL for "m" and "f".
        joint_regressor: (17, 6890).
        split: "test", "validation" or "train".

    Raises:
        ValueError: if the estimator's mesh is another one, or a file is broken.
        FileNotFoundError: if a file of the data set is missing.
    """
    if estimator.faces is None or estimator.faces.max() != SMPL_VERTICES - 1:
        raise ValueError(
            f"3DPW is evaluated on SMPL's {SMPL_VERTICES} vertices, but {estimator.name} gives "
            "another mesh or fewer vertices: choose a network on SMPL and mesh_level 6890"
        )
    table = ErrorTable("sequence", over_groups=False)
    for file in tqdm(sequence_files(root, split), desc="3DPW", unit="sequence"):
        sequence = read_sequence(file)
        true = [
            _true_vertices(bodies[subject.gender], subject.rotations, subject.betas)
            for subject in sequence.subjects
        ]
        runs: dict[int, list[tuple[int, Tensor, Tensor]]] = {}
        for frame, predictions in _predictions(estimator, sequence):
            for i, predicted in predictions.items():
                joints, vertices = _about_pelvis(predicted, joint_regressor)
                true_joints, true_vertices = _about_pelvis(true[i][frame], joint_regressor)
                joints, true_joints = (x - x[:, HIPS].mean(1, True) for x in (joints, true_joints))
                errors = {
                    "MPJPE": mean_position_error(joints, true_joints),
                    "PA-MPJPE": aligned_position_error(joints, true_joints),
                    "MPVPE": mean_position_error(vertices, true_vertices),
                }
                for metric, error in errors.items():
                    table.add(sequence.name, metric, error)
                runs.setdefault(i, []).append((frame, joints[0], true_joints[0]))
        for run in runs.values():
            _add_acceleration(table, sequence.name, run)
    return table


def _true_vertices(body: SmplBody, rotations: np.ndarray, betas: np.ndarray) -> list[Tensor]:
    """The mesh of every frame, (6890, 3) each; 64 of them are computed at a time."""
    matrices = torch.from_numpy(rotations)
    with torch.inference_mode():
        return [
            vertices
            for chunk in matrices.split(64)
            for vertices in body(chunk, torch.from_numpy(betas).expand(len(chunk), -1))[0]
        ]


def _predictions(
    estimator: Estimator, sequence: Sequence
) -> Iterator[tuple[int, dict[int, Tensor]]]:
    """Number and predicted vertices (6890, 3) of each valid subject, frame by frame."""
    people: list[Person] = []
    pipeline = Pipeline(lambda frame: people, estimator)
    for number in tqdm(range(sequence.frames), desc=sequence.name, leave=False, unit="frame"):
        people.clear()
        for i, subject in enumerate(sequence.subjects):
            person = subject.person(i, number) if subject.valid[number] else None
            if person is not None:
                people.append(person)
        if not people:
            continue
        image = sequence.image(number)
        k = sequence.intrinsics
        camera = Camera(image.shape[1], image.shape[0], k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        answer = pipeline(Frame(image, number / FRAMES_PER_SECOND, camera))
        assert answer is not None  # these estimators have no delay
        yield (
            number,
            {
                human.person.track_id: torch.from_numpy(human.body.vertices)
                for human in answer.humans
                if human.body.vertices is not None
            },
        )


def _about_pelvis(vertices: Tensor, regressor: Tensor) -> tuple[Tensor, Tensor]:
    """The 14 joints (1, 14, 3) and the mesh (1, 6890, 3) relative to the regressed pelvis."""
    joints = regressor @ vertices
    pelvis = joints[:1]
    return (joints[list(EVALUATION_ORDER)] - pelvis)[None], (vertices - pelvis)[None]


def _add_acceleration(
    table: ErrorTable, name: str, frames: list[tuple[int, Tensor, Tensor]]
) -> None:
    """Add Accel over each run of at least three consecutive frames."""
    start = 0
    for end in range(1, len(frames) + 1):
        if end == len(frames) or frames[end][0] != frames[end - 1][0] + 1:
            if end - start >= 3:
                predicted = torch.stack([p for _, p, _ in frames[start:end]])
                true = torch.stack([t for _, _, t in frames[start:end]])
                error = acceleration_error(predicted, true)
                table.add(name, "Accel", error.expand(end - start - 2))
            start = end
