"""Calibrated cameras around a scene: read from a file, project, and triangulate.

Triangulation is robust: one view that marks a wrong position does not spoil the point.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.camera.pinhole import Camera

Array = NDArray[np.float64]

_QUALISYS_UNITS = 64.0
"""Qualisys' intrinsics are in sixty-fourths of a pixel."""

RESIDUAL_SCALE = 12.0
"""Scale in pixels of the robust cost (Geman and McClure): larger residuals count less and less."""
ROUNDS = 5
"""Number of rounds of iteratively reweighted least squares."""


@dataclass(frozen=True)
class CalibratedCamera:
    """One of several cameras around a scene.

    Attributes:
        name: its name in the calibration.
        size: width and height in pixels.
        matrix: (3, 3) intrinsics K.
        distortion: (4..8,) of Brown and Conrady in OpenCV's order, or (4,) of a fisheye lens.
        rotation: (3, 3) from the world's axes to the camera's.
        translation: (3,) metres, the world's origin in camera coordinates.
        fisheye: whether the distortion is that of Kannala and Brandt.
    """

    name: str
    size: tuple[int, int]
    matrix: Array
    distortion: Array
    rotation: Array
    translation: Array
    fisheye: bool = False

    def rays(self, pixels: NDArray[np.floating]) -> Array:
        """Pixels (..., 2) to undistorted rays x/z, y/z (..., 2) in camera coordinates."""
        flat = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
        undistort = cv2.fisheye.undistortPoints if self.fisheye else cv2.undistortPoints
        rays = undistort(flat, self.matrix, self.distortion)
        return np.asarray(rays, np.float64).reshape(pixels.shape)

    def in_camera(self, points: Array) -> Array:
        """Points (..., 3) from world to camera coordinates, metres."""
        return points @ self.rotation.T + self.translation

    def project(self, points: Array) -> Array:
        """Points (..., 3) in world coordinates, metres, to pixels (..., 2)."""
        flat = self.in_camera(points).reshape(-1, 1, 3)
        zero = np.zeros(3)
        lens = cv2.fisheye.projectPoints if self.fisheye else cv2.projectPoints
        pixels, _ = lens(flat, zero, zero, self.matrix, self.distortion)
        return np.asarray(pixels, np.float64).reshape(*points.shape[:-1], 2)

    def pinhole(self, width: int, height: int) -> Camera:
        """The intrinsics without distortion, for an image of the calibration's size."""
        (fx, _, cx), (_, fy, cy), _ = self.matrix.tolist()
        return Camera(width, height, fx, fy, cx, cy)


def read_calibration(path: Path) -> list[CalibratedCamera]:
    """The cameras of a calibration, in the file's order.

    Args:
        path: TOML as Pose2Sim and Anipose write it and Caliscope exports it (a table for each
            camera with `size`, `matrix`, `distortions`, `rotation` as a rotation vector, and
            `translation` in metres), or Qualisys' `.qca.txt`.

    Raises:
        ValueError: if it is neither, or lacks something; the message says what.
        OSError: if it cannot be read.
    """
    toml = path.suffix.lower() == ".toml"
    tables = _tables(path) if toml else {}
    try:
        if toml:
            cameras = [
                _from_table(name, table)
                for name, table in tables.items()
                if isinstance(table, dict) and name != "metadata"
            ]
        else:
            cameras = [_from_qualisys(c) for c in ElementTree.parse(path).iter("camera")]
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is neither .toml nor Qualisys' XML: {error}") from error
    except (KeyError, AttributeError, TypeError, ValueError, cv2.error) as error:
        raise ValueError(f"{path}: a camera lacks something or is malformed: {error}") from error
    if len(cameras) < 2:
        raise ValueError(f"{path} has {len(cameras)} cameras; triangulation needs two or more")
    return cameras


def _tables(path: Path) -> dict[str, Any]:
    if sys.version_info < (3, 11):
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise ValueError(f"Python 3.10 reads {path} with tomli: pip install tomli") from error
    else:
        import tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # wrong syntax or wrong encoding
        raise ValueError(f"{path} is not valid TOML: {error}") from error


def _from_table(name: str, table: dict[str, Any]) -> CalibratedCamera:
    width, height = (int(n) for n in table["size"])
    rotation, _ = cv2.Rodrigues(np.array(table["rotation"], np.float64).reshape(3))
    return CalibratedCamera(
        name=str(table.get("name", name)),
        size=(width, height),
        matrix=np.array(table["matrix"], np.float64).reshape(3, 3),
        distortion=np.array(table["distortions"], np.float64).ravel(),
        rotation=np.asarray(rotation, np.float64),
        translation=np.array(table["translation"], np.float64).reshape(3),
        fisheye=bool(table.get("fisheye", False)),
    )


