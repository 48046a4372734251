"""The published protocol on 3DPW, through the same pipeline that runs live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from stdformer_ros.body.skeleton import EVALUATION_ORDER
from stdformer_ros.body.smpl import SmplBody
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.evaluation.motion.tally import Tally
from stdformer_ros.evaluation.published.dataset_3dpw import (
    FRAMES_PER_SECOND,
    Sequence,
    read_sequence,
    sequence_files,
)
from stdformer_ros.metrics import (
    acceleration_error,
    aligned_position_error,
    mean_position_error,
)
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.pipeline import Pipeline
from stdformer_ros.types import Frame, Person

SMPL_VERTICES = 6890
HIPS = [2, 3]
"""Right and left among the 14 joints of the evaluation."""


def evaluate_3dpw(
    estimator: Estimator,
    root: Path,
    bodies: dict[str, SmplBody],
    joint_regressor: Tensor,
    split: str = "test",
) -> Tally:
    """Errors over the frames whose camera is valid, as FastMETRO and those after it give them.

    Crops go around the keypoints that come with the data. The 14 joints are regressed from the
    predicted and the true mesh and aligned at the middle of the hips (MPJPE) or by similarity
    (PA-MPJPE), vertices at the regressed pelvis (MPVPE). Accel is taken over consecutive frames.

    Args:
        estimator: whose meshes have SMPL's vertices.
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
            f"3DPW is about SMPL's {SMPL_VERTICES} vertices; {estimator.name} has none of them, or "
            "not all: choose a network on SMPL and mesh_level 6890"
        )
    tally = Tally("sequence", over_groups=False)
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
                    tally.add(sequence.name, metric, error)
                runs.setdefault(i, []).append((frame, joints[0], true_joints[0]))
        for run in runs.values():
            _add_acceleration(tally, sequence.name, run)
    return tally


def _true_vertices(body: SmplBody, rotations: np.ndarray, betas: np.ndarray) -> list[Tensor]:
    """The mesh of every frame, (6890, 3) each, a few at a time."""
    turns = torch.from_numpy(rotations)
    with torch.inference_mode():
        return [
            vertices
            for chunk in turns.split(64)
            for vertices in body(chunk, torch.from_numpy(betas).expand(len(chunk), -1))[0]
        ]


def _predictions(
    estimator: Estimator, sequence: Sequence
) -> Iterator[tuple[int, dict[int, Tensor]]]:
    """Frame by frame, the vertices (6890, 3) of each valid subject."""
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
    """The 14 joints (1, 14, 3) and the mesh (1, 6890, 3), the regressed pelvis as origin."""
    joints = regressor @ vertices
    pelvis = joints[:1]
    return (joints[list(EVALUATION_ORDER)] - pelvis)[None], (vertices - pelvis)[None]


def _add_acceleration(tally: Tally, name: str, frames: list[tuple[int, Tensor, Tensor]]) -> None:
    """Accel over each run of consecutive frames."""
    start = 0
    for end in range(1, len(frames) + 1):
        if end == len(frames) or frames[end][0] != frames[end - 1][0] + 1:
            if end - start >= 3:
                predicted = torch.stack([p for _, p, _ in frames[start:end]])
                true = torch.stack([t for _, _, t in frames[start:end]])
                error = acceleration_error(predicted, true)
                tally.add(name, "Accel", error.expand(end - start - 2))
            start = end
