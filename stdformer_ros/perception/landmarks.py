"""Body landmarks by BlazePose ("BlazePose: On-device Real-time Body Pose Tracking", Bazarevsky et
al., 2020).

The network's input is a square region of interest (`Roi`), rotated so that the person is upright in
it; its output (`Pose`) includes the region for the next frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin
from typing import Literal

import cv2
import numpy as np
import openvino as ov
from openvino.preprocess import PrePostProcessor

from stdformer_ros.perception.inference import compile_network, infer, read_network
from stdformer_ros.types import FloatArray, ImageArray

LandmarkModel = Literal["lite", "full"]

CROP = 256
LANDMARKS = 33
HIP_CENTRE, ABOVE_HEAD = 33, 34
"""Two further points of the network: the middle of the hips, and the point straight above it on the
circle around the whole person."""
BODY_JOINTS = [11, 12, 13, 14, 23, 24, 25, 26, 27, 28]
"""Shoulders, elbows, hips, knees and ankles: the landmarks that say most about the pose."""
MIRROR = np.array(
    [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(k for left in range(11, 33, 2) for k in (left + 1, left))]
)
"""The landmark on the other side of the body, by index."""
ROI_MARGIN = 1.25
"""The region's side as a multiple of the person's size; more than 1, so that a moving person stays
inside."""
UNMIRROR = np.array([-1, 1, 1, 1, 1], np.float32)
"""Factors that undo a mirrored image in x, y, z, visibility and presence."""

LIMB_WIDTH = 0.09
"""Width of a clothed limb as a fraction of the person's extent in the image; also half the head's
height."""
_EARS, _TRUNK = [7, 8], [11, 12, 24, 23]
_LIMBS = [[13, 11, 23, 25, 27, 31], [14, 12, 24, 26, 28, 32], [11, 13, 15, 19], [12, 14, 16, 20]]


@dataclass(frozen=True)
class Roi:
    """A square in the image.

    Attributes:
        x, y: its centre in pixels.
        side: its length in pixels.
        angle: radians by which it is rotated clockwise in the image.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    @classmethod
    def around_box(cls, box: FloatArray) -> Roi:
        """The upright region for a detector's box (4,) x0, y0, x1, y1."""
        x0, y0, x1, y1 = map(float, box)
        side = ROI_MARGIN * max(x1 - x0, y1 - y0, 1.0)
        return cls(0.5 * (x0 + x1), 0.5 * (y0 + y1), side)

    @classmethod
    def around_person(cls, hip_centre: FloatArray, above_head: FloatArray) -> Roi:
        """The region in which a person is centred and upright.

        Args:
            hip_centre: (2,) pixels, see `HIP_CENTRE`.
            above_head: (2,) pixels, see `ABOVE_HEAD`.
        """
        dx, dy = (above_head - hip_centre).tolist()
        side = ROI_MARGIN * 2.0 * max(hypot(dx, dy), 1.0)
        return cls(float(hip_centre[0]), float(hip_centre[1]), side, atan2(dx, -dy))

    def to_image(self) -> FloatArray:
        """The affine matrix (2, 3) from pixels of the crop to pixels of the image."""
        scale = self.side / CROP
        c, s = scale * cos(self.angle), scale * sin(self.angle)
        middle = 0.5 * (CROP - 1)
        return np.array(
            [
                [c, -s, self.x - (c - s) * middle],
                [s, c, self.y - (s + c) * middle],
            ],
            np.float32,
        )

    def to_camera(self) -> FloatArray:
        """The rotation (3, 3) from the crop's axes to the camera's: `points (N, 3) @ rotation`."""
        c, s = cos(self.angle), sin(self.angle)
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)


@dataclass(frozen=True)
class Pose:
    """BlazePose's output for one region of interest.

    Attributes:
        score: 0..1, the probability that a person is there.
        landmarks: (33, 2) in pixels of the image.
        visibility: (33,) 0..1, the probability that the landmark is in the image and not hidden.
        roi: the region that this person fills, for the next frame.
        world: (33, 3) BlazePose's 3D estimate: metres along the camera's axes, the middle of the
            hips at the origin.
    """

    score: float
    landmarks: FloatArray
    visibility: FloatArray
    roi: Roi
    world: FloatArray


def mean_pose(a: Pose, b: Pose) -> Pose:
    """The average of two poses of one person in one image."""
    rotation = (b.roi.angle - a.roi.angle + pi) % (2 * pi) - pi
    return Pose(
        0.5 * (a.score + b.score),
        0.5 * (a.landmarks + b.landmarks),
        0.5 * (a.visibility + b.visibility),
        Roi(
            0.5 * (a.roi.x + b.roi.x),
            0.5 * (a.roi.y + b.roi.y),
            0.5 * (a.roi.side + b.roi.side),
            a.roi.angle + 0.5 * rotation,
        ),
        0.5 * (a.world + b.world),
    )


