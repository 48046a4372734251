"""Meshes, skeletons and track ids drawn over an image, and the same bodies seen from the side.

Meshes are drawn by the painter's algorithm: the triangles that face the viewer, the farthest first,
shaded by their angle to the light. That is enough to judge by eye whether a mesh follows a person,
and needs no graphics card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.types import FloatArray, Human, ImageArray

Color = tuple[int, int, int]

NEAREST = 0.1
"""Metres; what is closer to the camera than this is not drawn."""

_COLORS: tuple[Color, ...] = (
    (102, 194, 255),
    (255, 170, 90),
    (140, 220, 120),
    (240, 130, 190),
    (190, 160, 255),
    (250, 220, 90),
    (110, 225, 215),
    (240, 120, 110),
)

_LIGHT = np.array([-0.35, -0.5, -0.79])  # from over the camera's left shoulder
_AMBIENT = 0.35
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Figure:
    """What is drawn of one person.

    Attributes:
        track_id: decides the colour.
        joints: (J, 3) metres, camera frame.
        vertices: (V, 3) metres, camera frame, or None without a mesh.
    """

    track_id: int
    joints: FloatArray
    vertices: FloatArray | None

    @classmethod
    def of(cls, human: Human) -> Figure:
        """The figure of a person in the pipeline's answer."""
        return cls(human.person.track_id, human.body.joints, human.body.vertices)


def track_color(track_id: int) -> Color:
    """The RGB colour of a person in every picture and marker."""
    return _COLORS[track_id % len(_COLORS)]


def project(points: FloatArray, camera: Camera) -> NDArray[np.float64]:
    """Camera coordinates (N, 3) in metres to pixels (N, 2); depths are raised to `NEAREST`."""
    depth = np.maximum(points[:, 2:], NEAREST)
    return camera.project(np.concatenate([points[:, :2], depth], axis=1)).astype(np.float64)


def draw_overlay(
    image: ImageArray,
    figures: Sequence[Figure],
    camera: Camera,
    faces: NDArray[np.int32] | None,
    skeleton: Sequence[tuple[int, int]],
    opacity: float = 0.85,
    labels: bool = True,
) -> ImageArray:
    """A copy of the image (H, W, 3) with everybody's mesh, skeleton and track id drawn over it.

    Args:
        image: (H, W, 3) RGB; not changed.
        figures: the people to draw.
        camera: the intrinsics of `image`.
        faces: (F, 3) vertex indices, outward side counter-clockwise, or None without meshes.
        skeleton: pairs of joint indices.
        opacity: 0..1, of the meshes.
        labels: whether to write the ids.
    """
    canvas = image.copy()
    meshes: list[_Triangles] = []
    colors: list[Color] = []
    for figure in figures:
        vertices = figure.vertices
        if vertices is not None and faces is not None:
            meshes.append(_triangles(vertices, faces, vertices, project(vertices, camera)))
            colors.append(track_color(figure.track_id))
    if meshes:
        _paint(canvas, meshes, colors)
        cv2.addWeighted(canvas, opacity, image, 1.0 - opacity, 0.0, dst=canvas)
    for figure in figures:
        _draw_skeleton(canvas, project(figure.joints, camera), skeleton)
        if labels:
            _draw_label(canvas, project(_outline(figure), camera), figure.track_id)
    return canvas


def draw_mesh(
    canvas: ImageArray,
    vertices: FloatArray,
    faces: NDArray[np.int32],
    camera: Camera,
    color: Color,
) -> None:
    """Paint a mesh onto `canvas` (H, W, 3): vertices (V, 3) in metres in the camera frame."""
    _paint(canvas, [_triangles(vertices, faces, vertices, project(vertices, camera))], [color])


