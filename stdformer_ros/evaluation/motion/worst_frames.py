"""A picture of the frames with the largest errors: truth and answer, from two sides."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.body.skeleton import BONES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.overlay import Figure, draw_overlay, draw_side_view
from stdformer_ros.types import FloatArray, ImageArray

COUNT = 10
APART = 30
"""Frames between two bad ones of a scene: else one bad second would fill the picture."""
COLUMNS = 2
VIEW = (230, 330)
"""Width and height of one view in pixels."""
_TRUE, _ANSWER = 2, 0
"""Colours of `track_color`."""
_SEEN, _LOST = (230, 60, 60), (160, 160, 160)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class BadFrame:
    """One answer beside the truth, both in camera coordinates, the pelvis in the true place.

    Attributes:
        error: MPJPE, mm.
        label: which frame it is.
        camera: of the image.
        true_joints: (24, 3), and `true_vertices` (V, 3) if the answer's mesh has the same topology.
        joints: (J, 3) of the answer, and its `vertices` (V, 3) if there is a mesh.
        landmarks: (21, 2) pixels, as the estimator saw them, and their `visibility`.
    """

    error: float
    label: str
    camera: Camera
    true_joints: FloatArray
    true_vertices: FloatArray | None
    joints: FloatArray
    vertices: FloatArray | None
    landmarks: FloatArray
    visibility: FloatArray


class WorstFrames:
    """Keeps the worst frames of many.

    Args:
        skeleton: of the answers' joints.
        faces: of the answers' mesh, or None.
    """

    def __init__(
        self,
        skeleton: Sequence[tuple[int, int]],
        faces: NDArray[np.int32] | None,
    ) -> None:
        self._skeleton = skeleton
        self._faces = faces
        self._kept: list[tuple[float, int, BadFrame]] = []
        self._added = 0

    def candidates(self, errors: NDArray[np.floating]) -> list[int]:
        """Frames of a scene with errors (N,) that are worse than what is kept, and not close by."""
        left, found = errors.copy(), list[int]()
        limit = self._kept[0][0] if len(self._kept) == COUNT else -np.inf
        while len(found) < COUNT and left.max() > limit:
            frame = int(left.argmax())
            found.append(frame)
            left[max(frame - APART, 0) : frame + APART + 1] = -np.inf
        return found

    def add(self, frame: BadFrame) -> None:
        """Keep the frame if it is one of the worst."""
        self._added += 1
        heapq.heappush(self._kept, (frame.error, self._added, frame))
        if len(self._kept) > COUNT:
            heapq.heappop(self._kept)

    def draw(self) -> ImageArray:
        """RGB: for each frame, worst first, truth and answer from the camera and from the side."""
        frames = [frame for _, _, frame in sorted(self._kept, key=lambda kept: -kept[0])]
        cells = [self._cell(frame) for frame in frames]
        cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
        rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
        return np.vstack(rows)

    def _cell(self, frame: BadFrame) -> ImageArray:
        true = Figure(_TRUE, frame.true_joints, frame.true_vertices)
        answer = Figure(_ANSWER, frame.joints, frame.vertices)
        camera = _around(frame)
        views = []
        for figure, skeleton in ((true, BONES), (answer, self._skeleton)):
            faces = self._faces if figure.vertices is not None else None
            front = draw_overlay(_blank(), [figure], camera, faces, skeleton, labels=False)
            _draw_landmarks(front, frame, camera)
            side = draw_side_view([figure], faces, skeleton, VIEW, labels=False)
            views.append((front, side))
        (true_front, true_side), (front, side) = views
        pictures = np.hstack([true_front, front, true_side, side])
        header = np.full((44, pictures.shape[1], 3), 255, np.uint8)
        _write(header, f"{frame.error:.0f} mm: {frame.label}", (8, 17), 0.5)
        for column, title in enumerate(("truth", "answer", "truth, side", "answer, side")):
            _write(header, title, (8 + column * VIEW[0], 37), 0.42)
        return np.pad(np.vstack([header, pictures]), ((0, 6), (0, 10), (0, 0)), constant_values=255)


def _around(frame: BadFrame) -> Camera:
    """The camera, cut and scaled so that truth, answer and landmarks fill a view."""
    bodies = np.concatenate([frame.true_joints, frame.joints])
    points = np.concatenate([frame.camera.project(bodies), frame.landmarks[frame.visibility > 0]])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float(0.86 * min(np.array(VIEW) / np.maximum(high - low, 1.0)))
    centre = 0.5 * (low + high)
    return Camera(
        *VIEW,
        scale * frame.camera.fx,
        scale * frame.camera.fy,
        float(0.5 * VIEW[0] + scale * (frame.camera.cx - centre[0])),
        float(0.5 * VIEW[1] + scale * (frame.camera.cy - centre[1])),
    )


def _blank() -> ImageArray:
    return np.full((VIEW[1], VIEW[0], 3), 245, np.uint8)


def _draw_landmarks(canvas: ImageArray, frame: BadFrame, camera: Camera) -> None:
    """What the estimator saw: red where it is sure, gray where it is lost."""
    rays = frame.camera.rays(frame.landmarks)
    pixels = rays * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    for point, visibility in zip(
        pixels.round().astype(int).tolist(), frame.visibility, strict=True
    ):
        color = _SEEN if visibility > 0 else _LOST
        cv2.circle(canvas, point, 3, color, -1, cv2.LINE_AA)


def _write(canvas: ImageArray, text: str, place: tuple[int, int], scale: float) -> None:
    cv2.putText(canvas, text, place, _FONT, scale, (50, 50, 50), 1, cv2.LINE_AA)