class LandmarkDetector:
    """Finds the landmarks of the person in a region of interest.

    Args:
        model: "lite" or "full" (more accurate; takes about one and a half times as long).

    Raises:
        AssetError: if the network's file is missing or damaged.
        ValueError: for another model.
    """

    def __init__(self, model: LandmarkModel = "full") -> None:
        if model not in ("lite", "full"):
            raise ValueError(f"landmark model must be 'lite' or 'full', not {model!r}")
        self._request = _compile(read_network(f"pose_landmark_{model}.tflite"))

    def __call__(
        self,
        image: ImageArray,
        roi: Roi,
        mirrored: bool = False,
        covered: Sequence[FloatArray] = (),
    ) -> Pose:
        """The pose in a region of an image.

        Args:
            image: (H, W, 3) uint8 RGB; pixels outside of it are black.
            roi: the region.
            mirrored: whether the network gets the mirrored crop. Its output is mirrored back; its
                errors differ from those in the original crop.
            covered: landmarks (33, 2), in pixels of the image, of other people, who are painted
                over.
        """
        crop_of_roi = crop(image, roi)
        to_crop = np.asarray(cv2.invertAffineTransform(roi.to_image()), np.float32)
        for landmarks in covered:
            cover(crop_of_roi, apply_affine(to_crop, landmarks))
        if mirrored:
            crop_of_roi = np.ascontiguousarray(crop_of_roi[:, ::-1])
        infer(self._request, crop_of_roi)
        points = self._request.get_output_tensor(0).data.reshape(-1, 5)
        score = float(self._request.get_output_tensor(1).data.item())
        world = self._request.get_output_tensor(2).data.reshape(-1, 3)[:LANDMARKS]
        if mirrored:
            extra = np.arange(LANDMARKS, len(points))
            points = points[np.concatenate([MIRROR, extra])] * UNMIRROR
            points[:, 0] += CROP
            world = world[MIRROR] * UNMIRROR[:3]
        pixels = apply_affine(roi.to_image(), points[:, :2] - 0.5)
        in_image = inside(pixels[:LANDMARKS], image.shape[:2])
        visible = sigmoid(points[:LANDMARKS, 3]) * sigmoid(points[:LANDMARKS, 4]) * in_image
        next_roi = Roi.around_person(pixels[HIP_CENTRE], pixels[ABOVE_HEAD])
        return Pose(score, pixels[:LANDMARKS], visible, next_roi, world @ roi.to_camera())


def crop(image: ImageArray, roi: Roi) -> ImageArray:
    """The region of interest as a crop (256, 256, 3), upright, black beyond the image."""
    to_image, scale = roi.to_image(), roi.side / CROP
    shrink = int(scale)
    if shrink >= 2:  # bilinear sampling alone would skip pixels and make the landmarks jitter
        image, to_image = _shrunk_around(image, roi, to_image, shrink)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, to_image, (CROP, CROP), flags=flags), np.uint8)


def cover(crop_of_roi: ImageArray, landmarks: FloatArray) -> None:
    """Paint over a person in a crop, in the crop's mean colour.

    Args:
        crop_of_roi: (256, 256, 3), changed in place.
        landmarks: (33, 2) of the person in pixels of the crop.
    """
    colour = crop_of_roi.mean(axis=(0, 1)).tolist()
    width = max(1, round(LIMB_WIDTH * float(np.ptp(landmarks, axis=0).max())))
    points = np.rint(landmarks.clip(-4 * CROP, 4 * CROP)).astype(np.int32)
    cv2.fillConvexPoly(crop_of_roi, cv2.convexHull(points[_TRUNK]), colour)
    cv2.polylines(crop_of_roi, [points[limb] for limb in _LIMBS], False, colour, width)
    cv2.circle(crop_of_roi, points[_EARS].mean(axis=0).astype(np.int32).tolist(), width, colour, -1)


def _shrunk_around(
    image: ImageArray, roi: Roi, to_image: FloatArray, shrink: int
) -> tuple[ImageArray, FloatArray]:
    """The part of the image that a region touches, averaged over shrink x shrink pixels.

    Returns:
        The smaller image, and the affine matrix (2, 3) from pixels of the crop to its pixels.
    """
    height, width = image.shape[:2]
    reach = 0.5 * roi.side * (abs(cos(roi.angle)) + abs(sin(roi.angle))) + shrink
    x0, x1 = _interval(roi.x, reach, width, shrink)
    y0, y1 = _interval(roi.y, reach, height, shrink)
    size = (x1 - x0) // shrink, (y1 - y0) // shrink
    if min(size) < 1:
        return image, to_image  # the region lies outside the image or at its edge
    small = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    offset = np.array([[x0 - 0.5], [y0 - 0.5]], np.float32)
    shifted = np.hstack([to_image[:, :2], to_image[:, 2:] - offset]) / shrink
    shifted[:, 2] -= 0.5
    return np.asarray(small, np.uint8), shifted.astype(np.float32)


def _interval(centre: float, reach: float, end: int, multiple: int) -> tuple[int, int]:
    """The part of [centre - reach, centre + reach] in [0, end); its length is a multiple."""
    low = int(np.clip(centre - reach, 0, end))
    high = int(np.clip(centre + reach + 1, 0, end))
    return low, low + (high - low) // multiple * multiple


def apply_affine(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Points (N, 2), transformed by an affine matrix (2, 3)."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def inside(points: FloatArray, size: tuple[int, int]) -> FloatArray:
    """(N,) 1 for each of the points (N, 2) inside an image of this height and width, else 0."""
    height, width = size
    limits = np.array([width, height], np.float32) - 0.5
    return np.all((points >= -0.5) & (points < limits), axis=1).astype(np.float32)


def sigmoid(logits: FloatArray) -> FloatArray:
    """The logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def _compile(network: ov.Model) -> ov.InferRequest:
    """The network from a crop in 0..255 to landmarks, score and 3D landmarks.

    Its other outputs, a mask and a heat map, are removed.
    """
    wanted = [network.output(name) for name in ("Identity", "Identity_1", "Identity_4")]
    model = ov.Model(
        [output.get_node().input_value(0) for output in wanted],
        network.get_parameters(),
        network.get_friendly_name(),
    )
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8)
    steps.input().preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    return compile_network(steps.build())
