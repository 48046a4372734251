"""Boxes of people by NanoDet (RangiLyu, 2020), an anchor-free detector for small devices.

Every cell of the feature maps of strides 8, 16 and 32 scores 80 classes and gives one distribution
for each side of a box: how far that side is from the cell's centre ("Generalized Focal Loss", Li et
al., NeurIPS 2020). Boxes are x0, y0, x1, y1 in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.preprocess import ColorFormat, PrePostProcessor

from stdformer_ros.perception.inference import compile_network, infer, read_network
from stdformer_ros.types import FloatArray, ImageArray

NETWORK = "nanodet_416.xml"
LONG_SIDE = 416
STRIDES = (8, 16, 32)
BINS = 11
MAX_SHAPES = 8
"""Largest number of image shapes for which a compiled network is kept: cameras may differ."""
PERSON = 0  # COCO's class
_MEAN_BGR = [103.53, 116.28, 123.675]
_STD_BGR = [57.375, 57.12, 58.395]


@dataclass(frozen=True)
class Detections:
    """The people that a detector found in one image, the highest score first.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the image, inside it.
        scores: (N,) 0..1.
    """

    boxes: FloatArray
    scores: FloatArray


class PersonDetector:
    """Finds people in whole images.

    Args:
        min_score: boxes with lower scores are dropped.
        max_iou: of two boxes that overlap by more, the one with the higher score is kept.

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
        kept = non_maximum_suppression(boxes, scores, self.max_iou)
        boxes, scores = boxes[kept] / scale, scores[kept]
        height, width = image.shape[:2]
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
        return Detections((boxes - 0.5).astype(np.float32), scores)

    def _compile(self, size: tuple[int, int]) -> ov.InferRequest:
        """The network for canvases of one size, including colour conversion and normalisation."""
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
    """Boxes of people from the network's outputs.

    Args:
        outputs: for each stride class scores (cells, 80) and logits (cells, 4 * 11) of the
            distances to the left, upper, right and lower side in units of the stride.
        size: height and width of the network's input.
        min_score: cells with lower scores are left out.

    Returns:
        Boxes (N, 4) in pixels of the input, from its upper left corner, and scores (N,).
    """
    boxes, scores = [], []
    for stride, (classes, logits) in zip(STRIDES, outputs, strict=True):
        cells = np.flatnonzero(classes[:, PERSON] >= min_score)
        centres = cell_centres(size, stride)[cells]
        distances = expected_bin(logits[cells].reshape(-1, 4, BINS)) * stride
        boxes.append(np.hstack([centres - distances[:, :2], centres + distances[:, 2:]]))
        scores.append(classes[cells, PERSON])
    return np.concatenate(boxes).astype(np.float32), np.concatenate(scores)


def expected_bin(logits: FloatArray) -> FloatArray:
    """The expected value of each distribution (..., 11), given as logits: (...) in 0..10."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ np.arange(logits.shape[-1], dtype=np.float32)


@lru_cache(maxsize=2 * len(STRIDES))
def cell_centres(size: tuple[int, int], stride: int) -> FloatArray:
    """The centres (cells, 2) of a feature map's cells, x and y, row by row."""
    rows, columns = size[0] // stride, size[1] // stride
    y, x = np.mgrid[:rows, :columns].astype(np.float32) * stride + 0.5 * stride
    return np.stack([x.ravel(), y.ravel()], axis=1)


def non_maximum_suppression(
    boxes: FloatArray, scores: FloatArray, max_iou: float
) -> NDArray[np.intp]:
    """Indices (K,) of the boxes that no better one overlaps by more than `max_iou`, best first.

    Args:
        boxes: (N, 4), each with an area.
        scores: (N,) over 0.
        max_iou: 0..1.
    """
    corner_and_size = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    kept = cv2.dnn.NMSBoxes(corner_and_size.tolist(), scores.tolist(), 0.0, max_iou)
    return np.asarray(kept, np.intp)


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of each box of a (N, 4) with each of b (M, 4): (N, M) in 0..1.

    A box without area overlaps with nothing.
    """
    upper_left = np.maximum(a[:, None, :2], b[None, :, :2])
    lower_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.maximum(lower_right - upper_left, 0), axis=2)
    union = _area(a)[:, None] + _area(b)[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _area(boxes: FloatArray) -> FloatArray:
    """The area of each box (N, 4): (N,), 0 where a side is negative."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
