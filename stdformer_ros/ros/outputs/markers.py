"""Humans as markers for RViz: a mesh, a skeleton and a label for each."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from stdformer_ros.config import MARKER_NAMESPACES
from stdformer_ros.io.overlay import track_color
from stdformer_ros.ros.inputs.transform_buffer import Transform
from stdformer_ros.types import FloatArray, Human

MESH, SKELETON, LABEL = MARKER_NAMESPACES
"""The markers' namespaces; a marker's id is the person's track_id."""

LABEL_ABOVE = 0.2
"""Metres from the highest joint to the label."""
LIFETIME = Duration(sec=2)
"""RViz removes a marker that was not updated for this long, also when the node has died."""


def bones_marker(header: Header, human: Human, skeleton: Sequence[tuple[int, int]]) -> Marker:
    """A LINE_LIST of a human's bones."""
    marker = _marker(header, SKELETON, human.person.track_id, Marker.LINE_LIST)
    marker.scale.x = 0.02
    marker.points = _points(human.body.joints[np.asarray(skeleton, int).reshape(-1)])
    return marker


def label_marker(header: Header, human: Human, image_pose: Transform) -> Marker:
    """A TEXT_VIEW_FACING above a human's head: track id and distance from the camera.

    Args:
        header: the image's stamp, and the frame that the human is in.
        human: anybody.
        image_pose: from the frame of a camera that sees the image upright to the header's frame.
    """
    track_id, joints = human.person.track_id, human.body.joints.astype(np.float64)
    marker = _marker(header, LABEL, track_id, Marker.TEXT_VIEW_FACING)
    marker.scale.z = 0.12
    marker.text = f"#{track_id}  {np.linalg.norm(joints[0] - image_pose.translation):.1f} m"
    up, middle = -image_pose.rotation[:, 1], joints.mean(axis=0)
    height = float(((joints - middle) @ up).max())
    x, y, z = (middle + (height + LABEL_ABOVE) * up).tolist()
    marker.pose.position = Point(x=x, y=y, z=z)
    return marker


def deletions(header: Header, shown: Iterable[tuple[str, int]]) -> list[Marker]:
    """Markers that delete the shown markers with these namespaces and track ids."""
    return [
        Marker(header=header, ns=namespace, id=track_id, action=Marker.DELETE)
        for namespace, track_id in shown
    ]


def mesh_marker(
    header: Header, track_id: int, vertices: FloatArray, faces: NDArray[np.int32]
) -> Marker:
    """The mesh as a TRIANGLE_LIST, three points for each face. Slow: see `MeshMarkerWriter`.

    Args:
        header: the image's stamp, and the frame of the vertices.
        track_id: of the person.
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices.
    """
    marker = _marker(header, MESH, track_id, Marker.TRIANGLE_LIST)
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.points = _points(vertices[faces.reshape(-1)])
    return marker


class MeshMarkerWriter:
    """Writes a mesh's MarkerArray as serialised bytes, without building its messages.

    Building 41,328 Point objects for one mesh of 13,776 faces takes rclpy many times as long as the
    inference of a frame. Therefore an array with one marker is serialised once, with placeholder
    values that are found again in the bytes. Later only the bytes of stamp, id, colour and points
    are overwritten. The result is byte for byte that of serialising
    `MarkerArray(markers=[mesh_marker(...)])`, except for the padding between fields, which the
    serialiser leaves undefined.

    Args:
        frame_id: the frame of the vertices, for all headers.
        faces: (F, 3) int32 vertex indices.
    """

    def __init__(self, frame_id: str, faces: NDArray[np.int32]) -> None:
        self.frame_id = frame_id
        self.faces = faces
        self._corners = faces.reshape(-1)
        placeholder = _marker(
            Header(stamp=Time(sec=0x5354_4446, nanosec=0x4F52_4D45), frame_id=frame_id),
            MESH,
            0x524F_5332,
            Marker.TRIANGLE_LIST,
        )
        placeholder.scale.x = placeholder.scale.y = placeholder.scale.z = 1.0
        placeholder.color = ColorRGBA(r=0.12345, g=0.23456, b=0.34567, a=0.45678)
        first = Point(x=1.2345e-67, y=2.3456e-78, z=3.4567e-89)
        placeholder.points = [first] + [Point()] * (len(self._corners) - 1)
        self._bytes = bytearray(serialize_message(MarkerArray(markers=[placeholder])))
        stamp, color = placeholder.header.stamp, placeholder.color
        self._stamp = self._find(struct.pack("<iI", stamp.sec, stamp.nanosec))
        self._id = self._find(struct.pack("<i", placeholder.id))
        self._color = self._find(struct.pack("<4f", color.r, color.g, color.b, color.a))
        points = self._find(struct.pack("<3d", first.x, first.y, first.z))
        self._points = np.frombuffer(
            self._bytes, "<f8", count=3 * len(self._corners), offset=points
        ).reshape(-1, 3)

    def write(self, stamp: Time, track_id: int, vertices: FloatArray) -> bytes:
        """The serialised MarkerArray with this person's mesh; vertices (V, 3) in metres."""
        struct.pack_into("<iI", self._bytes, self._stamp, stamp.sec, stamp.nanosec)
        struct.pack_into("<i", self._bytes, self._id, track_id)
        color = _color(track_id)
        struct.pack_into("<4f", self._bytes, self._color, color.r, color.g, color.b, color.a)
        np.take(vertices.astype(np.float64), self._corners, axis=0, out=self._points)
        return bytes(self._bytes)

    def _find(self, placeholder: bytes) -> int:
        if self._bytes.count(placeholder) != 1:
            raise RuntimeError(
                "the serialised Marker is not little-endian CDR as expected: a placeholder is in "
                f"it {self._bytes.count(placeholder)} times instead of once"
            )
        return self._bytes.index(placeholder)


def _marker(header: Header, namespace: str, track_id: int, kind: int) -> Marker:
    marker = Marker(header=header, ns=namespace, id=track_id, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.color = _color(track_id)
    marker.lifetime = LIFETIME
    return marker


def _color(track_id: int) -> ColorRGBA:
    r, g, b = (channel / 255.0 for channel in track_color(track_id))
    return ColorRGBA(r=r, g=g, b=b, a=1.0)


def _points(positions: FloatArray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in positions.astype(float).tolist()]
