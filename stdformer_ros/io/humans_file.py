"""`humans.npz`: everybody whom the pipeline saw in a video."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.models.estimator import Estimator
from stdformer_ros.types import FloatArray, Human


class HumansFile:
    """Takes the pipeline's answers frame by frame and writes them as one archive.

    The archive holds a row for each person in each frame: `frame` (N,) counted from 0, `stamp`
    (N,) seconds, `track_id` (N,), `score` (N,), `joints` (N, J, 3) metres in the camera's frame,
    `joint_scores` (N, J), `metric_depth` (N,); and once `joint_names` (J,), `model` () and `fps`
    (). With vertices also `vertices` (N, V, 3), metres, and `faces` (F, 3).

    Args:
        path: of the archive; its folder must exist.
        estimator: whose answers they are.
        vertices: whether to keep the meshes; of a long video they do not fit into memory, so
            they wait in a nameless file beside the archive.

    Raises:
        ValueError: if vertices are wanted of a model that has none.
        OSError: if the folder cannot be written to.
    """

    def __init__(self, path: Path, estimator: Estimator, vertices: bool) -> None:
        if vertices and estimator.faces is None:
            raise ValueError(f"{estimator.name} gives joints and no mesh: there are no vertices")
        self.path = path
        self._estimator = estimator
        self._place: list[tuple[int, float, int]] = []  # frame, stamp, track id
        self._scores: list[tuple[float, bool]] = []
        self._joints: list[FloatArray] = []
        self._joint_scores: list[FloatArray] = []
        self._mesh_size = 0
        self._meshes = tempfile.TemporaryFile(dir=path.parent) if vertices else None  # noqa: SIM115

    def __enter__(self) -> HumansFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Forget the meshes; nothing is written but by `save`."""
        if self._meshes is not None:
            self._meshes.close()

    @property
    def people(self) -> int:
        """How many different people there were."""
        return len({track_id for _, _, track_id in self._place})

    def add(self, frame: int, stamp: float, humans: Sequence[Human]) -> None:
        """Take the people of one frame."""
        for human in humans:
            body = human.body
            self._place.append((frame, stamp, human.person.track_id))
            self._scores.append((human.person.score, body.metric_depth))
            self._joints.append(body.joints)
            self._joint_scores.append(body.joint_scores)
            if self._meshes is not None and body.vertices is not None:
                self._mesh_size = len(body.vertices)
                self._meshes.write(body.vertices.astype(np.float32).tobytes())

    def save(self, fps: float) -> None:
        """Write the archive; one that is there stays whole until the new one is.

        Args:
            fps: frames a second of the video.

        Raises:
            OSError: if it cannot be written.
        """
        count, joints = len(self._place), len(self._estimator.joint_names)
        frames, stamps, track_ids = zip(*self._place, strict=True) if count else ((), (), ())
        scores, metric = zip(*self._scores, strict=True) if count else ((), ())
        arrays: dict[str, Any] = {
            "frame": np.array(frames, np.int64),
            "stamp": np.array(stamps, np.float64),
            "track_id": np.array(track_ids, np.int64),
            "score": np.array(scores, np.float32),
            "joints": np.array(self._joints, np.float32).reshape(count, joints, 3),
            "joint_scores": np.array(self._joint_scores, np.float32).reshape(count, joints),
            "metric_depth": np.array(metric, bool),
            "joint_names": np.array(self._estimator.joint_names),
            "model": np.array(self._estimator.name),
            "fps": np.array(fps),
        }
        if self._estimator.faces is not None and self._meshes is not None:
            arrays |= {"vertices": self._vertices(count), "faces": self._estimator.faces}
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(part, self.path)

    def _vertices(self, count: int) -> NDArray[np.float32]:
        """(N, V, 3), read from the disk as it is needed."""
        assert self._meshes is not None
        if not count:
            return np.zeros((0, 0, 3), np.float32)
        self._meshes.flush()
        return np.memmap(self._meshes, np.float32, "r", shape=(count, self._mesh_size, 3))
