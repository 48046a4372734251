"""`humans.npz`: all people in a recording, as arrays."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.io.files import shown
from stdformer_ros.io.video import mean_rate
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.types import Answer, FloatArray


class HumansFile:
    """A sink (see `offline.Sink`) that writes all answers as one archive.

    The archive holds a row for each person in each frame: `frame` (N,) counted from 0, `stamp`
    (N,) seconds, `track_id` (N,), `score` (N,), `joints` (N, J, 3) metres in the camera's frame,
    `joint_scores` (N, J), `metric_depth` (N,); and once `joint_names` (J,), `model` () and `fps`
    (). With vertices also `vertices` (N, V, 3), metres, and `faces` (F, 3).

    Args:
        path: path of the archive; its folder must exist.
        estimator: the estimator of the answers.
        vertices: whether to write the meshes; those of a long video do not fit into memory, so they
            are kept in a temporary file beside the archive until it is written.

    Raises:
        ValueError: if vertices are wanted, but the estimator gives no mesh.
        OSError: if the folder cannot be written to.
    """

    def __init__(self, path: Path, estimator: Estimator, vertices: bool) -> None:
        if vertices and estimator.faces is None:
            raise ValueError(f"{estimator.name} gives joints and no mesh: there are no vertices")
        self.path = path
        self._estimator = estimator
        self._stamps: list[float] = []
        self._rows: list[_Row] = []
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
        """Write the archive, unless there was an error.

        Raises:
            OSError: if it cannot be written.
        """
        try:
            if error is None:
                self._save()
        finally:
            self._drop_meshes()

    def add(self, answer: Answer) -> None:
        """Add the people of the next frame."""
        frame, stamp = len(self._stamps), answer.frame.stamp
        rows = []
        for human in answer.humans:
            person, body = human.person, human.body
            if self._meshes is not None and body.vertices is not None:
                self._mesh_size = len(body.vertices)
                self._write_mesh(body.vertices)
            rows.append(
                _Row(
                    frame,
                    stamp,
                    person.track_id,
                    person.score,
                    body.joints,
                    body.joint_scores,
                    body.metric_depth,
                )
            )
        # Last: Ctrl-C or a full disk before this leaves only unused meshes at the end.
        self._rows += rows
        self._stamps.append(stamp)

    def _write_mesh(self, vertices: FloatArray) -> None:
        assert self._meshes is not None
        try:
            self._meshes.write(vertices.astype(np.float32).tobytes())
        except OSError as error:
            where = shown(self.path.parent)
            raise OSError(f"cannot write meshes into {where}: {error.strerror}") from error

    def _save(self) -> None:
        rows, joints = self._rows, len(self._estimator.joint_names)
        arrays: dict[str, Any] = {
            "frame": np.array([row.frame for row in rows], np.int64),
            "stamp": np.array([row.stamp for row in rows], np.float64),
            "track_id": np.array([row.track_id for row in rows], np.int64),
            "score": np.array([row.score for row in rows], np.float32),
            "joints": np.array([r.joints for r in rows], np.float32).reshape(-1, joints, 3),
            "joint_scores": np.array([r.joint_scores for r in rows], np.float32).reshape(
                -1, joints
            ),
            "metric_depth": np.array([row.metric_depth for row in rows], bool),
            "joint_names": np.array(self._estimator.joint_names),
            "model": np.array(self._estimator.name),
            "fps": np.array(mean_rate(self._stamps)),
        }
        reason = ""
        if self._meshes is not None:
            reason = self._write(arrays, with_meshes=True)
            if not reason:
                return
            # Without the meshes there is often room enough: nothing that was answered is lost.
            self._drop_meshes()
        if failure := self._write(arrays, with_meshes=False):
            raise OSError(failure)
        if reason:
            raise OSError(f"{reason} with vertices; it holds everything else")

    def _drop_meshes(self) -> None:
        """Give the room of the temporary file back."""
        if self._meshes is not None:
            with suppress(OSError):  # it writes first what could not be written before
                self._meshes.close()

    def _write(self, arrays: dict[str, Any], with_meshes: bool) -> str:
        """Write a temporary file, and rename it to the archive's name when it is complete.

        Returns:
            Why that failed, or an empty string. It is no exception, because the traceback of one
            would keep the meshes, and with them their room on the disk.
        """
        part = self.path.with_suffix(".part")
        try:
            if with_meshes:
                arrays = arrays | {"vertices": self._vertices(), "faces": self._estimator.faces}
            with part.open("wb") as file:
                np.savez(file, **arrays)
            os.replace(part, self.path)
        except OSError as error:
            return f"cannot write {shown(self.path)}: {error.strerror or error}"
        finally:
            part.unlink(missing_ok=True)
        return ""

    def _vertices(self) -> NDArray[np.float32]:
        """(N, V, 3), read from the disk as it is needed."""
        assert self._meshes is not None
        if not self._rows:
            return np.zeros((0, 0, 3), np.float32)
        self._meshes.flush()
        return np.memmap(self._meshes, np.float32, "r", shape=(len(self._rows), self._mesh_size, 3))


class _Row(NamedTuple):
    """One person in one frame; the fields have the names of the archive's arrays."""

    frame: int
    stamp: float
    track_id: int
    score: float
    joints: FloatArray
    joint_scores: FloatArray
    metric_depth: bool
