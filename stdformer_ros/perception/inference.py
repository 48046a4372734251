"""Networks on the CPU through OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from stdformer_ros.assets import AssetError, asset

FULL_PRECISION = {
    "PERFORMANCE_HINT": "LATENCY",
    # On newer CPUs the default is bfloat16, which moves landmarks by 1.7 pixels of the crop on
    # average (BlazePose full, 60 frames of a standing man).
    "INFERENCE_PRECISION_HINT": "f32",
}


def read_network(name: str) -> ov.Model:
    """Read the network that an asset holds.

    Raises:
        AssetError: if the asset is missing or damaged, or this OpenVINO cannot read it.
    """
    path: Path = asset(name)
    if path.suffix == ".xml":
        asset(path.with_suffix(".bin").name)
    try:
        return ov.Core().read_model(path)
    except RuntimeError as error:
        raise AssetError(
            f"OpenVINO {ov.get_version()} cannot read {path}: {error}. The package is tested "
            f"with the version in requirements.lock."
        ) from error


def compile_network(model: ov.Model) -> ov.InferRequest:
    """Compile a network for one caller who waits for each answer."""
    return ov.Core().compile_model(model, "CPU", FULL_PRECISION).create_infer_request()


def infer(request: ov.InferRequest, image: NDArray[np.uint8]) -> None:
    """Run on one image (H, W, 3) without copying it; the request then holds the outputs."""
    request.infer([image[None]], share_inputs=True)
