"""Human3.6M in VideoPose3D's layout with random numbers, and a small network that lifts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stdformer_ros.models.registry import create_model
from stdformer_ros.training.data.h36m import (
    LEFT,
    RIGHT,
)

CAMERAS = """
raise RuntimeError("this file must not be run")
h36m_cameras_intrinsic_params = [
    {"id": "a", "center": [512.0, 515.0], "focal_length": [1145.0, 1143.0],
     "radial_distortion": [0, 0, 0], "tangential_distortion": [0, 0],
     "res_w": 1000, "res_h": 1002, "azimuth": 70},
]
h36m_cameras_extrinsic_params = {
    "S1": [{}],
    "S9": [{"orientation": [0.5, 0.5, -0.5, 0.5], "translation": [1000.0, 2000.0, 3000.0]}],
    "S11": [{"orientation": [1.0, 0.0, 0.0, 0.0], "translation": [0.0, 0.0, -4000.0]}],
}
"""


def write_h36m(folder: Path, frames: int = 20, actions: tuple[str, ...] = ("Walking 1",)) -> Path:
    """Write two subjects with one camera each, in VideoPose3D's layout; 2D has one frame more."""
    rng = np.random.default_rng(5)
    positions: dict = {}
    points: dict = {}
    for subject in ("S9", "S11"):
        positions[subject], points[subject] = {}, {}
        for action in actions:
            world = rng.normal(size=(frames, 32, 3)).astype(np.float32)
            positions[subject][action] = world
            pixels = rng.uniform(0, 1000, (frames + 1, 17, 2)).astype(np.float32)
            points[subject][action] = [pixels]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=positions)
    metadata = {"layout_name": "h36m", "keypoints_symmetry": [list(LEFT), list(RIGHT)]}
    np.savez_compressed(folder / "data_2d_h36m_gt.npz", positions_2d=points, metadata=metadata)
    (folder / "h36m_dataset.py").write_text(CAMERAS)
    return folder


def tiny_lifter(delay_frames: int) -> torch.nn.Module:
    """PoseFormer-9 with random weights, always the same."""
    torch.manual_seed(0)
    return create_model("poseformer_9", delay_frames=delay_frames).eval()