def _from_qualisys(camera: ElementTree.Element) -> CalibratedCamera:
    """A camera of Qualisys' file.

    In that file cameras look along -z with y up, positions are in millimetres, and the matrix
    rotates from the world to the camera.
    """
    video, pose, lens = (_numbers(camera, tag) for tag in ("fov_video", "transform", "intrinsic"))
    rotation = np.array([[pose[f"r{i}{k}"] for k in "123"] for i in "123"])
    rotation = np.diag([1.0, -1.0, -1.0]) @ rotation
    centre = np.array([pose[axis] for axis in "xyz"]) / 1e3
    matrix = np.array(
        [
            [lens["focalLengthU"], 0.0, lens["centerPointU"]],
            [0.0, lens["focalLengthV"], lens["centerPointV"]],
            [0.0, 0.0, _QUALISYS_UNITS],
        ]
    )
    terms = (*(f"radialDistortion{i}" for i in "12"), *(f"tangentalDistortion{i}" for i in "12"))
    return CalibratedCamera(
        name=camera.attrib["serial"],
        size=(int(video["right"] - video["left"]) + 1, int(video["bottom"] - video["top"]) + 1),
        matrix=matrix / _QUALISYS_UNITS,
        distortion=np.array([*(lens[t] for t in terms), lens.get("radialDistortion3", 0.0)]),
        rotation=rotation,
        translation=-rotation @ centre,
    )


def _numbers(camera: ElementTree.Element, tag: str) -> dict[str, float]:
    found = camera.find(tag)
    if found is None:
        raise ValueError(f"no <{tag}>")
    return {key: float(value) for key, value in found.attrib.items()}


def triangulate(
    cameras: Sequence[CalibratedCamera], pixels: Array, weights: Array
) -> tuple[Array, Array]:
    """The points that the views agree on.

    Each point is triangulated from every subset of at least two views. The result with the least
    robust cost over all views is refined by iteratively reweighted least squares (linear
    triangulation whose equations are divided by depth).

    Args:
        cameras: V >= 2 of them.
        pixels: (V, ..., 2) the points in each view.
        weights: (V, ...) how much each view counts, 0 where it does not show the point.

    Returns:
        Points (..., 3) in metres, NaN where fewer than two views show them, and distances (V, ...)
        in pixels between the given pixels and the points' projections.
    """
    shape, views = pixels.shape[1:-1], len(cameras)
    pixels, weights = pixels.reshape(views, -1, 2), weights.reshape(views, -1)
    rays = np.stack([c.rays(p) for c, p in zip(cameras, pixels, strict=True)])
    best = np.full((pixels.shape[1], 3), np.nan)
    least = np.full(len(best), np.inf)
    for size in range(2, views + 1):
        for chosen in combinations(range(views), size):
            part = np.zeros((views, 1))
            part[list(chosen)] = 1.0
            points = _linear(cameras, rays, weights * part)
            relative = _distances(cameras, points, pixels) / RESIDUAL_SCALE
            cost = (weights * relative**2 / (1 + relative**2)).sum(axis=0)
            enough = (weights * part > 0).sum(axis=0) >= 2
            better = enough & (cost < least)
            best[better], least[better] = points[better], cost[better]
    seen = np.isfinite(least)
    points = best[seen]
    for _ in range(ROUNDS if seen.any() else 0):
        relative = _distances(cameras, points, pixels[:, seen]) / RESIDUAL_SCALE
        depth = np.stack([c.in_camera(points)[..., 2] for c in cameras])
        scale = 1 / (np.maximum(depth, 0.1) * (1 + relative**2))
        points = _linear(cameras, rays[:, seen], np.sqrt(weights[:, seen]) * scale)
    best[seen] = points
    distances = np.full((views, len(best)), np.nan)
    if seen.any():
        distances[:, seen] = _distances(cameras, points, pixels[:, seen])
    return best.reshape(*shape, 3), distances.reshape(views, *shape)


def _linear(cameras: Sequence[CalibratedCamera], rays: Array, weights: Array) -> Array:
    """Linear triangulation: points (N, 3) from rays (V, N, 2) with weights (V, N).

    The point is the singular vector of the smallest singular value of the weighted equations.
    """
    rows = []
    for camera, ray, weight in zip(cameras, rays, weights, strict=True):
        matrix = np.hstack([camera.rotation, camera.translation[:, None]])
        rows += [(ray[:, k, None] * matrix[2] - matrix[k]) * weight[:, None] for k in (0, 1)]
    homogeneous = np.linalg.svd(np.stack(rows, axis=1))[2][:, -1]
    last = homogeneous[:, 3:]
    return homogeneous[:, :3] / np.where(np.abs(last) < 1e-9, 1e-9, last)


def _distances(
    cameras: Sequence[CalibratedCamera], points: Array, pixels: NDArray[np.floating]
) -> Array:
    """(V, N) distances between the projections of points (N, 3) and given pixels (V, N, 2)."""
    return np.stack(
        [
            np.linalg.norm(camera.project(points) - seen, axis=-1)
            for camera, seen in zip(cameras, pixels, strict=True)
        ]
    )
