"""Cameras whose places are known: pixels to rays, the world to pixels."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.camera.pinhole import Camera

Array = NDArray[np.float64]

_QUALISYS_UNITS = 64.0
"""Qualisys counts in sixty-fourths of a pixel."""


@dataclass(frozen=True)
class CalibratedCamera:
    """One of several cameras around a scene.

    Attributes:
        name: as the calibration calls it.
        size: width and height in pixels.
        matrix: (3, 3) intrinsics K.
        distortion: (4..8,) Brown and Conrady, in OpenCV's order; or (4,) of a fisheye.
        rotation: (3, 3) from the world's axes to the camera's.
        translation: (3,) metres, the world's origin in camera coordinates.
        fisheye: whether the distortion is Kannala and Brandt's.
    """

    name: str
    size: tuple[int, int]
    matrix: Array
    distortion: Array
    rotation: Array
    translation: Array
    fisheye: bool = False

    def rays(self, pixels: NDArray[np.floating]) -> Array:
        """Pixels (..., 2) as undistorted x/z, y/z in camera coordinates."""
        flat = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
        undistort = cv2.fisheye.undistortPoints if self.fisheye else cv2.undistortPoints
        rays = undistort(flat, self.matrix, self.distortion)
        return np.asarray(rays, np.float64).reshape(pixels.shape)

    def in_camera(self, points: Array) -> Array:
        """Points (..., 3) of the world in camera coordinates, metres."""
        return points @ self.rotation.T + self.translation

    def project(self, points: Array) -> Array:
        """Points (..., 3) of the world to pixels (..., 2)."""
        flat = self.in_camera(points).reshape(-1, 1, 3)
        zero = np.zeros(3)
        lens = cv2.fisheye.projectPoints if self.fisheye else cv2.projectPoints
        pixels, _ = lens(flat, zero, zero, self.matrix, self.distortion)
        return np.asarray(pixels, np.float64).reshape(*points.shape[:-1], 2)

    def pinhole(self, width: int, height: int) -> Camera:
        """The intrinsics for an image of this size, which should be the calibration's."""
        (fx, _, cx), (_, fy, cy), _ = self.matrix.tolist()
        return Camera(width, height, fx, fy, cx, cy)


def read_calibration(path: Path) -> list[CalibratedCamera]:
    """The cameras of a calibration, in the file's order.

    Args:
        path: TOML as Pose2Sim and Anipose write it and Caliscope exports it (a table for each
            camera with `size`, `matrix`, `distortions`, `rotation` as a rotation vector, and
            `translation` in metres), or Qualisys' `.qca.txt`.

    Raises:
        ValueError: if the file is neither, or a camera lacks something; the message says what.
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
        raise ValueError(f"{path} has {len(cameras)} cameras; it takes two to triangulate")
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
    except ValueError as error:  # of TOML or of the encoding
        raise ValueError(f"{path} is no TOML: {error}") from error


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
    """Qualisys' camera looks along -z with y up, stands in millimetres, and its matrix turns the
    world's axes into the camera's.
    """
    video, place, lens = (_numbers(camera, tag) for tag in ("fov_video", "transform", "intrinsic"))
    rotation = np.array([[place[f"r{i}{k}"] for k in "123"] for i in "123"])
    rotation = np.diag([1.0, -1.0, -1.0]) @ rotation
    centre = np.array([place[axis] for axis in "xyz"]) / 1e3
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