def draw_side_view(
    figures: Sequence[Figure],
    faces: NDArray[np.int32] | None,
    skeleton: Sequence[tuple[int, int]],
    size: tuple[int, int],
    labels: bool = True,
) -> ImageArray:
    """Everybody as seen from the image's right, one beside the other, all at the same scale.

    Each body is rotated by 90 degrees about the vertical axis through its middle, so that parts far
    from the camera are on the right.

    Args:
        figures: the people to draw.
        faces: (F, 3) as in `draw_overlay`.
        skeleton: pairs of joint indices.
        size: width and height of the picture in pixels.
        labels: whether to write the ids.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    width, height = size
    canvas = np.full((height, width, 3), 245, np.uint8)
    if not figures:
        return canvas
    column = width / len(figures)
    turned = [_seen_from_the_side(figure) for figure in figures]
    extents = [np.ptp(_outline(figure)[:, :2], axis=0) for figure in turned]
    scale = 0.9 * min(
        column / max(max(e[0] for e in extents), 0.2), height / max(max(e[1] for e in extents), 0.2)
    )
    for i, figure in enumerate(turned):
        low, high = _outline(figure)[:, :2].min(axis=0), _outline(figure)[:, :2].max(axis=0)
        offset = np.array([(i + 0.5) * column, 0.5 * height]) - scale * 0.5 * (low + high)
        if figure.vertices is not None and faces is not None:
            pixels = scale * figure.vertices[:, :2].astype(np.float64) + offset
            towards = np.zeros_like(figure.vertices) + np.array([0, 0, 1], np.float32)
            triangles = _triangles(figure.vertices, faces, towards, pixels)
            _paint(canvas, [triangles], [track_color(figure.track_id)])
        _draw_skeleton(canvas, scale * figure.joints[:, :2] + offset, skeleton)
        if labels:
            _draw_label(canvas, scale * _outline(figure)[:, :2] + offset, figure.track_id)
    return canvas


@dataclass(frozen=True)
class _Triangles:
    """Triangles that face the viewer: corners (T, 3, 2) px, depth (T,) m, brightness (T,) 0..1."""

    corners: NDArray[np.float64]
    depth: FloatArray
    brightness: FloatArray


def _triangles(
    vertices: FloatArray,
    faces: NDArray[np.int32],
    view: FloatArray,
    pixels: NDArray[np.float64],
) -> _Triangles:
    """The visible triangles; `view` (V, 3) is the direction from the viewer to each vertex."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    middle = (a + b + c) / 3.0
    facing = np.einsum("ij,ij->i", normals, view[faces[:, 0]]) < 0
    facing &= middle[:, 2] > NEAREST if view is vertices else True
    brightness = _AMBIENT + (1.0 - _AMBIENT) * np.maximum(normals[facing] @ _LIGHT, 0.0)
    return _Triangles(pixels[faces[facing]], middle[facing, 2], brightness)


def _paint(canvas: ImageArray, meshes: Sequence[_Triangles], colors: Sequence[Color]) -> None:
    """Fill the triangles of all meshes, the farthest first, so that bodies hide each other."""
    depth = np.concatenate([mesh.depth for mesh in meshes])
    order = np.argsort(-depth, kind="stable")
    limit = float(4 * max(canvas.shape))  # beyond this, OpenCV's fixed-point numbers overflow
    corners = np.concatenate([mesh.corners for mesh in meshes])[order].clip(-limit, limit)
    fixed = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    shades = np.concatenate(
        [
            mesh.brightness[:, None] * np.asarray(color, np.float64)
            for mesh, color in zip(meshes, colors, strict=True)
        ]
    )[order]
    for triangle, shade in zip(fixed, shades.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, triangle, shade, shift=_SUBPIXEL_BITS)


def _draw_skeleton(
    canvas: ImageArray, pixels: NDArray[np.float64], skeleton: Sequence[tuple[int, int]]
) -> None:
    thickness = _thickness(canvas)
    limit = 4 * max(canvas.shape)
    points = pixels.clip(-limit, limit).round().astype(int).tolist()
    for start, end in skeleton:
        cv2.line(canvas, points[start], points[end], (255, 255, 255), thickness, cv2.LINE_AA)
    for point in points:
        cv2.circle(canvas, point, thickness + 1, (40, 40, 40), -1, cv2.LINE_AA)


def _draw_label(canvas: ImageArray, outline: NDArray[np.float64], track_id: int) -> None:
    """The track id above the highest point; moved into the image if only a little above it."""
    thickness = _thickness(canvas)
    text, font, scale = f"#{track_id}", cv2.FONT_HERSHEY_SIMPLEX, 0.5 * thickness
    (width, height), _ = cv2.getTextSize(text, font, scale, thickness)
    limit = 4 * max(canvas.shape)
    x, y = outline[np.argmin(outline[:, 1])].clip(-limit, limit).round().astype(int).tolist()
    place = (x - width // 2, max(y - height // 2, height + thickness) if y > -height else y)
    for color, line in (((0, 0, 0), 3 * thickness), (track_color(track_id), thickness)):
        cv2.putText(canvas, text, place, font, scale, color, line, cv2.LINE_AA)


def _thickness(canvas: ImageArray) -> int:
    return max(1, round(min(canvas.shape[:2]) / 400))


def _seen_from_the_side(figure: Figure) -> Figure:
    """The figure rotated by 90 degrees about the vertical: depth becomes x, -x becomes depth."""
    middle = _outline(figure).mean(axis=0)
    rotation = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)
    vertices = figure.vertices
    return Figure(
        figure.track_id,
        (figure.joints - middle) @ rotation.T,
        None if vertices is None else (vertices - middle) @ rotation.T,
    )


def _outline(figure: Figure) -> FloatArray:
    return figure.joints if figure.vertices is None else figure.vertices
