"""Boxes of people by NanoDet (RangiLyu, 2020), an anchor-free detector for small devices.

Every cell of the feature maps of strides 8, 16 and 32 scores 80 classes and tells, as one
distribution per side, how far the sides of a box are from the cell's centre ("Generalized Focal
Loss", Li et al., NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from stdformer_ros.perception.boxes import non_maximum_suppression
from stdformer_ros.perception.inference import compile_network, infer, read_network
from stdformer_ros.types import FloatArray, ImageArray

NETWORK = "nanodet_416.xml"
LONG_SIDE = 416
STRIDES = (8, 16, 32)
BINS = 11
MAX_SHAPES = 8
"""A compiled network is kept for so many shapes of images: cameras of a rig may differ."""
PERSON = 0  # in COCO's order of classes
_MEAN_BGR = [103.53, 116.28, 123.675]
_STD_BGR = [57.375, 57.12, 58.395]


@dataclass(frozen=True)
class Detections:
    """The people that a detector found in one image, the surest first.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the image, inside it.
        scores: (N,) 0..1.
    """

    boxes: FloatArray
    scores: FloatArray


class PersonDetector:
    """Finds people in whole images.

    Args:
        min_score: what scores less is no detection.
        max_iou: of two boxes that overlap by more, the surer one is kept.

    Raises:
        AssetError: if the network's files are missing or damaged.
    """

    def __init__(self, min_score: float = 0.35, max_iou: float = 0.6) -> None:
        self.min_score = min_score
        self.max_iou = max_iou
        self._model = read_network(NETWORK)
        self._requests: dict[tuple[int, int], ov.InferRequest] = {}

    def __call__(self, image: ImageArray) -> Detections:
        """The people in an image (H, W, 3), uint8 RGB."""
        canvas, scale = letterbox(image)
        size = canvas.shape[:2]
        if size not in self._requests:
            if len(self._requests) == MAX_SHAPES:
                self._requests.clear()
            self._requests[size] = self._compile(size)
        request = self._requests[size]
        infer(request, canvas)
        outputs = [
            (
                request.get_tensor(f"scores_{s}").data[0],
                request.get_tensor(f"distances_{s}").data[0],
            )
            for s in STRIDES
        ]
        boxes, scores = decode(outputs, size, self.min_score)
        keep = non_maximum_suppression(boxes, scores, self.max_iou)
        boxes, scores = boxes[keep] / scale, scores[keep]
        height, width = image.shape[:2]
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
        return Detections((boxes - 0.5).astype(np.float32), scores)

    def _compile(self, size: tuple[int, int]) -> ov.InferRequest:
        """The network for canvases of one size, with colours and normalisation built in."""
        model = self._model.clone()
        model.reshape([1, 3, *size])
        steps = PrePostProcessor(model)
        canvas = steps.input().tensor()
        canvas.set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        canvas.set_color_format(ColorFormat.RGB)
        change = steps.input().preprocess().convert_element_type(ov.Type.f32)
        change.convert_color(ColorFormat.BGR).mean(_MEAN_BGR).scale(_STD_BGR)
        steps.input().model().set_layout(ov.Layout("NCHW"))
        return compile_network(steps.build())


def letterbox(image: ImageArray) -> tuple[ImageArray, float]:
    """The image scaled to 416 pixels on its longer side, padded to multiples of 32.

    Returns:
        The canvas with the image in its upper left corner, and canvas pixels per image pixel.
    """
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    step = STRIDES[-1]
    canvas = np.zeros((*(-(-n // step) * step for n in inner), 3), np.uint8)
    shrinking = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[: inner[0], : inner[1]] = cv2.resize(image, inner[::-1], interpolation=shrinking)
    return canvas, scale


def decode(
    outputs: list[tuple[FloatArray, FloatArray]], size: tuple[int, int], min_score: float
) -> tuple[FloatArray, FloatArray]:
    """Boxes of people from the network's answer.

    Args:
        outputs: for each stride, class scores (cells, 80) and logits (cells, 4 * 11) of the
            distances to the left, upper, right and lower side in units of the stride.
        size: height and width of the network's input.
        min_score: cells that score less are left out.

    Returns:
        Boxes (N, 4) in pixels of the input, counted from its upper left corner, and scores (N,).
    """
    boxes, scores = [], []
    for stride, (classes, logits) in zip(STRIDES, outputs, strict=True):
        cells = np.flatnonzero(classes[:, PERSON] >= min_score)
        centres = cell_centres(size, stride)[cells]
        distances = expectation(logits[cells].reshape(-1, 4, BINS)) * stride
        boxes.append(np.hstack([centres - distances[:, :2], centres + distances[:, 2:]]))
        scores.append(classes[cells, PERSON])
    return np.concatenate(boxes).astype(np.float32), np.concatenate(scores)


def expectation(logits: FloatArray) -> FloatArray:
    """The mean bin of each distribution (..., 11) of logits: (...) in 0..10."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ np.arange(logits.shape[-1], dtype=np.float32)


@lru_cache(maxsize=2 * len(STRIDES))
def cell_centres(size: tuple[int, int], stride: int) -> FloatArray:
    """The centres (cells, 2) of a feature map's cells, x and y, row by row."""
    rows, columns = size[0] // stride, size[1] // stride
    y, x = np.mgrid[:rows, :columns].astype(np.float32) * stride + 0.5 * stride
    return np.stack([x.ravel(), y.ravel()], axis=1)
